"""What is not finite stays on its side of a reset, and before a row's end, by every method."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell
from recurra.engine import METHODS, scan
from recurra.engine.parallel import associative_scan
from recurra.errors import MethodUnavailable

CELLS = (
    cells.LSTM(),
    cells.ResetBeforeGRU(),
    cells.LayerNormLSTM(),
    cells.MinGRU(),
    cells.MinLSTM(),
)
STEPS, ROWS, WIDTH, HIDDEN = 7, 2, 3, 4


def ran(cell: Cell, method: str, where: str, bad: float) -> tuple[Any, list[bool]]:
    """A scan whose input, or first state, holds something that is not finite before a reset or
    past a length; with which gradients are finite.
    """
    torch.manual_seed(0)
    shapes = cell.weights(WIDTH, HIDDEN)
    weights = {name: torch.randn(shape).requires_grad_() for name, shape in shapes.items()}
    x = torch.randn(STEPS, ROWS, WIDTH)
    first = [torch.randn(ROWS, cell.width(name, HIDDEN)) for name in cell.state]
    settings: dict[str, Any] = {"resets": torch.zeros(STEPS, ROWS, dtype=torch.bool)}
    if where == "state":
        first[0][0, 1] = bad
        settings["resets"][0] = True
    elif where == "x":
        x[1, 0, 2] = bad
        settings["resets"][3] = True
    else:
        x[4, 0] = bad
        settings = {"lengths": torch.tensor([4, STEPS])}
    leaves: list[Tensor] = [x, *first]
    for leaf in leaves:
        leaf.requires_grad_()
    leaves += weights.values()
    out = scan(cell, weights, x, cell.state_type()(*first), method=method, **settings)
    total = (out.h if where != "x" else out.h[3:]).square().sum()
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    return out, [each is None or bool(each.isfinite().all()) for each in found]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["state", "x", "length"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_what_is_not_finite_goes_no_further_than_by_the_loop(
    cell: Cell, where: str, bad: float
) -> None:
    loop, sound = ran(cell, "loop", where, bad)
    assert loop.h[3:].isfinite().all() and all(value.isfinite().all() for value in loop.final)
    if where != "x":  # there the loop's own gradients hold 0 times what is not finite
        assert all(sound)
    for method in METHODS:
        try:
            other, found = ran(cell, method, where, bad)
        except MethodUnavailable:
            continue
        torch.testing.assert_close(other.h, loop.h, equal_nan=True, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other.final, loop.final, rtol=1e-4, atol=1e-5)
        assert found == sound, method


def test_a_reset_takes_nothing_from_before() -> None:
    keep, write = torch.full((9, 1), 0.5), torch.ones(9, 1)
    write[2], resets = math.nan, torch.zeros(9, 1, dtype=torch.bool)
    resets[5] = True
    h = associative_scan(keep, write, resets)
    assert h[2:5].isnan().all()
    assert h[5:].flatten().tolist() == [1.0, 1.5, 1.75, 1.875]
