from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell, Phase
from recurra.errors import ProgramError
from recurra.program import show, trace
from tests.cells.zoo import ZOO, CoupledLSTM


def test_trace_is_cached_by_equal_cells_and_noise() -> None:
    assert trace(cells.LSTM()) is trace(cells.LSTM())
    zoneout = cells.Zoneout(cells.LSTM(), h=0.1, c=0.1)
    assert trace(zoneout, ["zoneout_c", "zoneout_h"]) is trace(
        cells.Zoneout(cells.LSTM(), h=0.1, c=0.1), ("zoneout_h", "zoneout_c")
    )
    assert trace(zoneout) is not trace(zoneout, ["zoneout_h"])
    assert trace(zoneout) != trace(cells.Zoneout(cells.LSTM(), h=0.2, c=0.1))


@pytest.mark.parametrize(
    "name, forward, backward", [("Elman", 2, 3), ("LSTM", 13, 22), ("GRU", 11, 20)]
)
def test_programs_are_as_short_as_the_house_says(name: str, forward: int, backward: int) -> None:
    program = trace(ZOO[name])
    assert sum(len(body.nodes) + len(body.operand_nodes) for body in program.bodies) == forward
    assert sum(len(half) for halves in program.derivative.bodies for half in halves) <= backward


@pytest.mark.parametrize("where", ["inference", "grad", "autocast", "float32", "bfloat16", "meta"])
def test_program_does_not_depend_on_where_it_was_traced(where: str) -> None:
    expected = trace(CoupledLSTM())
    manager: Any = {
        "inference": torch.inference_mode(),
        "grad": torch.enable_grad(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "meta": torch.device("meta"),
    }.get(where)
    if manager is None:
        torch.set_default_dtype(getattr(torch, where))
        assert trace(CoupledLSTM()) == expected
    else:
        with manager:
            assert trace(CoupledLSTM()) == expected


class Composite(Cell):
    """Only of functions that torch makes of others."""

    gates = ("n",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        n = torch.square(torch.max(torch.nn.functional.softsign(a.n), s.h))
        return dict(h=n, n=n)


def test_functions_made_of_others_are_taken_apart_in_inference_mode_too() -> None:
    with torch.inference_mode():
        assert [node.op for node in trace(Composite()).nodes].count("maximum") == 1


class Wrong(Cell):
    """Returns what it is told to."""

    state, gates = ("h", "c"), ("n",)

    def __init__(self, found: Any) -> None:
        self.found = found

    def __repr__(self) -> str:
        return "Wrong()"

    def pointwise(self, a: Any, s: Any) -> Any:
        return self.found(a, s)


@pytest.mark.parametrize(
    "found, message",
    [
        (lambda a, s: a.n, "pointwise must return a dict by name, got Tensor"),
        (lambda a, s: None, "pointwise must return a dict by name, got NoneType"),
        (lambda a, s: {}, "pointwise must return 'h', got only nothing"),
        (lambda a, s: dict(h=a.n, n=a.n), "pointwise must return 'c', got only 'h', 'n'"),
        (lambda a, s: dict(h=a.n, c=a.n), "pointwise must return 'n', got only 'h', 'c'"),
        (lambda a, s: dict(h=a.n, c=a.n, n=1.0), "n must be a tensor, got float"),
        (
            lambda a, s: dict(h=a.n, c=torch.ones(3, 7), n=a.n),
            "pointwise must use elementwise operations only, got ones",
        ),
        (
            lambda a, s: dict(h=a.n, c=a.n.sum(), n=a.n),
            "pointwise must use elementwise operations only, got sum",
        ),
        (
            lambda a, s: dict(h=torch.tensor(1.0), c=a.n, n=a.n),
            r"h must have shape \(B, 7\) when H is 7, got \(\)",
        ),
        (
            lambda a, s: dict(h=a.n if bool(a.n.isnan().any()) else s.h, c=a.n, n=a.n),
            "elementwise operations only, got",
        ),
        (
            lambda a, s: dict(h=a.n if torch.equal(a.n, s.h) else s.h, c=a.n, n=a.n),
            "must not branch on data or read a value",
        ),
        (
            lambda a, s: dict(h=torch.complex(a.n, a.n), c=a.n, n=a.n),
            "elementwise operations only, got",
        ),
    ],
)
def test_what_a_cell_returns_is_looked_at(found: Any, message: str) -> None:
    with pytest.raises(ProgramError, match=f"^Wrong.*: .*{message}"):
        trace(Wrong(found))


class Soft(Wrong):
    """Its maths stands on lines of its own."""

    def pointwise(self, a: Any, s: Any) -> Any:
        n = torch.softmax(a.n, -1)
        return dict(h=n, c=n, n=n)


def test_the_operation_and_the_line_of_the_user_are_named() -> None:
    here = r" \(line \d+ of test_trace.py: "
    with pytest.raises(
        ProgramError,
        match=r"only, got softmax; the alphabet is .*" + here + r"n = torch.softmax\(a.n, -1\)\)$",
    ):
        trace(Soft(None))


class Narrow(Cell):
    """Its state c is one unit wide, and would be broadcast."""

    state, gates = ("h", "c"), ("n",)

    def width(self, name: str, hidden_size: int) -> int:
        return 1 if name == "c" else hidden_size

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=a.n * s.c, c=s.c, n=a.n)


def test_a_hidden_broadcast_is_refused() -> None:
    with pytest.raises(
        ProgramError,
        match=(
            r"Narrow.*: pointwise must use elementwise operations only, got mul of values that are"
            r" 1 and 7 wide"
        ),
    ):
        trace(Narrow())


def test_a_width_that_is_sometimes_the_hidden_size_is_refused() -> None:
    with pytest.raises(ProgramError, match="a state's width must be hidden_size or differ from it"):
        trace(Coincident())


class Coincident(Narrow):
    """Fixed widths, equal to each size that is tried."""

    state = ("h", "c", "d")

    def width(self, name: str, hidden_size: int) -> int:
        return {"h": 7, "c": 11, "d": 13}[name]


@dataclass
class Unhashable(Cell):
    """A dataclass that is not frozen has no hash."""

    gates = ("n",)
    rate: float = 0.5

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=self.rate * a.n, n=a.n)


def test_an_unhashable_cell_is_told_to_be_frozen() -> None:
    with pytest.raises(
        ProgramError,
        match=r"cell must be hashable, got Unhashable.*; make its class a dataclass\(frozen=True\)",
    ):
        trace(Unhashable())


class Forever(Cell):
    """Multiplies with what it has not found."""

    gates = ("n",)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise, ("n",), operand=lambda s: s.h.sum(-1, keepdim=True)),)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        return dict(h=a.n, n=a.n)


def test_an_operand_must_be_elementwise_too() -> None:
    with pytest.raises(ProgramError, match="elementwise operations only, got sum"):
        trace(Forever())


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [False, True])
def test_show_prints_every_product_gate_and_gradient(name: str, training: bool) -> None:
    cell = ZOO[name]
    text = show(cell, cell.noises() if training else ())
    program = trace(cell, cell.noises() if training else ())
    assert text.splitlines()[0] == repr(cell)
    assert text == show(program)
    assert text.count("  v = ") == sum(body.product is not None for body in program.bodies)
    for state in cell.state:
        assert f"  {state}' = " in text or state in cell.gates
    for name in program.derivative.dstate:
        assert f"d({name})" in text
