"""Programs are told apart by what they compute, not by names or by the order of their nodes."""

from __future__ import annotations

import pytest
import torch

from recurra.cells import (
    GRU,
    LSTM,
    Cell,
    Elman,
    Known,
    LayerNormGRU,
    MinGRU,
    Phase,
    Pre,
    ProjectedLSTM,
)
from recurra.cells.values import Values
from recurra.program import trace
from recurra.program.compare import Equation, matching_names

H, C = ("state", "old"), ("state", "memory")


def a(gate: str) -> Equation:
    return "add", ("v", gate, H), ("u", gate)


def lstm(output: str) -> dict[str, Equation]:
    keep, write = ("sigmoid", a("keep")), ("sigmoid", a("write"))
    c = ("add", ("mul", write, ("tanh", a("new"))), ("mul", C, keep))
    return {"old": ("mul", (output, c), ("sigmoid", a("out"))), "memory": c}


def test_names_are_found_whatever_they_are() -> None:
    assert matching_names(trace(LSTM()), lstm("tanh")) == {
        "state.old": "h",
        "state.memory": "c",
        "gate.keep": "f",
        "gate.write": "i",
        "gate.new": "g",
        "gate.out": "o",
    }


def test_another_function_is_another_program() -> None:
    assert matching_names(trace(LSTM()), lstm("sigmoid")) is None


@pytest.mark.parametrize(
    "cell", [GRU(), Elman(), MinGRU(), LayerNormGRU(), ProjectedLSTM(2)], ids=repr
)
def test_other_cells_do_not_match(cell: Cell) -> None:
    assert matching_names(trace(cell), lstm("tanh")) is None


def test_a_name_stands_for_one_thing() -> None:
    plain = {"old": ("tanh", a("n"))}
    assert matching_names(trace(Elman()), plain) is not None
    crossed = {"old": ("tanh", ("add", ("u", "n"), ("v", "m", H)))}
    assert matching_names(trace(Elman()), crossed) is None


def test_what_does_not_commute_keeps_its_order() -> None:
    r, z = ("sigmoid", a("r")), ("sigmoid", a("z"))
    n = ("tanh", ("add", ("u", "n"), ("mul", r, ("v", "n", H))))
    turned = ("add", ("mul", ("sub", z, 1.0), n), ("mul", z, H))
    right = ("add", ("mul", ("sub", 1.0, z), n), ("mul", z, H))
    assert matching_names(trace(GRU()), {"old": turned}) is None
    assert matching_names(trace(GRU()), {"old": right}) is not None


def test_another_operand_is_another_program() -> None:
    of_a_gate = {"old": ("tanh", ("add", ("u", "n"), ("v", "n", ("tanh", H))))}
    assert matching_names(trace(Elman()), of_a_gate) is None


def test_another_number_is_another_program() -> None:
    r, z = ("sigmoid", a("r")), ("sigmoid", a("z"))
    n = ("tanh", ("add", ("u", "n"), ("mul", r, ("v", "n", H))))
    less = ("add", ("mul", ("sub", 2.0, z), n), ("mul", z, H))
    assert matching_names(trace(GRU()), {"old": less}) is None


class Normed(Cell):
    """The plain cell, its product normalised."""

    state, gates = ("h",), ("n",)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise, ("n",), gain="gain_hh", norm=(("n",),)),)

    def pointwise(self, a: Pre, s: Known) -> Values:
        h = torch.tanh(a.n)
        return dict(h=h, n=h)


def test_a_norm_is_another_program() -> None:
    assert matching_names(trace(Normed()), {"old": ("tanh", a("n"))}) is None
