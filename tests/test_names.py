"""A cell of one's own whose names would be read as each other's is refused by every way to run
it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra import engine
from recurra.cells import Cell, Noise, Phase
from recurra.errors import ArgumentError, ProgramError
from recurra.layers import Recurrent
from recurra.program import trace
from recurra.program.weights import check_names


class Named(Cell):
    """A cell whose names a test chooses."""

    gates = ("k", "n")

    def __init__(
        self, state: str = "h", param: str = "p", noise: str = "e", gate: str = "k"
    ) -> None:
        self.state, self.params, self.gates = (state,), (param,), (gate, "n")
        self.names = state, param, noise

    def pointwise(self, a: Any, s: Any) -> dict[str, torch.Tensor]:
        state, param, _ = self.names
        k = torch.sigmoid(getattr(a, self.gates[0]) + s.values[param])
        h = k * s.values[state] + (1 - k) * a.n
        return {state: h, self.gates[0]: k, "n": a.n}

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase(
                self.pointwise,
                self.gates,
                operand=lambda s: s.values[self.names[0]],
                reads=self.names[0],
            ),
        )

    def noises(self) -> dict[str, Noise]:
        return {self.names[2]: Noise(self.names[0], zero=0.1)}


def test_a_cell_of_good_names_runs() -> None:
    assert Recurrent(Named(), 3, 4)(torch.ones(2, 1, 3))[0].shape == (2, 1, 4)


def test_a_gate_stands_once_in_a_phase() -> None:
    """The loop would read one of its blocks, the native module another."""

    class Twice(Cell):
        gates = ("f", "o")

        def phases(self) -> tuple[Phase, ...]:
            return (Phase(lambda a, s: dict(h=torch.tanh(a.f), f=a.f, o=a.o), ("f", "f", "o")),)

    with pytest.raises(
        ArgumentError, match="gates of a phase must be named once each, got 'f' twice; rename one$"
    ):
        Recurrent(Twice(), 3, 4)


BAD = [
    ({"param": "bias_hh"}, "params must not be called as a weight, got 'bias_hh'"),
    ({"param": "bias_ih"}, "params must not be called as a weight, got 'bias_ih'"),
    ({"param": "weight_ih"}, "params must not be called as a weight, got 'weight_ih'"),
    ({"param": "weight_hh"}, "params must not be called as a weight, got 'weight_hh'"),
    ({"param": "gain_ih"}, "params must not be called as a weight, got 'gain_ih'"),
    ({"param": "initial_h"}, "params must not be called as a weight, got 'initial_h'"),
    ({"param": "h"}, "params must not be called as one of state, got 'h'"),
    ({"state": "bias_hh"}, "state must not be called as a weight, got 'bias_hh'"),
    ({"gate": "bias_hh"}, "gates must not be called as a weight, got 'bias_hh'"),
    ({"gate": "initial_h"}, "gates must not be called as a weight, got 'initial_h'"),
    ({"noise": "bias_hh"}, "noise must not be called as a weight, got 'bias_hh'"),
    ({"noise": "h"}, "noise must not be called as one of state, got 'h'"),
    ({"noise": "p"}, "noise must not be called as one of params, got 'p'"),
    ({"gate": "n"}, "must be named once each, got 'n' twice"),
    ({"param": "a-b"}, "params must be identifiers, got 'a-b'"),
]


@pytest.mark.parametrize(("names", "message"), BAD, ids=str)
def test_name_of_a_weight_is_refused_for_all_else(names: dict[str, str], message: str) -> None:
    cell = Named(**names)
    with pytest.raises(ArgumentError, match=message):
        cell.weights(3, 4)
    with pytest.raises(ArgumentError, match=message):
        Recurrent(cell, 3, 4)
    with pytest.raises(
        ProgramError, match=message if names != {"param": "h"} else "h must have shape"
    ):
        check_names(trace(cell, cell.noises()))


@pytest.mark.parametrize(("kind", "name"), [("param", "class"), ("gate", "_n"), ("param", "ﬁ")])
def test_a_cells_names_are_as_python_reads_them(kind: str, name: str) -> None:
    message = (
        f"{kind}s must be identifiers, got {name!r}; begin with a letter, and take no word of"
        " Python$"
    )
    with pytest.raises(ArgumentError, match=message):
        Named(**{kind: name}).weights(3, 4)


@pytest.mark.parametrize("method", ["loop", "fused"])
def test_no_way_to_run_takes_a_param_for_a_bias(method: str) -> None:
    """Forward read and backward wrote H numbers as 2 H."""
    weights = {
        name: torch.zeros(shape)
        for name, shape in {
            "weight_ih": (8, 3),
            "weight_hh": (8, 4),
            "bias_ih": (8,),
            "bias_hh": (4,),
        }.items()
    }
    with pytest.raises(ArgumentError, match="params must not be called as a weight, got 'bias_hh'"):
        engine.scan(Named(param="bias_hh"), weights, torch.ones(2, 1, 3), method=method)


class TwoNorms(Cell):
    """Two normed products whose phases name vectors as a test wants."""

    gates = ("k", "n")

    def __init__(self, **names: str) -> None:
        self.names = {"gain": "gain_c", "bias": "bias_c"} | names

    def phases(self) -> tuple[Phase, ...]:
        first = Phase(
            lambda a, s: {"k": a.k, "n": a.n}, ("k", "n"), gain="gain_hh", norm=(("k", "n"),)
        )
        return first, Phase(
            lambda a, s: {"h": a.v.m},
            ("m",),
            operand=lambda s: s.new.n,
            weight=None,
            norm=(("m",),),
            **self.names,
        )


def test_each_norm_has_vectors_of_its_own() -> None:
    assert Recurrent(TwoNorms(), 3, 4)(torch.ones(2, 1, 3))[0].shape == (2, 1, 4)
    for names, kind in (({"bias": "bias_hh"}, "bias"), ({"gain": "gain_hh"}, "gain")):
        with pytest.raises(
            ArgumentError,
            match=(
                f"{kind}_hh must have one meaning, got the {kind} of weight_hh and the {kind} of"
                " product 1"
            ),
        ):
            Recurrent(TwoNorms(**names), 3, 4)
