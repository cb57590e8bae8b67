from __future__ import annotations

from typing import Any

import pytest
import torch

import recurra
from recurra.convert.onnx_cells import (
    FUNCTIONS,
    SIGMOID,
    TANH,
    Activation,
    OnnxGRU,
    OnnxLSTM,
    OnnxRNN,
    clipped,
)
from recurra.errors import ConversionError
from recurra.program import trace
from recurra.program.evaluate import evaluate

CELLS = [
    *(OnnxRNN(Activation(name, 0.5, 0.25), clip=0.75) for name in sorted(FUNCTIONS)),
    OnnxRNN(),
    OnnxLSTM(),
    OnnxLSTM(clip=0.5, peepholes=True, g=Activation("Softsign"), h=Activation("Elu", 0.5)),
    OnnxLSTM(input_forget=True, peepholes=True),
    OnnxGRU(clip=0.5),
    OnnxGRU(clip=0.5, linear_before_reset=True, f=Activation("HardSigmoid", 0.25, 0.5)),
]


def drawn(
    cell: recurra.Cell, B: int = 3, I: int = 2, H: int = 5
) -> tuple[dict[str, torch.Tensor], torch.Tensor, Any]:
    """Weights, one step's input and a state, in float64."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = {name: normal(*shape) for name, shape in cell.weights(I, H).items()}
    return weights, normal(B, I), cell.state_type()(*(normal(B, H) for _ in cell.state))


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_cells_trace_to_the_program_of_their_step(cell: recurra.Cell) -> None:
    weights, x, state = drawn(cell)
    u = cell.project(weights, x)
    wanted, gates = cell.step(weights, u, state)
    program = trace(cell)
    blocks, values = dict(zip(cell.gates, u.chunk(len(cell.gates), -1))), {}
    v: dict[tuple[str, int], torch.Tensor] = {}

    def read() -> None:
        for number, node in enumerate(program.nodes):
            known = {"state": dict(zip(cell.state, state)), "param": weights, "u": blocks}.get(
                node.op, {}
            )
            if node.name in known:
                values[number] = known[node.name]
            elif node.op == "v" and (node.name, node.phase) in v:
                values[number] = v[node.name, node.phase]

    for phase, body in enumerate(program.bodies):
        read()
        evaluate(program.nodes, body.operand_nodes, values, x)
        product = body.product
        rows = slice(product.first * 5, (product.first + len(product.gates)) * 5)
        found = values[product.operand] @ weights["weight_hh"][rows].T + weights["bias_hh"][rows]
        v.update(
            {
                (gate, phase): block
                for gate, block in zip(product.gates, found.chunk(len(product.gates), -1))
            }
        )
        read()
        evaluate(program.nodes, body.nodes, values, x)
    for kind, numbers, ours in (("state", program.state, wanted), ("gate", program.gates, gates)):
        for name, number in numbers.items():
            torch.testing.assert_close(
                values[number], getattr(ours, name), rtol=0, atol=1e-12, msg=f"{kind} {name}"
            )


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_gradients_are_right(cell: recurra.Cell) -> None:
    weights, x, state = drawn(cell, B=2, H=3)
    names = [*weights]

    def scan(x: torch.Tensor, *values: torch.Tensor) -> Any:
        done = recurra.engine.scan(cell, dict(zip(names, values)), x, tuple(state), method="loop")
        return (done.h, *done.final)

    inputs = [torch.stack([x, -x]), *weights.values()]
    assert torch.autograd.gradcheck(scan, [value.requires_grad_() for value in inputs])


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_the_native_module_gives_the_loops_numbers(cell: recurra.Cell) -> None:
    pytest.importorskip("recurra.native", exc_type=ImportError)
    weights, x, state = drawn(cell)
    runs = [
        recurra.engine.scan(
            cell,
            weights,
            torch.stack([x, -x, 3 * x]),
            tuple(state),
            lengths=[3, 0, 2],
            method=method,
        )
        for method in ("fused", "loop")
    ]
    for left, right in zip(*((run.h, *run.final) for run in runs), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


def test_default_cells_are_the_built_in_ones() -> None:
    pairs = {
        OnnxRNN(): recurra.cells.Elman(),
        OnnxLSTM(): recurra.cells.LSTM(),
        OnnxLSTM(peepholes=True): recurra.cells.PeepholeLSTM(),
        OnnxGRU(linear_before_reset=True): recurra.cells.GRU(),
    }
    for general, plain in pairs.items():
        weights, x, state = drawn(plain)
        for left, right in zip(
            *(cell.step(weights, cell.project(weights, x), state)[0] for cell in (general, plain))
        ):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-15)


def test_what_is_kept() -> None:
    gates = recurra.cells.LSTM().gates_type()(*torch.tensor([[0.1], [0.2], [0.3], [0.4]]))
    assert OnnxLSTM().retention(gates) == 0.2
    assert (
        OnnxGRU().retention(recurra.cells.GRU().gates_type()(*torch.tensor([[0.1], [0.2], [0.3]])))
        == 0.2
    )
    assert OnnxRNN().retention(recurra.cells.Elman().gates_type()(torch.tensor([0.5]))) == 0.0


def test_softplus_is_exact_where_torchs_is_not() -> None:
    x = torch.tensor([25.0, -800.0, 800.0], dtype=torch.float64)
    wanted = torch.tensor([25.0 + 1.3887943864771144e-11, 0.0, 800.0], dtype=torch.float64)
    assert torch.equal(Activation("Softplus")(x), wanted)


def test_saturated_elu_has_a_finite_gradient() -> None:
    x = torch.tensor([2000.0, -2000.0], dtype=torch.float64, requires_grad=True)
    Activation("Elu", 1.0)(x).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_thresholds_and_clips_include_their_borders() -> None:
    x = torch.tensor([0.25, 0.5, 0.75])
    assert Activation("ThresholdedRelu", 0.5)(x).tolist() == [0.0, 0.5, 0.75]
    assert clipped(4 * x - 2, 0.5).tolist() == [-0.5, 0.0, 0.5]
    assert clipped(x, None) is x


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(
        ConversionError,
        match=r"activations must be one of 'Affine', 'Elu', .*got 'tanh'; did you mean 'Tanh'\?",
    ):
        Activation("tanh")


def test_cells_print_what_differs_and_compare_equal() -> None:
    assert (
        repr(Activation("HardSigmoid", 0.25, 0.5)) == "HardSigmoid(0.25, 0.5)"
        and repr(SIGMOID) == "Sigmoid"
    )
    assert repr(OnnxRNN(TANH, 0.5)) == "OnnxRNN(f=Tanh, clip=0.5)"
    assert OnnxGRU(clip=0.5) == OnnxGRU(clip=0.5) != OnnxGRU(clip=0.25)
