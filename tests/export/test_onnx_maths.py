"""Each operation of a program in ONNX Runtime is what the loop computes, at the edges of float32
too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell
from recurra.export import to_onnx
from recurra.export.onnx_cells import own_operator
from recurra.export.onnx_maths import COMPARISONS, operation
from recurra.export.onnx_sheet import IR_VERSION, OPSET, Sheet
from recurra.network import Network, Recurrent
from recurra.network.loop import OPERATIONS
from recurra.program import trace
from recurra.program.graph import ALPHABET, BINARY, TERNARY, Node
from recurra.runtime import Model
from tests.export.onnx_runs import EPS, drawn, every_way, held, operators, session
from tests.network.nets import recurrent

EDGES = np.float32(
    [
        np.nan,
        np.inf,
        -np.inf,
        0,
        -0.0,
        1,
        -1,
        1e-30,
        -1e-30,
        1e-4,
        -1e-4,
        0.3,
        -0.6,
        0.99,
        -0.99,
        17,
        -17,
        80,
        -80,
    ]
)


def computed(op: str, *args: Any) -> Any:
    """An operation in a graph of its own."""
    sheet = Sheet(onnx)
    names = [f"x{number}" for number in range(len(args))]
    sheet.name(operation(sheet, op, *names), "y")
    inputs, (output,) = (
        [onnx.helper.make_tensor_value_info(name, 1, ["n"]) for name in group]
        for group in (names, ["y"])
    )
    graph = onnx.helper.make_graph(sheet.nodes, "operation", inputs, [output], sheet.arrays)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    return session(model).run(None, dict(zip(names, args)))[0]


@pytest.mark.parametrize("op", ALPHABET)
def test_every_operation_is_the_loops(op: str) -> None:
    count = 3 if op in TERNARY else 2 if op in BINARY else 1
    some = np.concatenate([EDGES, np.linspace(-3, 3, 241).astype(np.float32)])
    args = [some] if count == 1 else [grid.ravel() for grid in np.meshgrid(*[EDGES] * count)]
    with np.errstate(all="ignore"):
        exact = OPERATIONS[op](*(arg.astype(np.float64) for arg in args)).astype(np.float32)
    found = computed(op, *args)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_allclose(found, exact, rtol=8 * EPS, atol=1e-37)


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_give_one_or_zero(op: str) -> None:
    assert set(np.unique(computed(op, EDGES, EDGES[::-1].copy()))) <= {0.0, 1.0}


class Everything(Cell):
    """A user's own cell with operations that no built-in one has."""

    state, gates = ("h", "m", "k"), ("a", "b")

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        b = torch.where(a.b > s.m, torch.expm1(-torch.abs(a.b)), torch.log1p(torch.exp(a.b)))
        h = torch.sin(torch.maximum(a.a, b)) * torch.cos(torch.minimum(a.a, s.m)) + torch.log(
            torch.sigmoid(3 * a.b)
        )
        m = torch.relu(torch.erf(h)) / torch.sqrt(1 + a.a * a.a) - torch.sign(a.b) * (a.a >= s.h)
        return dict(h=0.1 * h, m=m, k=s.k, a=a.a, b=b)


class Forgetful(Cell):
    """A cell with a parameter, whose output is two of its states."""

    state, gates, params = ("h", "c", "d"), ("a",), ("p",)

    def pointwise(self, a: Any, s: Any) -> dict[str, Tensor]:
        h = torch.tanh(a.a + s.c + s.d)
        return dict(h=h, c=h * torch.exp(s.p), d=h, a=a.a)


@pytest.mark.parametrize("cell", [Everything(), Forgetful()], ids=["everything", "forgetful"])
@pytest.mark.parametrize("steps", [1, 5])
def test_cells_of_a_users_own(cell: Cell, steps: int) -> None:
    network = Network((recurrent(cell, 3, 4),))
    every_way(network, drawn(network, steps, 3))


def test_a_state_that_is_the_same_for_every_row() -> None:
    """No trace gives such a program, but a file may hold one."""
    layer = recurrent(Forgetful(), 3, 4)
    alone = next(number for number, node in enumerate(layer.program.nodes) if node.op == "exp")
    program = replace(layer.program, state={**layer.program.state, "c": alone})
    network = Network((Recurrent(program, layer.matrices, layer.vectors),))
    every_way(network, drawn(network, 4, 3))


def test_a_state_that_is_a_number_beside_what_nobody_reads() -> None:
    layer = recurrent(Forgetful(), 3, 4)
    unread = Node("v", name="of_no_gate")
    nodes = (*layer.program.nodes, unread, Node("const", value=0.25))
    state = {**layer.program.state, "c": len(nodes) - 1}
    program = replace(layer.program, nodes=nodes, state=state)
    network = Network((Recurrent(program, layer.matrices, layer.vectors),))
    every_way(network, x := drawn(network, 4, 3))
    runs = Model(network).session(3)
    held(network, x, [runs.push(x), *runs.state.values()])


def test_a_small_share_in_a_logarithm_keeps_its_digits() -> None:
    """ONNX Runtime's Sigmoid is right to 1e-7, not to a part in 1e7: beside a logarithm it is
    written by parts.
    """
    for cell, wanted in ((Everything(), False), (cells.MinGRU(), True)):
        found = operators(to_onnx(Network((recurrent(cell, 3, 4),))).graph)
        assert ("Sigmoid" in found) is wanted
    x = np.linspace(-30, -5, 99).astype(np.float32)
    np.testing.assert_allclose(
        computed("sigmoid", x), 1 / (1 + np.exp(-x.astype(np.float64))), rtol=8 * EPS
    )


def test_the_built_in_cells_are_known_and_others_are_not() -> None:
    known = [
        cells.Elman(),
        cells.Elman("relu"),
        cells.LSTM(),
        cells.PeepholeLSTM(),
        cells.GRU(),
        cells.ResetBeforeGRU(),
    ]
    found = [own_operator(trace(cell)) for cell in known]
    names = [operator and operator.name for operator in found]
    assert names == ["RNN", "RNN", "LSTM", "LSTM", "GRU", "GRU"]
    others = [
        cells.MinGRU(),
        cells.LayerNormGRU(),
        cells.ProjectedLSTM(2),
        Everything(),
        Forgetful(),
    ]
    assert not any(own_operator(trace(cell)) for cell in others)
