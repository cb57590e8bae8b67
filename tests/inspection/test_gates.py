"""Saturation, retention and time constants, against figures known beforehand."""

from __future__ import annotations

import math
import re

import pytest
import torch

import recurra
from recurra import Recurrent, cells
from recurra.cells import Cell
from recurra.cells.values import Known, Pre, Values
from recurra.engine.job import prepare
from recurra.errors import ArgumentError
from recurra.inspection import gate_use
from recurra.inspection.example import example_of
from recurra.inspection.gates import keeping, keeping_bias, ranges, time_constants
from recurra.inspection.measurement import measure
from tests.cells.zoo import HalfRead, assert_close

UNIT, SIGNED, LINE = (0.0, 1.0), (-1.0, 1.0), (-math.inf, math.inf)


class Plain(Cell):
    """A cell that does not say what it keeps."""

    state, gates = ("h",), ("h",)

    def pointwise(self, a: Pre, s: Known) -> Values:
        return dict(h=torch.sigmoid(a.h))


def silent(cell: Cell, units: int = 4, **biases: float) -> Recurrent:
    """A layer whose gates are what their biases say."""
    layer = Recurrent(cell, 2, units)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        for gate, bias in biases.items():
            layer.bias_ih.chunk(len(cell.gates))[cell.gates.index(gate)].fill_(bias)
    return layer


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (cells.LSTM(), {"i": UNIT, "f": UNIT, "g": SIGNED, "o": UNIT}),
        (cells.LayerNormGRU(), {"r": UNIT, "z": UNIT, "n": SIGNED}),
        (cells.Elman("tanh"), {"h": SIGNED}),
        (cells.Elman("relu"), {"h": LINE}),
        (cells.MinLSTM(), {"f": UNIT, "i": UNIT, "n": LINE}),
        (
            cells.RecurrentDropout(cells.ProjectedLSTM(2), 0.1),
            {"i": UNIT, "f": UNIT, "g": SIGNED, "o": UNIT},
        ),
        (Plain(), {"h": UNIT}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Cell) else "",
)
def test_ranges_are_found(cell: Cell, expected: dict[str, tuple[float, float]]) -> None:
    assert ranges(cell) == expected


def test_the_keeping_gates_biases_are_found_in_the_order_of_the_rows() -> None:
    kept = type("Kept", (HalfRead,), {"retention": lambda self, gates: gates.f})()
    weights = {name: torch.zeros(shape) for name, shape in kept.weights(2, 3).items()}
    weights["bias_ih"][6:9], weights["bias_hh"][:3], weights["bias_hh"][3:] = 2.0, 0.5, 9.0
    bias = keeping_bias(prepare(kept, weights, torch.zeros(4, 1, 2), None))
    assert torch.equal(bias, torch.full((3,), 2.5))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (cells.LSTM(), {"f": 1.0}),
        (cells.ResetBeforeGRU(), {"z": -1.0}),
        (cells.Zoneout(cells.GRU(), h=0.1), {"z": 1.0}),
        (cells.MinLSTM(), {"f": 1.0, "i": -1.0}),
        (cells.Elman(), {}),
        (Plain(), {}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Cell) else "",
)
def test_the_gates_that_keep_are_found(cell: Cell, expected: dict[str, float]) -> None:
    assert keeping(cell) == expected


def test_time_constants_follow_from_the_bias() -> None:
    for cell, gate, sign in (
        (cells.LSTM(), "f", 1),
        (cells.GRU(), "z", 1),
        (cells.ResetBeforeGRU(), "z", -1),
    ):
        use = gate_use(silent(cell, **{gate: sign * 2.0}), (torch.randn(5, 3, 2),))
        kept = 1 / (1 + math.exp(-2.0))
        assert use.retention[0] is not None and use.time_constants[0] is not None
        assert_close(use.retention[0], torch.full((4,), kept))
        assert_close(use.time_constants[0], torch.full((4,), -1 / math.log(kept)))


def test_retention_is_a_geometric_mean_over_steps_within_rows() -> None:
    layer = silent(cells.LSTM(), units=1)
    with torch.no_grad():
        layer.weight_ih[1, 0] = 1.0
    x = torch.randn(4, 2, 2)

    class Ragged(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x, lengths=[4, 1])[0]

    (kept,) = gate_use(Ragged(), (x,)).retention
    f = torch.sigmoid(x[..., 0])
    assert kept is not None
    assert_close(kept, torch.stack([*f[:, 0], f[0, 1]]).log().mean().exp()[None])


def test_saturation_counts_both_ends() -> None:
    layer = silent(cells.LSTM(), i=10.0, f=-10.0, g=0.0, o=4.0)  # sigmoid(4) = 0.982
    batch = (torch.randn(5, 3, 2),)
    assert gate_use(layer, batch).saturation == ({"i": 1.0, "f": 1.0, "g": 0.0, "o": 0.0},)
    assert gate_use(layer, batch, margin=0.02).saturation[0]["o"] == 1.0
    assert gate_use(layer, batch, margin=1e-5).saturation[0]["i"] == 0.0
    assert gate_use(silent(cells.Elman(), h=-5.0), batch).saturation == ({"h": 1.0},)
    assert gate_use(silent(cells.Elman("relu"), h=5.0), batch).saturation == ({},)


def test_half_the_values_at_an_end_are_half() -> None:
    layer = silent(cells.GRU(), units=2, r=0.0)
    with torch.no_grad():
        layer.bias_ih[0] = 20.0
    assert gate_use(layer, (torch.randn(5, 3, 2),)).saturation[0]["r"] == 0.5


def test_the_bias_that_keeps_is_read_from_both_vectors() -> None:
    layer = silent(cells.ResetBeforeGRU(), z=1.5)
    with torch.no_grad():
        layer.bias_hh.chunk(3)[1].fill_(0.5)
    batch = (torch.randn(3, 1, 2),)
    assert measure(layer, example_of(layer, batch)).layers[0].keeping_bias == -2.0
    wrapped = Recurrent(cells.Zoneout(cells.LSTM(), c=0.1), 2, 3)
    assert measure(wrapped, example_of(wrapped, batch)).layers[0].keeping_bias == 1.0
    for without in (cells.Elman(), cells.MinLSTM()):
        bare = Recurrent(without, 2, 3)
        assert measure(bare, example_of(bare, batch)).layers[0].keeping_bias is None
    bare = Recurrent(cells.LSTM(), 2, 3, biases=0)
    assert measure(bare, example_of(bare, batch)).layers[0].keeping_bias is None


def test_ends_of_retention_are_ends_of_time() -> None:
    assert time_constants(torch.tensor([0.0, 1.0])).tolist() == [0.0, math.inf]


def test_it_prints_every_layer() -> None:
    use = gate_use(torch.nn.Sequential(silent(cells.GRU(), r=20.0)), (torch.randn(5, 3, 2),))
    assert (
        str(use)
        == "layer 0 GRU(): saturated r 100.0%, z 0.0%, n 0.0%; time constants of 1.44 / 1.44 / 1.44"
        " (10 / 50 / 90 % of units) steps"
    )
    assert (
        str(gate_use(silent(cells.Elman("relu")), (torch.randn(2, 1, 2),)))
        == "layer 0 Elman(nonlinearity='relu'): saturated nothing"
    )


@pytest.mark.parametrize("margin", [0.0, 0.5, -1.0])
def test_margins_outside_are_refused(margin: float) -> None:
    with pytest.raises(
        ArgumentError,
        match=rf"^margin must be a number in \(0, 0.5\), got {re.escape(str(margin))}$",
    ):
        gate_use(recurra.GRU(2, 3), (torch.randn(5, 3, 2),), margin=margin)
