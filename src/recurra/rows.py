"""Row numbers, as PyTorch's side and the runtime take them alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, ShapeError, shape_text

Numbers = npt.NDArray[np.int64]


def row_numbers(rows: Any, batch: int, *, repeated: bool = False) -> Numbers:
    """Row numbers, from numbers or from a bool mask.

    A mask that is not bool would be read as the numbers 0 and 1, and other rows be taken than were
    meant: an array of zeros and ones, as long as the batch, is refused. A list of such is a list of
    row numbers.

    Args:
        rows: whole numbers (N,) in 0..B-1, or bool (B,); a list, a range or an array.
        batch: B.
        repeated: whether a row may be named twice.

    Raises:
        ShapeError: a mask is not as long as the batch.
        ArgumentError: it is neither, a row is not one of the batch, or is named twice.

    >>> row_numbers([2, 0], 3).tolist(), row_numbers([True, False, True], 3).tolist()
    ([2, 0], [0, 2])
    """
    chosen = _array(rows, batch)
    if chosen.dtype == np.bool_:
        if chosen.shape != (batch,):
            raise ShapeError(
                f"rows must have shape ({batch},) as a bool mask, got {shape_text(chosen.shape)}"
            )
        return np.flatnonzero(chosen)
    if chosen.shape == (0,):
        return np.zeros(0, np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise ArgumentError(
            f"{_need(batch)}, got {chosen.dtype} of shape {shape_text(chosen.shape)}"
        )
    outside = chosen[(chosen < 0) | (chosen >= batch)]
    if len(outside):
        raise ArgumentError(
            f"rows must be in 0..{batch - 1}, got {outside[0]}; give a bool mask ({batch},) to say"
            " yes or no for each row"
        )
    if (
        len(chosen) == batch > 1
        and not isinstance(rows, (list, tuple, range))
        and chosen.max() <= 1
    ):
        raise ArgumentError(
            f"{_need(batch)}, got zeros and ones, as many as rows; give a bool mask, or"
            " rows.tolist() if they are row numbers"
        )
    if not repeated and len(np.unique(chosen)) < len(chosen):
        twice = next(row for row in range(batch) if np.count_nonzero(chosen == row) > 1)
        raise ArgumentError(
            f"{_need(batch)}, got row {twice} more than once; give a bool mask if they say yes or"
            " no for each row"
        )
    return chosen.astype(np.int64)


def _array(rows: Any, batch: int) -> npt.NDArray[Any]:
    bools = (
        {isinstance(row, (bool, np.bool_)) for row in rows}
        if isinstance(rows, (list, tuple))
        else set()
    )
    if len(bools) == 2:
        raise ArgumentError(f"{_need(batch)}, got both in one list")
    try:
        return np.asarray(
            rows
        ).copy()  # copied before it is looked at: another thread may write into the caller's
    except (TypeError, ValueError, RuntimeError):  # a list of lists, a tensor on another device
        raise ArgumentError(f"{_need(batch)}, got {type(rows).__name__}") from None


def _need(batch: int) -> str:
    return f"rows must be whole numbers (N,) or a bool mask ({batch},)"
