"""Which rows are meant: numbers or a bool mask, and nothing that could be either."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import recurra
from recurra import Stream
from recurra import state as states
from recurra.errors import ArgumentError, ShapeError
from recurra.export.from_torch import network_of
from recurra.rows import row_numbers
from recurra.runtime.model import Model

NEED = "rows must be whole numbers (N,) or a bool mask (5,), got "
MASK = (
    NEED
    + "zeros and ones, as many as rows; give a bool mask, or rows.tolist() if they are row numbers"
)
TWICE = "{} more than once; give a bool mask if they say yes or no for each row"
WRONG: list[tuple[Any, type[Exception], str]] = [
    (np.array([0, 0, 0, 1, 0]), ArgumentError, MASK),
    (np.array([0, 0, 0, 0, 0], np.uint8), ArgumentError, MASK),
    (np.array([1, 1, 1, 1, 1], np.int32), ArgumentError, MASK),
    ([0, 0, 0, 1, 0], ArgumentError, NEED + TWICE.format("row 0")),
    (np.array([3, 1, 3]), ArgumentError, NEED + TWICE.format("row 3")),
    (np.array([0.0, 0, 0, 1, 0]), ArgumentError, NEED + "float64 of shape (5,)"),
    ([1.9], ArgumentError, NEED + "float64 of shape (1,)"),
    (
        [5],
        ArgumentError,
        "rows must be in 0..4, got 5; give a bool mask (5,) to say yes or no for each row",
    ),
    ([0, -1], ArgumentError, "rows must be in 0..4, got -1; give"),
    (1, ArgumentError, NEED + "int64 of shape ()"),
    (True, ShapeError, "rows must have shape (5,) as a bool mask, got ()"),
    ([True, False], ShapeError, "rows must have shape (5,) as a bool mask, got (2,)"),
    (np.zeros(0, bool), ShapeError, "rows must have shape (5,) as a bool mask, got (0,)"),
    (np.zeros((1, 5), bool), ShapeError, "rows must have shape (5,) as a bool mask, got (1, 5)"),
    ([True, 2], ArgumentError, NEED + "both in one list"),
    ([[0], [1]], ArgumentError, NEED + "int64 of shape (2, 1)"),
    ([[0], [1, 2]], ArgumentError, NEED + "list"),
    ({0, 1}, ArgumentError, NEED + "object of shape ()"),
    ("01", ArgumentError, NEED + "<U2 of shape ()"),
]
RIGHT: list[tuple[Any, list[int]]] = [
    ([3], [3]),
    ((4, 0), [4, 0]),
    (range(5), [0, 1, 2, 3, 4]),
    ([], []),
    (np.zeros(0, np.int64), []),
    (np.array([2, 1], np.uint8), [2, 1]),
    ([np.int64(3), np.int32(1)], [3, 1]),
    (np.array([0, 1]), [0, 1]),
    ([False, False, False, True, False], [3]),
    ((np.True_, False, False, False, True), [0, 4]),
    (np.array([True] * 5), [0, 1, 2, 3, 4]),
    (np.zeros(5, bool), []),
]


def resets() -> dict[str, Any]:
    """What takes rows to reset, of a batch of 5."""
    net = recurra.GRU(3, 4, dtype=torch.float32)
    session = Model(network_of(net)).session(5)
    return {
        "rule": lambda rows: row_numbers(rows, 5),
        "state": lambda rows: states.reset((torch.zeros(5, 2),), rows),
        "stream": lambda rows: Stream(net, batch=5).reset(rows=rows),
        "session": lambda rows: session.reset(rows=rows),
    }


@pytest.mark.parametrize("takes", ["rule", "state", "stream", "session"])
@pytest.mark.parametrize(
    ("rows", "error", "message"), WRONG, ids=[f"{number}" for number in range(len(WRONG))]
)
def test_rows_that_could_mean_something_else_are_refused(
    takes: str, rows: Any, error: type[Exception], message: str
) -> None:
    given = [rows, torch.from_numpy(rows)] if isinstance(rows, np.ndarray) else [rows]
    for each in given:
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            resets()[takes](each)


@pytest.mark.parametrize(
    ("rows", "numbers"), RIGHT, ids=[f"{number}" for number in range(len(RIGHT))]
)
def test_the_rows_that_are_meant_are_taken(rows: Any, numbers: list[int]) -> None:
    for each in [rows, torch.from_numpy(rows)] if isinstance(rows, np.ndarray) else [rows]:
        assert states.row_indices(each, 5).tolist() == numbers
        assert states.reset((torch.ones(5, 1),), each)[0].flatten().tolist() == [
            float(row not in numbers) for row in range(5)
        ]
        assert states.select((torch.arange(5.0)[:, None],), each)[0].flatten().tolist() == numbers
        stream = Stream(recurra.GRU(3, 4), batch=5)
        stream.reset(rows=each)
        assert stream._due.nonzero().flatten().tolist() == sorted(numbers)
    assert row_numbers(rows, 5).dtype == np.int64 and row_numbers(rows, 5).tolist() == numbers


def test_a_row_may_be_selected_twice_but_by_no_mask_of_zeros_and_ones() -> None:
    state = (torch.arange(3.0)[:, None],)
    assert states.row_indices([1, 1], 3, repeated=True).tolist() == [1, 1]
    session = Model(network_of(recurra.GRU(3, 4, dtype=torch.float32))).session(3)
    for rows in ([2, 0, 2], torch.tensor([2, 2]), [0, 0, 1], np.array([1, 1], np.uint8)):
        assert states.select(state, rows)[0].flatten().tolist() == list(rows)
        assert session.select(rows).batch == len(rows)
    for rows in (torch.tensor([0, 0, 1]), np.array([0, 1, 1], np.uint8)):
        for take in (session.select, lambda each: states.select(state, each)):
            with pytest.raises(
                ArgumentError,
                match=(
                    "^rows must be .* got zeros and ones, as many as rows; give a bool mask, or"
                    " rows.tolist"
                ),
            ):
                take(rows)


def test_the_one_row_of_a_batch_of_one_has_a_number() -> None:
    for rows in ([0], np.array([0]), torch.tensor([0])):
        assert row_numbers(rows, 1).tolist() == [0]
    assert row_numbers([0, 1], 2).tolist() == [0, 1]
    with pytest.raises(ArgumentError, match="zeros and ones"):
        row_numbers(np.array([0, 1]), 2)


def test_floats_of_half_precision_are_refused_too() -> None:
    with pytest.raises(ArgumentError, match="^rows must be whole numbers"):
        states.reset((torch.zeros(5, 2),), torch.zeros(5, dtype=torch.bfloat16))
