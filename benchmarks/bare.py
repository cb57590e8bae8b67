"""The peers of `fit`: plain PyTorch loops, as one would write them by hand."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ByHand(nn.Module):
    """A character model of torch.nn parts: embedding, nn.LSTM with dropout between its layers,
    linear.
    """

    def __init__(
        self, vocab_size: int, embed: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed)
        self.lstm = nn.LSTM(embed, hidden, layers, dropout=dropout)
        self.out = nn.Linear(hidden, vocab_size)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (T, B, V) and the state."""
        h, state = self.lstm(self.embedding(x), state)
        return self.out(h), state


def one_pass(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    window: int,
    optimizer: torch.optim.Optimizer,
    schedule: Any = None,
    clip: float = 1.0,
) -> float:
    """Truncated backpropagation through time over (T, B) tokens; the mean loss of the pass."""
    model.train()
    state, total = None, 0.0
    for start in range(0, len(x), window):
        logits, state = model(x[start : start + window], state)
        loss = F.cross_entropy(logits.flatten(0, 1), y[start : start + window].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        state = _detach(state)
        total += loss.item()
    return total


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, window: int) -> float:
    """Nats a token."""
    model.eval()
    state, total, count = None, 0.0, 0
    for start in range(0, len(x), window):
        logits, state = model(x[start : start + window], state)
        targets = y[start : start + window].flatten()
        total += F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum").item()
        count += int((targets != -100).sum())
    return total / count


def _detach(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    if state is None:
        return None
    parts = [_detach(part) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
