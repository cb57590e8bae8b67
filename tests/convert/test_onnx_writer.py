"""What is written, run by onnx's reference evaluator and by ONNX Runtime, against our loop."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from onnx import checker, helper
from onnx.reference import ReferenceEvaluator

import recurra
from recurra import cells
from recurra.convert import OnnxLayer, from_onnx_node, to_onnx_node
from recurra.errors import ArgumentError, ConversionError, MissingDependency
from tests.convert.onnx_equations import model_of, run_runtime
from tests.convert.test_onnx import TWO, make, outputs_of

T, B, I, H = 7, 3, 2, 5
CELLS = [
    cells.Elman(),
    cells.Elman("relu"),
    cells.LSTM(),
    cells.PeepholeLSTM(),
    cells.GRU(),
    cells.ResetBeforeGRU(),
]


def recurrent(cell: cells.Cell, biases: int = 2, seed: int = 0) -> recurra.Recurrent:
    """A layer in float32 with random weights, peepholes and biases included."""
    torch.manual_seed(seed)
    return recurra.Recurrent(cell, I, H, biases=biases, init="torch", dtype=torch.float32)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float32
    )


def attributes_of(node: Any) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def assert_close(found: Any, wanted: Any) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() <= 4e-6 * max(1.0, np.abs(theirs).max())


def loop(
    layer: recurra.Recurrent, x: torch.Tensor, reverse: bool = False, **options: Any
) -> list[np.ndarray]:
    """Our definition's h (T, B, H) and states (B, H)."""
    with torch.no_grad():
        done = layer.scan(x, method="loop", reverse=reverse, **options)
    return [done.h.numpy(), *(value.numpy() for value in done.final)]


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_what_is_written_runs_elsewhere_with_our_numbers(cell: cells.Cell, biases: int) -> None:
    layer, x = recurrent(cell, biases), normal(T, B, I)
    node, arrays = to_onnx_node(layer)
    assert ("B" in arrays) == (biases > 0)
    feeds = {"X": x.numpy(), **arrays}
    h, *final = loop(layer, x)
    wanted = [h[:, None], *(value[None] for value in final)]
    assert_close(run_runtime(node, feeds), wanted)
    if cell != cells.Elman("relu"):  # the reference evaluator knows Tanh and Affine only
        checker.check_model(model_of(node, feeds))
        assert_close(ReferenceEvaluator(model_of(node, feeds)).run(None, feeds), wanted)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_fed_lengths_and_states_in_both_directions(cell: cells.Cell) -> None:
    layers = [recurrent(cell, seed=seed) for seed in (1, 2)]
    states = ("initial_h", "initial_c")[: len(cell.state)]
    node, arrays = to_onnx_node(
        recurra.Bidirectional(*layers), "out", feeds=("sequence_lens", *states)
    )
    assert (
        node.input[:5] == ["out_X", "out_W", "out_R", "out_B", "out_sequence_lens"]
        and "out_Y_h" in node.output
    )
    assert node.name == "out" and set(arrays) == {
        f"out_{role}" for role in ("W", "R", "B", *(["P"] if cell.params else []))
    }
    x, lengths, first = (
        normal(T, B, I),
        torch.tensor([4, 1, T]),
        [normal(2, B, H) / 2 for _ in states],
    )
    feeds = {"out_X": x.numpy(), **arrays, "out_sequence_lens": lengths.to(torch.int32).numpy()}
    feeds |= {f"out_{name}": value.numpy() for name, value in zip(states, first)}
    runs = [
        loop(layer, x, bool(d), state=tuple(value[d] for value in first), lengths=lengths)
        for d, layer in enumerate(layers)
    ]
    h, *final = zip(*runs)
    assert_close(
        run_runtime(node, feeds), [np.stack(h, 1), *(np.stack(values) for values in final)]
    )


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_like_layers_are_written(name: str, bidirectional: bool) -> None:
    layer, x = (
        getattr(recurra, name)(
            I, H, bidirectional=bidirectional, init="torch", dtype=torch.float32
        ),
        normal(T, B, I),
    )
    node, arrays = to_onnx_node(layer)
    y = run_runtime(node, {"X": x.numpy(), **arrays})[0]
    assert_close(
        [y], [layer(x)[0].detach().unflatten(-1, (1 + bidirectional, H)).transpose(1, 2).numpy()]
    )


def test_relu_and_tanh_may_go_opposite_ways() -> None:
    layers = [recurrent(cells.Elman(kind), seed=3) for kind in ("relu", "tanh")]
    node, arrays = to_onnx_node(recurra.Bidirectional(*layers))
    assert attributes_of(node)["activations"] == [b"Relu", b"Tanh"]
    x = normal(T, B, I)
    y = run_runtime(node, {"X": x.numpy(), **arrays})[0]
    assert_close([y[:, 0], y[:, 1]], [loop(layer, x, bool(d))[0] for d, layer in enumerate(layers)])


def test_biases_and_peepholes_of_one_direction_are_zero_in_the_other() -> None:
    layers = [recurrent(cells.PeepholeLSTM(), 1, seed=4), recurrent(cells.LSTM(), 0, seed=5)]
    node, arrays = to_onnx_node(recurra.Bidirectional(*layers))
    assert not arrays["B"][1].any() and not arrays["P"][1].any() and arrays["P"][0].all()
    x = normal(T, B, I)
    y = run_runtime(node, {"X": x.numpy(), **arrays})[0]
    assert_close([y[:, 0], y[:, 1]], [loop(layer, x, bool(d))[0] for d, layer in enumerate(layers)])


def test_layout_1_is_said_in_the_node() -> None:
    layer, x = recurrent(cells.LSTM()), normal(T, B, I)
    node, arrays = to_onnx_node(layer, layout=1)
    feeds = {"X": x.transpose(0, 1).numpy(), **arrays}
    h, final_h, final_c = loop(layer, x)
    found = ReferenceEvaluator(model_of(node, feeds)).run(None, feeds)
    assert_close(found, [h.swapaxes(0, 1)[:, :, None], final_h[:, None], final_c[:, None]])
    assert "layout" not in attributes_of(to_onnx_node(layer)[0])


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_there_and_back_is_exact(cell: cells.Cell) -> None:
    layers = [recurrent(cell, seed=seed).double() for seed in (6, 7)]
    back = from_onnx_node(*to_onnx_node(recurra.Bidirectional(*layers), "n"))
    for before, after in zip(layers, back.directions, strict=True):
        assert after.cell == before.cell
        for name, weight in before.weights().items():
            assert torch.equal(after.weights()[name], weight), name


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.25]}),
        ("RNN", {"direction": "reverse", "clip": 0.5}),
        ("LSTM", {**TWO, "clip": 0.25, "input_forget": 1}),
        (
            "LSTM",
            {
                **TWO,
                "activations": [
                    "Sigmoid",
                    "Tanh",
                    "Tanh",
                    "HardSigmoid",
                    "LeakyRelu",
                    "ScaledTanh",
                ],
                "activation_alpha": [0.25, 0.125, 1.5],
                "activation_beta": [0.5, 0.75],
                "clip": 2.0,
            },
        ),
        ("GRU", {"linear_before_reset": 1, "clip": 0.5}),
        ("GRU", {"activations": ["Sigmoid", "Softsign"]}),
    ],
    ids=str,
)
def test_nodes_of_every_kind_go_there_and_back(
    op: str, attributes: dict[str, Any], layout: int
) -> None:
    node, inputs = make(op, attributes)
    layer = from_onnx_node(node, inputs)
    again, arrays = to_onnx_node(layer, layout=layout)
    wanted = attributes_of(node) | ({"layout": 1} if layout else {})
    found = attributes_of(again)
    assert {name: found.get(name) for name in wanted} == wanted
    for mine, theirs in zip(
        *(outputs_of(one, inputs["X"]) for one in (layer, from_onnx_node(again, arrays))),
        strict=True,
    ):
        assert np.array_equal(mine, theirs)


def test_a_fed_input_replaces_what_the_layer_holds() -> None:
    node, inputs = make("GRU", {})
    again, arrays = to_onnx_node(from_onnx_node(node, inputs), feeds=["initial_h"])
    assert "initial_h" not in arrays and "sequence_lens" in arrays and again.input[5] == "initial_h"


def test_layers_that_one_node_cannot_hold_are_refused() -> None:
    with pytest.raises(
        ConversionError,
        match="num_layers must be 1 for one ONNX node, got 2; convert each layer alone",
    ):
        to_onnx_node(recurra.LSTM(I, H, num_layers=2))
    with pytest.raises(ConversionError, match="learned_state must be False for one ONNX node"):
        to_onnx_node(recurra.Recurrent(cells.LSTM(), I, H, learned_state=True))
    mixed = recurra.Bidirectional(recurrent(cells.GRU()), recurrent(cells.ResetBeforeGRU()))
    with pytest.raises(
        ConversionError,
        match=re.escape(
            "cell must be of one kind both ways in one node, got GRU() and ResetBeforeGRU()"
        ),
    ):
        to_onnx_node(mixed)


@pytest.mark.parametrize(
    "cell",
    [
        cells.ProjectedLSTM(2),
        cells.MinGRU(),
        cells.LayerNormLSTM(),
        cells.Zoneout(cells.GRU(), 0.1),
    ],
    ids=repr,
)
def test_cells_without_an_operator_are_refused(cell: cells.Cell) -> None:
    text = (
        "cell must be one that ONNX has an operator for (Elman, LSTM, PeepholeLSTM, GRU,"
        f" ResetBeforeGRU), got {cell!r}"
    )
    with pytest.raises(ConversionError, match=re.escape(text)):
        to_onnx_node(recurra.Recurrent(cell, I, H))
    with pytest.raises(ConversionError, match=re.escape(text)):
        to_onnx_node(OnnxLayer([recurra.Recurrent(cell, I, H)]))


def test_feeds_and_layout_out_of_range_are_refused() -> None:
    layer = recurrent(cells.GRU())
    with pytest.raises(
        ArgumentError,
        match=(
            "feeds must be one of 'initial_c', 'initial_h', 'sequence_lens', got 'initial_H';"
            " did you"
        ),
    ):
        to_onnx_node(layer, feeds=["initial_H"])
    with pytest.raises(
        ArgumentError,
        match="feeds of GRU must be one of 'initial_h', 'sequence_lens', got 'initial_c'",
    ):
        to_onnx_node(layer, feeds=["initial_c"])
    with pytest.raises(ArgumentError, match="layout must be 0 or 1, got 2"):
        to_onnx_node(layer, layout=2)


def test_without_the_onnx_package_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingDependency,
        match="to_onnx_node needs the onnx package; install it with: pip install onnx",
    ):
        to_onnx_node(recurrent(cells.GRU()))
