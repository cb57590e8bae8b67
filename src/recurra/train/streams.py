"""Long sequences cut for truncated backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError, shape_text

IGNORED = -100


class Streams(NamedTuple):
    """Sequences side by side, to be read from the first step to the last.

    Attributes:
        x: (T, B, ...), inputs.
        y: (T, B, ...), targets; -100 is not counted.
        resets: (T, B) bool, True where a step begins a new document; None where none does.
    """

    x: Tensor
    y: Tensor
    resets: Tensor | None = None


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


def contiguous(tokens: Any, batch: int, starts: Sequence[int] = ()) -> Streams:
    """Cut one long sequence of tokens into `batch` rows that follow one another, each predicting its next token.

    Nothing is dropped: where the tokens do not fill the rows, the last ones end in targets of -100.

    Args:
        tokens: (N,), whole numbers.
        batch: B, at most N - 1.
        starts: where documents begin; the state is reset there, and a document's end does not predict the next's start.

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
    _check_whole("batch", batch)
    count = len(tokens) - 1
    if count < batch:
        raise DataError(f"tokens must be more than batch = {batch}, got {len(tokens)}; give more text or a smaller batch")
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


def tbptt(streams: Streams, window: int, stride: int | None = None) -> Iterator[Chunk]:
    """Walk through streams in chunks, for truncated backpropagation through time.

    With `stride` k1 = `window` k2 each chunk counts whole. With k1 < k2 a chunk begins k1 steps after the one
    before, its loss counts the last k1 steps, and the state is carried from its step k1: every step is counted
    once and, but for the first ones, sees at least k2 - k1 steps back.

    Args:
        streams: (T, B, ...).
        window: k2, steps of a chunk; the last chunk may be shorter.
        stride: k1, steps from one chunk to the next, at most `window`, which it is if None.

    Returns:
        An iterator of chunks.

    Raises:
        ArgumentError: `window` or `stride` is outside its range.

    Source: Williams & Peng (1990), doi:10.1162/neco.1990.2.4.490, BPTT(h; h').

    >>> streams = Streams(torch.arange(7)[:, None], torch.arange(7)[:, None])
    >>> [(chunk.x.flatten().tolist(), chunk.counted) for chunk in tbptt(streams, window=4, stride=2)]
    [([0, 1, 2, 3], 4), ([2, 3, 4, 5], 2), ([4, 5, 6], 1)]
    """
    stride = window if stride is None else stride
    _check_whole("window", window)
    _check_whole("stride", stride)
    if stride > window:
        raise ArgumentError(f"stride must be at most window = {window}, got {stride}; a longer one would skip steps")
    return _chunks(streams, window, stride)


def _chunks(streams: Streams, window: int, stride: int) -> Iterator[Chunk]:
    steps, done, start = len(streams.x), 0, 0
    while done < steps:
        stop = min(start + window, steps)
        resets = None if streams.resets is None else streams.resets[start:stop]
        if resets is not None and not resets.any():
            resets = None
        yield Chunk(streams.x[start:stop], streams.y[start:stop], resets, stop - done, min(stride, stop - start))
        done, start = stop, start + stride


def count_chunks(steps: int, window: int, stride: int) -> int:
    """How many chunks `tbptt` makes of T steps.

    >>> count_chunks(7, window=4, stride=2)
    3
    """
    return 1 + max(0, math.ceil((steps - window) / stride))


def _check_whole(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name} must be a positive whole number, got {value!r}")
