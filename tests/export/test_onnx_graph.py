"""Both ONNX graphs give what the loop gives, for every cell, layer, precision and length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra import cells
from recurra.errors import ArgumentError, ConversionError, MissingDependency, RunError
from recurra.export import initial_states, onnx_graph, to_onnx
from recurra.network import (
    ACTIVATIONS,
    Activation,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Matrix,
    Network,
    Recurrent,
    Residual,
)
from tests.export.kinds import CELLS, LAYERS, OWN, PRINTED, WIDTH, net
from tests.export.onnx_runs import (
    drawn,
    every_way,
    held,
    in_parts,
    looped,
    operators,
    session,
    step_by_step,
    whole,
)
from tests.network.nets import PRECISIONS, every_kind, matrix, numbers, recurrent


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_equals_the_loop(name: str, biases: int) -> None:
    network = net(recurrent(CELLS[name], 4, 5, biases=biases, seed=2))
    every_way(network, drawn(network, 9, 3))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("name", CELLS)
def test_every_length_and_batch(name: str, steps: int, batch: int) -> None:
    network = net(
        recurrent(CELLS[name], 3, 7, learned=False),
        Linear(matrix(2, 3 if name == "projected" else 7)),
    )
    every_way(network, drawn(network, steps, batch))


@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_equals_the_loop(name: str, steps: int) -> None:
    network = net(LAYERS[name]())
    every_way(network, drawn(network, steps, 3) * 2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_all_of_it_in_every_precision(precision: str, batch: int) -> None:
    network = every_kind().quantised(precision)
    for steps in (1, 2, 17):
        every_way(network, drawn(network, steps, batch))


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_in_other_precisions(name: str, precision: str) -> None:
    network = net(recurrent(CELLS[name], 4, 5, seed=2)).quantised(precision)
    every_way(network, drawn(network, 6, 2))


def test_rows_of_int8_that_cannot_turn_their_sign() -> None:
    layer = recurrent(cells.ResetBeforeGRU(), 3, 4)
    lowest = {
        name: Matrix(np.full(m.shape, -128, np.int8), np.full(m.shape[0], 0.002, np.float32))
        for name, m in layer.matrices.items()
    }
    network = net(Recurrent(layer.program, lowest, layer.vectors))
    every_way(network, drawn(network, 5, 2))


def test_a_norm_far_from_zero() -> None:
    network = net(LayerNorm(WIDTH))
    x = drawn(network, 4, 2) + np.float32(3000)
    every_way(network, x)
    np.testing.assert_allclose(whole(network, x)[0], looped(network, x, "float64")[0], atol=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_small_pieces_of_any_size_equal_the_whole(precision: str) -> None:
    network = every_kind().quantised(precision)
    x = drawn(network, 13, 2)
    for size in (1, 4, 12):
        held(network, x, in_parts(network, x, size))


@pytest.mark.parametrize("name", OWN)
def test_cells_that_onnx_knows_are_its_operators(name: str) -> None:
    cell, wanted = OWN[name]
    network = net(recurrent(cell, 3, 4))
    for kind in ("step", "sequence"):
        found = operators(to_onnx(network, kind=kind).graph)
        assert wanted in found and "Scan" not in found


@pytest.mark.parametrize("name", PRINTED)
def test_other_cells_are_a_scan_and_never_unrolled(name: str) -> None:
    network = net(recurrent(PRINTED[name], 3, 4))
    sequence, step = (to_onnx(network, kind=kind).graph for kind in ("sequence", "step"))
    assert operators(sequence).count("Scan") == 1 and "Scan" not in operators(step)
    body = next(node for node in sequence.node if node.op_type == "Scan").attribute[0].g
    assert len(body.node) < len(step.node) + 5
    assert [node.op_type for node in body.node if node.op_type == "Scan"] == []


def test_what_is_shared_is_written_once() -> None:
    network = every_kind()
    for precision in PRECISIONS:
        model = to_onnx(network.quantised(precision))
        assert [list(array.dims) for array in model.graph.initializer].count([11, 6]) == 1
        assert len({array.name for array in model.graph.initializer}) == len(
            model.graph.initializer
        )
    layer = recurrent(cells.LSTM(), 4, 4)
    twice = to_onnx(net(layer, layer), kind="sequence")
    assert [list(array.dims) for array in twice.graph.initializer].count([16, 4]) == 2


def test_quantised_weights_stay_as_small_as_they_are() -> None:
    layers = (
        Embedding(matrix(300, 64)),
        recurrent(cells.LSTM(), 64, 64),
        recurrent(cells.MinGRU(), 64, 64),
        Linear(matrix(300, 64)),
    )
    sizes = [
        len(to_onnx(Network(layers).quantised(precision)).SerializeToString())
        for precision in PRECISIONS
    ]
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.35 * sizes[0]


def test_names_shapes_and_metadata() -> None:
    network = every_kind()
    model = to_onnx(network, kind="sequence")
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes["x"] == ["time", "batch"] and shapes["y"] == ["time", "batch", 11]
    assert shapes["state_2_0_h"] == shapes["state_2_0_h_out"] == ["batch", 6] and shapes[
        "state_3_past"
    ] == ["batch", 24]
    record = json.loads({prop.key: prop.value for prop in model.metadata_props}["recurra"])
    assert record["kind"] == "sequence" and record["opset"] == 17 and record["reads_tokens"]
    assert record["vocabulary"] == network.vocabulary and record["facts"] == network.facts
    assert [state["name"] for state in record["states"]] == [spec.name for spec in network.states]
    for state, spec in zip(record["states"], network.states):
        np.testing.assert_array_equal(np.float32(state["first"]), spec.first)
        assert state["output"] == state["input"] + "_out" and state["width"] == spec.width
    features = to_onnx(net(recurrent(cells.GRU(), 3, 4)))
    assert [
        dim.dim_param or dim.dim_value for dim in features.graph.input[0].type.tensor_type.shape.dim
    ] == ["batch", 3]


def test_learned_states_are_what_a_row_begins_with() -> None:
    network = net(recurrent(cells.LSTM(), 3, 4, learned=True))
    first = initial_states(network, batch=2)
    assert list(first) == ["state_0_h", "state_0_c"] and first["state_0_h"].shape == (2, 4)
    np.testing.assert_array_equal(first["state_0_c"][1], network.states[1].first)
    assert np.abs(first["state_0_h"]).min() > 0


def test_a_file_is_the_model(tmp_path: Path) -> None:
    network = every_kind()
    model = to_onnx(network, tmp_path / "net.onnx", kind="step")
    assert onnx.load(tmp_path / "net.onnx") == model
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = net(Linear(matrix(3, 2)))
    with pytest.raises(
        ArgumentError,
        match="kind must be one of 'sequence', 'step', got 'steps'; did you mean 'step'?",
    ):
        to_onnx(network, kind="steps")
    with pytest.raises(ArgumentError, match="batch must be a positive whole number, got 0"):
        initial_states(network, batch=0)
    with pytest.raises(RunError, match="path must be a file that can be written"):
        to_onnx(network, tmp_path / "no" / "net.onnx")
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 23)
    with pytest.raises(
        ConversionError,
        match="network must take less than 23 bytes as one ONNX file, got 24; quantise it",
    ):
        to_onnx(network)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(
        MissingDependency,
        match="recurra.export.to_onnx needs the onnx package; install it with: pip install onnx",
    ):
        to_onnx(network)


@st.composite
def stacks(draw: Any) -> Network:
    """A few layers of any kind, one after another."""
    width = draw(st.integers(1, 5))
    tokens = draw(st.booleans())
    layers: list[Layer] = [Embedding(matrix(7, width))] if tokens else []
    for seed in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from([*CELLS, "linear", "norm", "conv", "residual", *ACTIVATIONS]))
        after = draw(st.integers(1, 5))
        if kind == "projected":
            layer: Layer = recurrent(cells.ProjectedLSTM(after), width, after + 1, seed=seed)
        elif kind in CELLS and "norm" not in kind:
            layer = recurrent(
                CELLS[kind], width, after, draw(st.integers(0, 2)), draw(st.booleans()), seed
            )
        elif kind == "linear":
            layer = Linear(matrix(after, width, seed), numbers(after))
        elif kind == "conv":
            kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
            layer = Conv(
                matrix(after, kernel * width, seed), numbers(after), width, kernel, dilation
            )
        elif kind == "residual":
            layer = Residual(
                (
                    recurrent(cells.ResetBeforeGRU(), width, width, seed=seed),
                    Activation("gelu", width),
                )
            )
        else:
            layer = (
                Activation(kind, width)
                if kind in ACTIVATIONS
                else LayerNorm(width, numbers(width), numbers(width), eps=0.1)
            )
        layers.append(layer)
        width = layer.widths[1]
    return Network(tuple(layers)).quantised(draw(st.sampled_from(PRECISIONS)))


@settings(max_examples=40)
@given(stacks(), st.integers(1, 6), st.integers(1, 3))
def test_any_small_stack(network: Network, steps: int, batch: int) -> None:
    x = drawn(network, steps, batch)
    held(network, x, whole(network, x))
    held(network, x, in_parts(network, x, 2))
    held(network, x, step_by_step(network, x))


def test_one_session_takes_every_length_and_batch() -> None:
    network = every_kind()
    ready = session(to_onnx(network, kind="sequence"))
    for steps, batch in ((1, 1), (30, 2), (4, 5)):
        x = drawn(network, steps, batch)
        held(network, x, ready.run(None, {"x": x, **initial_states(network, batch)}))
