"""Long sequences cut for truncated backpropagation through time."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.check import check_whole
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError, shape_text
from recurra.train.windows import Cut, cuts

IGNORED = -100


class Chunk(NamedTuple):
    """A window of streams.

    Attributes:
        x, y: (K, B, ...).
        resets: (K, B) bool, None where no row resets.
        counted: how many of its last steps count in the loss: those no earlier chunk counted.
        carry: the state after this many steps is carried to the next chunk.
    """

    x: Tensor
    y: Tensor
    resets: Tensor | None
    counted: int
    carry: int

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int((self.y[-self.counted :] != IGNORED).sum())

    def to(self, device: torch.device) -> Chunk:
        """The same on another device."""
        resets = None if self.resets is None else self.resets.to(device)
        return self._replace(x=self.x.to(device), y=self.y.to(device), resets=resets)


class Columns(NamedTuple):
    """Inputs, targets and resets, not looked at; `Streams` are."""

    x: Tensor
    y: Tensor
    resets: Tensor | None = None


class Streams(Columns):
    """Sequences side by side, to be read from the first step to the last.

    Args:
        x: (T, B, ...), inputs.
        y: (T, B, ...), targets; -100 is not counted.
        resets: (T, B) bool, True where a step begins a new document; None where none does.

    Raises:
        ShapeError: `x`, `y` and `resets` have not the same steps and rows, or there is none; names
            both shapes.
        DtypeError: one is no tensor, or `resets` are not bool.

    >>> Streams(torch.zeros(10, 2, 3), torch.zeros(10, 2)).batch
    2
    """

    __slots__ = ()

    def __new__(cls, x: Tensor, y: Tensor, resets: Tensor | None = None) -> Streams:
        _check_columns(x, y, resets)
        return super().__new__(cls, x, y, resets)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.x)

    @property
    def batch(self) -> int:
        """B."""
        return self.x.shape[1]

    def chunk(self, cut: Cut) -> Chunk:
        """The window at a place."""
        resets = None if self.resets is None else self.resets[cut.start : cut.stop]
        if resets is not None and not resets.any():
            resets = None
        return Chunk(
            self.x[cut.start : cut.stop],
            self.y[cut.start : cut.stop],
            resets,
            cut.counted,
            cut.carry,
        )

    def rows(self, first: int, last: int) -> Streams:
        """The streams of rows `first` to `last` - 1 alone."""
        return Streams(
            self.x[:, first:last],
            self.y[:, first:last],
            None if self.resets is None else self.resets[:, first:last],
        )


class TokenStreams:
    """What `contiguous` makes of one long sequence of tokens, window by window: the tokens stay
    where they are.

    Args:
        tokens: (N,), whole numbers, in memory or mapped from a file.
        batch: B, at most N - 1.
        starts: where documents begin, in order.

    Attributes:
        steps: T.
        batch: B.

    Raises:
        DataError: there are too few tokens for the batch.
        ShapeError, DtypeError, ArgumentError: `tokens` are not whole numbers (N,), or `starts` not
            places in them, in order.

    >>> streams = TokenStreams(np.array([5, 6, 7, 8, 9, 10], np.uint8), batch=2)
    >>> streams.chunk(Cut(1, 3, 2, 2)).y.T.tolist()
    [[7, 8], [10, -100]]
    """

    def __init__(self, tokens: Any, batch: int, starts: Any = ()) -> None:
        shape, dtype = np.shape(tokens), getattr(tokens, "dtype", None)
        if len(shape) != 1:
            raise ShapeError(f"tokens must have shape (N,), got {shape_text(shape)}")
        if dtype is not None and np.dtype(dtype).kind not in "iu":
            raise DtypeError(f"tokens must be whole numbers, got {dtype}")
        batch = _checked_batch(len(tokens), batch)
        self.source, self.count = tokens, len(tokens) - 1
        begin = np.asarray(starts, np.int64)
        if (
            begin.ndim != 1
            or (np.diff(begin) <= 0).any()
            or (len(begin) and not 0 <= begin[0] <= begin[-1] <= len(tokens))
        ):
            raise ArgumentError(
                f"starts must be places in the {len(tokens)} tokens, each after the one before, got"
                f" {starts!r}"
            )
        self.starts = begin[(begin > 0) & (begin <= self.count)]
        self.batch, self.steps = batch, math.ceil(self.count / batch)
        self.first = 0

    @property
    def tokens(self) -> int:
        """How many targets count, in all rows of the sequence."""
        return self.count - len(self.starts)

    def rows(self, first: int, last: int) -> TokenStreams:
        """The streams of rows `first` to `last` - 1 alone."""
        part = copy.copy(self)
        part.first, part.batch = self.first + first, last - first
        return part

    def chunk(self, cut: Cut) -> Chunk:
        """The window at a place."""
        begin = (np.arange(self.first, self.first + self.batch) * self.steps)[:, None] + cut.start
        length = cut.stop - cut.start
        places = begin + np.arange(length + 1)
        values = torch.from_numpy(
            np.take(self.source, np.minimum(places, self.count)).astype(np.int64)
        )
        x, y, resets = values[:, :-1].clone(), values[:, 1:].clone(), None
        if places[-1, -1] > self.count:
            past = torch.from_numpy(places[:, :-1] >= self.count)
            x[past], y[past] = 0, IGNORED
        low, high = (np.searchsorted(self.starts, begin[:, 0] + shift) for shift in (0, length + 1))
        for row in np.flatnonzero(high > low):
            at = torch.from_numpy(self.starts[low[row] : high[row]] - begin[row, 0])
            y[row, at[at > 0] - 1] = IGNORED
            at = at[(at < length) & (at < self.count - begin[row, 0])]
            if len(at):
                resets = (
                    torch.zeros(self.batch, length, dtype=torch.bool) if resets is None else resets
                )
                resets[row, at] = True
        turned = None if resets is None else resets.T.contiguous()
        return Chunk(x.T.contiguous(), y.T.contiguous(), turned, cut.counted, cut.carry)


def contiguous(tokens: Any, batch: int, starts: Sequence[int] = ()) -> Streams:
    """Cut one long sequence of tokens into `batch` rows that follow one another, each predicting
    its next token.

    Nothing is dropped: where the tokens do not fill the rows, the last ones end in targets of -100.

    Args:
        tokens: (N,), whole numbers.
        batch: B, at most N - 1.
        starts: where documents begin; the state is reset there, and a document's end does not
            predict the next's start.

    Returns:
        Streams of ceil((N - 1) / B) steps.

    Raises:
        DataError: there are too few tokens for the batch.
        ShapeError, DtypeError: `tokens` has another number of axes, or are not whole numbers.

    >>> streams = contiguous([5, 6, 7, 8, 9, 10], batch=2)
    >>> streams.x.T.tolist(), streams.y.T.tolist()
    ([[5, 6, 7], [8, 9, 0]], [[6, 7, 8], [9, 10, -100]])
    """
    tokens = torch.as_tensor(tokens)
    if tokens.numel() and tokens.is_floating_point():
        raise DtypeError(f"tokens must be whole numbers, got {tokens.dtype}")
    tokens = tokens.long()
    if tokens.ndim != 1:
        raise ShapeError(f"tokens must have shape (N,), got {shape_text(tokens.shape)}")
    batch = _checked_batch(len(tokens), batch)
    count = len(tokens) - 1
    steps = math.ceil(count / batch)
    x, y = tokens.new_zeros(batch * steps), tokens.new_full((batch * steps,), IGNORED)
    x[:count], y[:count] = tokens[:-1], tokens[1:]
    resets = torch.zeros(batch * steps, dtype=torch.bool)
    begin = torch.as_tensor([start for start in starts if 0 < start <= count], dtype=torch.long)
    y[begin - 1] = IGNORED
    resets[begin[begin < count]] = True

    def rows(values: Tensor) -> Tensor:
        return values.view(batch, steps).T.contiguous()

    return Streams(rows(x), rows(y), rows(resets) if bool(resets.any()) else None)


def tbptt(
    streams: Streams | TokenStreams, window: int, stride: int | None = None
) -> Iterator[Chunk]:
    """Walk through streams in chunks, for truncated backpropagation through time.

    With `stride` k1 = `window` k2 each chunk counts whole. With k1 < k2 a chunk begins k1 steps
    after the one before, its loss counts the last k1 steps, and the state is carried from its step
    k1: every step is counted once and, but for the first ones, sees at least k2 - k1 steps back.

    Args:
        streams: (T, B, ...).
        window: k2, steps of a chunk; the last chunk may be shorter.
        stride: k1, steps from one chunk to the next, at most `window`, which it is if None.

    Returns:
        An iterator of chunks.

    Raises:
        ArgumentError: `window` or `stride` is outside its range, or `streams` are none.

    Source: Williams & Peng (1990), doi:10.1162/neco.1990.2.4.490, BPTT(h; h').

    >>> streams = Streams(torch.arange(7)[:, None], torch.arange(7)[:, None])
    >>> [
    ...     (chunk.x.flatten().tolist(), chunk.counted)
    ...     for chunk in tbptt(streams, window=4, stride=2)
    ... ]
    [([0, 1, 2, 3], 4), ([2, 3, 4, 5], 2), ([4, 5, 6], 1)]
    """
    if not hasattr(streams, "chunk"):
        raise ArgumentError(
            f"streams must be Streams, got {type(streams).__name__}; use"
            " recurra.train.Streams(x, y)"
        )
    return (streams.chunk(cut) for cut in cuts(streams.steps, window, stride))


def _check_columns(x: Any, y: Any, resets: Any) -> None:
    for name, value in (("x", x), ("y", y), ("resets", resets)):
        if not isinstance(value, Tensor) and not (name == "resets" and value is None):
            raise DtypeError(
                f"{name} must be a tensor, got {type(value).__name__}; use torch.as_tensor"
            )
    if x.ndim < 2 or not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            "x must have shape (T, B, ...), at least one step and one row, got"
            f" {shape_text(x.shape)}"
        )
    if y.shape[:2] != x.shape[:2]:
        text = (
            f"y must have the steps and rows of x, {shape_text(x.shape)}, first, got"
            f" {shape_text(y.shape)}"
        )
        raise ShapeError(f"{text}; both are (T, B, ...)")
    if resets is not None and resets.shape != x.shape[:2]:
        raise ShapeError(
            f"resets must have shape {shape_text(x.shape[:2])}, the steps and rows of x, got"
            f" {shape_text(resets.shape)}"
        )
    if resets is not None and resets.dtype != torch.bool:
        raise DtypeError(
            f"resets must be bool, True where a step begins a new document, got {resets.dtype}"
        )


def _checked_batch(count: int, batch: Any) -> int:
    batch = check_whole("batch", batch)
    if count - 1 < batch:
        raise DataError(
            f"tokens must be more than batch = {batch}, got {count}; give more text or a smaller"
            " batch"
        )
    return batch
