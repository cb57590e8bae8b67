"""What every module over time promises."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn


class SequenceModule(nn.Module):
    """A module over time: state in, state out, nothing remembered between calls.

    `forward(x, state, lengths=, resets=)` takes (T, B, I); `step(x, state)` takes (B, I) and gives the same
    numbers. A state of None is the module's own first state.
    """

    @abstractmethod
    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Run a whole sequence, or a chunk of one."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step.

        Args:
            x: (B, I).
            state: the state before.

        Returns:
            The output (B, ...) and the state after.
        """
        y, state = self(x[None], state)
        return y[0], state

    def streaming_obstacle(self) -> str | None:
        """Why this module cannot run step by step; None if it can."""
        for name, child in self.named_children():
            if isinstance(child, SequenceModule) and (why := child.streaming_obstacle()):
                return f"{name}: {why}" if not why.startswith("layer ") else why
        return None
