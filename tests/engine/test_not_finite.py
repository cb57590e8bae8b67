"""Where the loop's values and gradients are finite, every method's are, and equal: whatever lies
before a reset or past a row's length.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell
from recurra.engine import METHODS, scan
from recurra.errors import MethodUnavailable

CELLS = (
    cells.LSTM(),
    cells.GRU(),
    cells.ResetBeforeGRU(),
    cells.Elman(),
    cells.LayerNormLSTM(),
    cells.MinGRU(),
    cells.MinLSTM(),
)
STEPS, ROWS, WIDTH, HIDDEN = 7, 3, 3, 4


def settings(where: str, x: Tensor, first: list[Tensor], bad: float, reverse: bool) -> Any:
    """Lengths and resets, and `bad` put in x or the state: on the far side of row 0's resets, or
    past the lengths of the others.
    """
    resets = torch.zeros(STEPS, ROWS, dtype=torch.bool)
    resets[3, 0] = resets[5, 1] = resets[5, 2] = True
    lengths = torch.tensor([STEPS, STEPS - 1, STEPS - 3])
    if where == "past":
        x[STEPS - 1, 1] = x[STEPS - 3 :, 2] = bad
    elif where == "x":
        x[5 if reverse else 1, 0] = bad
    else:
        resets[0, 0] = not reverse
        for value in first:
            value[0] = bad
    return {"resets": resets, "lengths": lengths}


def ran(
    cell: Cell, method: str, where: str, bad: float, reverse: bool, recompute: bool
) -> dict[str, Tensor]:
    """Outputs, final state and every gradient of a loss over what no bad value reaches."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = {name: draw(*shape) for name, shape in cell.weights(WIDTH, HIDDEN).items()}
    weights |= {f"initial_{name}": draw(cell.width(name, HIDDEN)) for name in cell.state}
    x, first = draw(STEPS, ROWS, WIDTH), [draw(ROWS, cell.width(n, HIDDEN)) for n in cell.state]
    options = settings(where, x, first, bad, reverse)
    leaves = {"x": x, **dict(zip(cell.state, first)), **weights}
    for leaf in leaves.values():
        leaf.requires_grad_()
    state = cell.state_type()(*first)
    out = scan(
        cell, weights, x, state, method=method, reverse=reverse, recompute=recompute, **options
    )
    sound = out.h[:3] if reverse else out.h[3:]
    total = sound.square().sum() + sum(value.sin().sum() for value in out.final)
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    made = {"h": out.h} | {f"final {name}": each for name, each in zip(cell.state, out.final)}
    return made | {
        f"d {name}": torch.zeros_like(leaf) if d is None else d
        for (name, leaf), d in zip(leaves.items(), found)
    }


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["state", "x", "past"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_finite_where_the_loop_is(cell: Cell, where: str, bad: float, reverse: bool) -> None:
    loop = ran(cell, "loop", where, bad, reverse, False)
    finite = {name: value.isfinite() for name, value in loop.items()}
    assert finite["d x"][:3, 1:].all()  # the other rows', at least
    if where == "past":
        assert all(each.all() for each in finite.values())
    tried = []
    for method in METHODS:
        for recompute in (False, True):
            try:
                other = ran(cell, method, where, bad, reverse, recompute)
            except MethodUnavailable:
                continue
            tried.append(method)
            for name, mask in finite.items():
                torch.testing.assert_close(
                    other[name][mask],
                    loop[name][mask],
                    rtol=1e-9,
                    atol=1e-10,
                    msg=f"{method}: {name}",
                )
    assert {"fused", "checkpointed"} <= set(tried)
