"""Where windows lie in a long sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recurra.check import check_whole
from recurra.errors import ArgumentError


class Cut(NamedTuple):
    """A window's place in streams.

    Attributes:
        start, stop: its first step, and the one after its last.
        counted: how many of its last steps count in the loss: those no earlier chunk counted.
        carry: the state after this many steps is carried to the next chunk.
    """

    start: int
    stop: int
    counted: int
    carry: int


def cuts(
    steps: int, window: int, stride: int | None = None, *, generator_seed: int | None = None
) -> Iterator[Cut]:
    """The places of the chunks that `tbptt` makes.

    Args:
        steps: T.
        window, stride: as for `tbptt`.
        generator_seed: if given, each window is drawn: normal about `window`, or with a chance of
            0.05 about its half, with a standard deviation of 5 steps, and at least 5; the next
            chunk begins where it ends.

    Raises:
        ArgumentError: `window` or `stride` is outside its range.

    Source: varied windows from Merity et al. (2018), arXiv:1708.02182, section 5.

    >>> [(cut.start, cut.stop) for cut in cuts(100, 40, generator_seed=1)]
    [(0, 44), (44, 77), (77, 100)]
    """
    window = check_whole("window", window)
    stride = window if stride is None else check_whole("stride", stride)
    if stride > window:
        raise ArgumentError(
            f"stride must be at most window = {window}, got {stride}; a longer one would skip steps"
        )
    return (
        _cuts(steps, window, stride)
        if generator_seed is None
        else _varied(steps, window, generator_seed)
    )


def _cuts(steps: int, window: int, stride: int) -> Iterator[Cut]:
    done, start = 0, 0
    while done < steps:
        stop = min(start + window, steps)
        yield Cut(start, stop, stop - done, min(stride, stop - start))
        done, start = stop, start + stride


def _varied(steps: int, window: int, seed: int) -> Iterator[Cut]:
    generator, start = np.random.default_rng(seed), 0
    while start < steps:
        middle = window if generator.random() < 0.95 else window / 2
        length = min(max(5, int(generator.normal(middle, 5))), steps - start)
        yield Cut(start, start + length, length, length)
        start += length


def count_chunks(steps: int, window: int, stride: int) -> int:
    """How many chunks `tbptt` makes of T steps.

    >>> count_chunks(7, window=4, stride=2)
    3
    """
    return 1 + max(0, math.ceil((steps - window) / stride))
