"""The network, and how it learns: a GRU of two layers with a decision at every frame."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recurra
from examples.spoken_digits import streams
from examples.spoken_digits.features import BANDS, LogMel
from examples.spoken_digits.recordings import Recording

Array = npt.NDArray[Any]
DROPOUT, CLIP_NORM = 0.3, 1.0


class Recogniser(nn.Module):
    """Frames in, for each the logits of ten digits and of nothing said.

    Args:
        hidden: H of both layers.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru = recurra.GRU(BANDS, hidden, num_layers=2, dropout=DROPOUT)
        self.drop, self.out = nn.Dropout(DROPOUT), nn.Linear(hidden, streams.NOTHING + 1)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """(T, B, 32) to (T, B, 11), and the state after; row b is read up to `lengths[b]`."""
        y, state = self.gru(x, state, lengths=lengths)
        return self.out(self.drop(y)), state


class Fitted(NamedTuple):
    """What training gives.

    Attributes:
        model: of the best epoch.
        mean, scale: (32,), of the training streams' frames.
        epoch: which was best, from 1.
        accuracy: at the end of the validation recordings, then.
    """

    model: Recogniser
    mean: Array
    scale: Array
    epoch: int
    accuracy: float


def fit(
    training: Sequence[Recording],
    validation: Sequence[Recording],
    *,
    hidden: int = 96,
    epochs: int = 32,
    batch: int = 12,
    lr: float = 2e-3,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Train on streams made anew for each epoch, and keep the epoch that is best on the validation
    recordings.

    Args:
        training, validation: recordings; those of the test have no part in either.
        hidden: H.
        epochs: how often every recording is heard.
        batch: streams in a step of Adam.
        lr: the first learning rate; it falls to 0 along a cosine.
        seed: of weights, dropout and streams.
        say: is given a line for each epoch.
    """
    torch.manual_seed(seed)
    draws = np.random.default_rng(seed)
    plain = np.concatenate(
        [LogMel().push(example.samples) for example in streams.epoch(training, draws)]
    )
    mean, scale = plain.mean(0), plain.std(0)
    model = Recogniser(hidden).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: (1 + math.cos(math.pi * min(1, done / epochs))) / 2
    )
    held_out = [LogMel(mean, scale).push(recording.samples) for recording in validation]
    digits = np.array([recording.digit for recording in validation])
    best, least = Fitted(model, mean, scale, 0, 0.0), math.inf
    for number in range(1, epochs + 1):
        examples = streams.epoch(training, draws)
        loss = _one_pass(model, optimizer, examples, LogMel(mean, scale), batch)
        schedule.step()
        ends = at_end(model, held_out)
        accuracy = float((ends[:, : streams.NOTHING].argmax(1) == digits).mean())
        missed = F.cross_entropy(torch.from_numpy(ends), torch.from_numpy(digits)).item()
        say(
            f"epoch {number:>2}  loss {loss:.3f}  validation: loss at the end {missed:.3f},"
            f" accuracy {accuracy:.1%}"
        )
        if missed < least:
            least, best = missed, Fitted(copy.deepcopy(model), mean, scale, number, accuracy)
    return best


def at_end(model: Recogniser, frames: Sequence[Array], rows: int = 100) -> Array:
    """The logits (N, 11) at each sequence's last frame, as PyTorch computes them.

    Args:
        model: put into evaluation for as long.
        frames: N sequences (T, 32), of any lengths.
        rows: so many at a time.
    """
    model.eval()
    found = []
    with torch.no_grad():
        for at in range(0, len(frames), rows):
            x, lengths = padded(frames[at : at + rows])
            y, _ = model(x, lengths=lengths)
            found.append(y[torch.tensor(lengths) - 1, torch.arange(len(lengths))].numpy())
    model.train()
    return np.concatenate(found)


def padded(frames: Sequence[Array]) -> tuple[Tensor, list[int]]:
    """Sequences of any lengths side by side, (T, B, 32), and the lengths."""
    x = nn.utils.rnn.pad_sequence([torch.from_numpy(each) for each in frames])
    return x, [len(each) for each in frames]


def _one_pass(
    model: Recogniser,
    optimizer: torch.optim.Optimizer,
    examples: Sequence[streams.Example],
    features: LogMel,
    batch: int,
) -> float:
    """Train on every example once; the mean loss of a batch."""
    losses = []
    for at in range(0, len(examples), batch):
        some = examples[at : at + batch]
        frames = []
        for example in some:
            features.reset()
            frames.append(features.push(example.samples))
        x, lengths = padded(frames)
        labels = [torch.from_numpy(example.labels) for example in some]
        wanted = nn.utils.rnn.pad_sequence(labels, padding_value=streams.IGNORED)
        y, _ = model(x, lengths=lengths)
        loss = F.cross_entropy(y.flatten(0, 1), wanted.flatten(), ignore_index=streams.IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)
