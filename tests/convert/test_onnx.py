"""Nodes of every kind against ONNX's printed equations (float64) and ONNX Runtime (float32)."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from recurra import cells
from recurra.convert import from_onnx_node, to_onnx_node
from recurra.convert.onnx_cells import (
    FUNCTIONS,
    TAKES_ALPHA,
    TAKES_BETA,
    Activation,
    OnnxGRU,
    OnnxLSTM,
    OnnxRNN,
)
from recurra.errors import ArgumentError, ConversionError, MissingDependency
from tests.convert.onnx_equations import Array, run_printed, run_runtime

ROLES = {"RNN": 6, "GRU": 6, "LSTM": 8}
NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
T, B, I, H = 6, 4, 3, 5
TWO = {"direction": "bidirectional"}


def make(
    op: str, attributes: dict[str, Any], absent: tuple[str, ...] = (), lengths: Any = (6, 0, 1, 4)
) -> tuple[Any, dict[str, Array]]:
    """A node with random inputs in float32."""
    rng = np.random.default_rng(len(op) + len(attributes))
    D, G = (
        2 if attributes.get("direction") == "bidirectional" else 1,
        {"RNN": 1, "LSTM": 4, "GRU": 3}[op],
    )
    shapes = {
        "X": (T, B, I),
        "W": (D, G * H, I),
        "R": (D, G * H, H),
        "B": (D, 2 * G * H),
        "initial_h": (D, B, H),
        "initial_c": (D, B, H),
        "P": (D, 3 * H),
    }
    inputs = {
        name: 0.6 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    inputs["X"] *= 3
    inputs["sequence_lens"] = np.array(lengths, np.int32)
    roles = [name if name not in absent else "" for name in NAMES[: ROLES[op]]]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, roles, outputs, hidden_size=H, **attributes)
    return node, {name: inputs[name] for name in roles if name}


def outputs_of(layer: Any, x: Array) -> list[Array]:
    """A layer's output and states as the node's Y, Y_h and Y_c."""
    with torch.no_grad():
        y, state = layer(torch.from_numpy(x))
    D = len(layer.directions)
    states = state if isinstance(state, tuple) else (state,)
    return [y.unflatten(-1, (D, -1)).transpose(1, 2).numpy(), *(value.numpy() for value in states)]


def check(op: str, attributes: dict[str, Any], absent: tuple[str, ...] = ()) -> Any:
    """Hold a node's layer to the printed equations and to ONNX Runtime; return the layer."""
    node, inputs = make(op, attributes, absent)
    layer = from_onnx_node(node, {name: value for name, value in inputs.items() if name != "X"})
    some = inputs.get("sequence_lens", np.full(B, T)) > 0
    ours = outputs_of(layer, inputs["X"])
    for mine, theirs in zip(ours, run_runtime(node, inputs), strict=True):
        assert mine.shape == theirs.shape
        at = (
            mine[..., some, :],
            theirs[..., some, :],
        )  # ONNX Runtime returns 0 for a row of length 0
        assert np.abs(at[0] - at[1]).max() <= 4e-6 * max(1.0, np.abs(theirs).max())
    for mine, wanted in zip(
        outputs_of(layer.double(), inputs["X"].astype(np.float64)),
        run_printed(op, inputs, attributes),
        strict=True,
    ):
        assert np.abs(mine - wanted).max() <= 1e-12 * max(1.0, np.abs(wanted).max())
    return layer


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("op", "attributes", "absent", "cell"),
    [
        ("RNN", {}, (), cells.Elman()),
        ("LSTM", {}, ("P",), cells.LSTM()),
        ("LSTM", {}, (), cells.PeepholeLSTM()),
        ("GRU", {"linear_before_reset": 1}, (), cells.GRU()),
        ("GRU", {}, (), cells.ResetBeforeGRU()),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, cells.Cell)) else "",
)
def test_standard_nodes_are_built_in_cells(
    op: str, attributes: dict[str, Any], absent: tuple[str, ...], cell: Any, direction: str
) -> None:
    layer = check(op, {**attributes, "direction": direction}, absent)
    assert [one.cell for one in layer.directions] == [cell] * (1 + (direction == "bidirectional"))


@pytest.mark.parametrize(
    "absent", [("B",), ("sequence_lens",), ("initial_h", "initial_c"), ("initial_c",)], ids="-".join
)
@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_absent_inputs_are_zero_or_whole(op: str, absent: tuple[str, ...]) -> None:
    layer = check(op, TWO, absent)
    assert layer.directions[0].biases == (0 if "B" in absent else 2)


@pytest.mark.parametrize(
    ("op", "attributes", "cell"),
    [
        ("RNN", {"activations": ["Relu"], "clip": 0.5}, OnnxRNN(Activation("Relu"), 0.5)),
        ("LSTM", {"clip": 0.5}, OnnxLSTM(clip=0.5, peepholes=True)),
        ("LSTM", {"input_forget": 1}, OnnxLSTM(input_forget=True, peepholes=True)),
        (
            "LSTM",
            {"input_forget": 1, "clip": 0.25},
            OnnxLSTM(input_forget=True, clip=0.25, peepholes=True),
        ),
        ("GRU", {"clip": 0.5}, OnnxGRU(clip=0.5)),
        (
            "GRU",
            {"clip": 0.5, "linear_before_reset": 1},
            OnnxGRU(clip=0.5, linear_before_reset=True),
        ),
    ],
    ids=str,
)
def test_clip_and_input_forget_are_exact(op: str, attributes: dict[str, Any], cell: Any) -> None:
    assert check(op, attributes).directions[0].cell == cell


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_activation_is_exact_in_every_operator(name: str) -> None:
    alphas = [0.5, 0.75] if name in TAKES_ALPHA else []
    betas = [0.25, 0.5] if name in TAKES_BETA else []
    check("RNN", {**TWO, "activations": [name, name], **constants(alphas, betas)})
    check("GRU", {"activations": ["Sigmoid", name], **constants(alphas[:1], betas[:1])})
    check(
        "GRU",
        {
            "activations": ["HardSigmoid", name],
            "linear_before_reset": 1,
            **constants([0.3, *alphas[:1]], [0.4, *betas[:1]]),
        },
    )
    check("LSTM", {"activations": ["Sigmoid", name, name], **constants(alphas, betas)})


def constants(alphas: list[float], betas: list[float]) -> dict[str, list[float]]:
    """The attributes, left out where empty."""
    return {
        name: values
        for name, values in (("activation_alpha", alphas), ("activation_beta", betas))
        if values
    }


@pytest.mark.parametrize("name", ["LeakyRelu", "HardSigmoid", "Elu"])
def test_default_constants_are_onnxs(name: str) -> None:
    check("RNN", {"activations": [name]})


def test_the_default_threshold_is_onnxs_and_not_the_runtimes() -> None:
    attributes = {"activations": ["ThresholdedRelu"]}
    node, inputs = make("RNN", attributes)  # ONNX Runtime takes 0 where ONNX says 1
    layer = from_onnx_node(node, inputs).double()
    for mine, wanted in zip(
        outputs_of(layer, inputs["X"].astype(np.float64)), run_printed("RNN", inputs, attributes)
    ):
        assert np.abs(mine - wanted).max() <= 1e-12 * np.abs(wanted).max()


def test_a_plain_relu_is_an_elman_cell() -> None:
    assert check("RNN", {"activations": ["Relu"]}).directions[0].cell == cells.Elman("relu")


def test_directions_may_have_their_own_activations() -> None:
    attributes = {
        **TWO,
        "activations": ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "ScaledTanh", "Softsign"],
        "activation_alpha": [0.25, 1.5],
        "activation_beta": [0.4, 0.5],
    }
    layer = check("LSTM", attributes)
    assert layer.directions[0].cell == cells.PeepholeLSTM()
    assert layer.directions[1].cell.g == Activation("ScaledTanh", 1.5, 0.5)
    assert [
        one.cell for one in check("RNN", {**TWO, "activations": ["Relu", "Tanh"]}).directions
    ] == [cells.Elman("relu"), cells.Elman()]


def test_names_of_activations_in_any_case_and_the_schemas_own_default() -> None:
    node, inputs = make("RNN", {"activations": ["TANH", "tanh"]})
    assert from_onnx_node(node, inputs).directions[0].cell == cells.Elman()


def test_constants_stop_where_the_list_ends() -> None:
    node, inputs = make(
        "LSTM", {"activations": ["HardSigmoid", "LeakyRelu", "Elu"], "activation_alpha": [0.125]}
    )
    cell = from_onnx_node(node, inputs).directions[0].cell
    assert (cell.f.alpha, cell.f.beta, cell.g.alpha, cell.h.alpha) == (
        0.125,
        0.5,
        float(np.float32(0.01)),
        1.0,
    )


def test_layout_1_turns_the_first_state() -> None:
    node, inputs = make("LSTM", {})
    turned, _ = make("LSTM", {"layout": 1})
    swapped = {
        name: value.swapaxes(0, 1) if name.startswith("initial") else value
        for name, value in inputs.items()
    }
    layers = from_onnx_node(node, inputs), from_onnx_node(turned, swapped)
    for left, right in zip(*(outputs_of(layer, inputs["X"]) for layer in layers), strict=True):
        assert np.array_equal(left, right)


def test_initializers_may_be_a_graphs_own() -> None:
    node, inputs = make("GRU", {})
    protos = [numpy_helper.from_array(value, name) for name, value in inputs.items()]
    for left, right in zip(
        *(outputs_of(from_onnx_node(node, given), inputs["X"]) for given in (inputs, protos)),
        strict=True,
    ):
        assert np.array_equal(left, right)


def test_arrays_are_copied() -> None:
    node, inputs = make("LSTM", {})
    layer = from_onnx_node(node, inputs)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for value in inputs.values():
        value[...] = 0
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        (
            "LSTM",
            {"linear_before_reset": 1},
            "attribute of LSTM must be one of 'activation_alpha', ",
        ),
        ("GRU", {"input_forget": 1}, "got 'input_forget'"),
        (
            "RNN",
            {"direction": "backward"},
            "direction must be one of 'bidirectional', 'forward', 'reverse', got 'backward'",
        ),
        ("RNN", {"clip": -1.0}, "clip must be positive, got -1.0; leave it out for no clip"),
        ("RNN", {"layout": 2}, "layout must be 0 or 1, got 2"),
        ("LSTM", {"input_forget": 2}, "input_forget must be 0 or 1, got 2"),
        ("GRU", {"linear_before_reset": -1}, "linear_before_reset must be 0 or 1, got -1"),
        (
            "RNN",
            {"activations": ["Gelu"]},
            "activations must be one of 'Affine', 'Elu', 'HardSigmoid', ",
        ),
        ("GRU", {"activations": ["Sigmoid"]}, "activations of GRU must be 2, got 1: Sigmoid"),
        (
            "RNN",
            {"activations": ["Relu", "Tanh"]},
            "activations of RNN must be 1, got 2: Relu, Tanh",
        ),
        (
            "RNN",
            {**TWO, "activations": ["Relu"]},
            "activations of RNN must be 1 for each of 2, got 1: Relu",
        ),
        (
            "RNN",
            {"activations": ["Affine"]},
            "activation_alpha must be given for Affine, which has no default, got none",
        ),
        (
            "RNN",
            {"activations": ["ScaledTanh"], "activation_alpha": [1.0]},
            "activation_beta must be given for ScaledTanh",
        ),
        (
            "GRU",
            {"activation_alpha": [0.5]},
            "activation_alpha must have one value for each activation that takes one, got 1 more",
        ),
        (
            "RNN",
            {"activations": ["Elu"], "activation_beta": [0.5, 1.0]},
            (
                "activation_beta must have one value for each activation that "
                "takes one, got 2 more for Elu"
            ),
        ),
    ],
)
def test_attributes_that_cannot_be_taken_are_refused(
    op: str, attributes: dict[str, Any], message: str
) -> None:
    node, inputs = make(op, attributes)
    with pytest.raises(ConversionError, match=re.escape(message)):
        from_onnx_node(node, inputs)


def test_other_operators_are_refused() -> None:
    with pytest.raises(
        ConversionError, match="op_type must be one of 'GRU', 'LSTM', 'RNN', got 'Gemm'"
    ):
        from_onnx_node(helper.make_node("Gemm", ["X"], ["Y"]), {})
    with pytest.raises(
        ConversionError, match=r"op_type must be one of .*, got 'com.microsoft.LSTM'"
    ):
        from_onnx_node(helper.make_node("LSTM", ["X"], ["Y"], domain="com.microsoft"), {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("W", None, "W must be an initializer, got 'W', which is none"),
        ("P", None, "P must be an initializer, got 'P', which is none"),
        (
            "W",
            np.zeros((2, 20, 3), np.float32),
            "W must have shape (1, 20, I) for direction 'forward', got (2, 20, 3)",
        ),
        (
            "R",
            np.zeros((1, 15, 5), np.float32),
            "R must have shape (1, 20, 5) for direction 'forward', got (1, 15, 5)",
        ),
        ("R", np.zeros((1, 16, 4), np.float32), "hidden_size must be 4, as R has it, got 5"),
        (
            "B",
            np.zeros((1, 20), np.float32),
            "B must have shape (1, 40) for direction 'forward', got (1, 20)",
        ),
        (
            "P",
            np.zeros((1, 20), np.float32),
            "P must have shape (1, 15) for direction 'forward', got (1, 20)",
        ),
        (
            "initial_h",
            np.zeros((4, 1, 5), np.float32),
            "initial_h must have shape (1, B, 5) for direction 'forward', got (4, 1, 5)",
        ),
        (
            "sequence_lens",
            np.zeros((1, 4), np.int32),
            "sequence_lens must have shape (B,) for direction 'forward', got (1, 4)",
        ),
        (
            "sequence_lens",
            np.zeros(4, np.float32),
            "sequence_lens must be int32 or int64, got float32",
        ),
        ("B", np.zeros((1, 40), np.int32), "B must be float16 or float32 or float64, got int32"),
        (
            "P",
            np.zeros((1, 15), np.float64),
            "P must have the dtype of W, torch.float32, got torch.float64",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, value: Array | None, message: str) -> None:
    node, inputs = make("LSTM", {})
    given = {key: array for key, array in inputs.items() if key != name} | (
        {} if value is None else {name: value}
    )
    with pytest.raises(ConversionError, match=re.escape(message)):
        from_onnx_node(node, given)


FED = ("sequence_lens", "initial_h", "initial_c")


@pytest.mark.parametrize("attributes", [{}, TWO, {"direction": "reverse"}], ids=str)
@pytest.mark.parametrize("op", ROLES)
def test_what_a_graph_feeds_is_given_at_the_call(op: str, attributes: dict[str, Any]) -> None:
    node, inputs = make(op, attributes, lengths=(6, 2, 1, 4))
    fed = [name for name in FED if name in inputs]
    layer = from_onnx_node(
        node, {name: value for name, value in inputs.items() if name not in ("X", *fed)}
    )
    states = tuple(torch.from_numpy(inputs[name]) for name in fed[1:])
    x, lengths = torch.from_numpy(inputs["X"]), torch.from_numpy(inputs["sequence_lens"])
    with torch.no_grad():
        y, after = layer(x, states if len(states) > 1 else states[0], lengths=lengths)
    ours = [
        y.unflatten(-1, (len(layer.directions), -1)).transpose(1, 2),
        *(after if isinstance(after, tuple) else (after,)),
    ]
    for mine, theirs in zip(ours, run_runtime(node, inputs), strict=True):
        assert np.abs(mine.numpy() - theirs).max() <= 4e-6 * max(1.0, np.abs(theirs).max())
    names = "h (D, B, H), c (D, B, H)" if op == "LSTM" else "h (D, B, H)"
    text = (
        f"state must be given, {names}, as the node reads {' and '.join(fed[1:])} from its graph's"
        " inputs, got none"
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        layer(x, lengths=lengths)
    with pytest.raises(
        ArgumentError,
        match=(
            r"^lengths must be given, \(B,\), as the node reads sequence_lens from its graph's"
            r" inputs, got none$"
        ),
    ):
        layer(x, states if len(states) > 1 else states[0])
    assert list(to_onnx_node(layer)[0].input) == list(node.input)
    assert layer.streaming_obstacle() is not None


def test_a_node_that_is_fed_its_state_streams_from_it() -> None:
    node, inputs = make("GRU", {}, absent=("sequence_lens",))
    layer = from_onnx_node(
        node, {name: value for name, value in inputs.items() if name not in ("X", "initial_h")}
    )
    x, state = torch.from_numpy(inputs["X"]), torch.from_numpy(inputs["initial_h"])
    with torch.no_grad():
        whole = layer(x, state)[0]
        for t in range(T):
            y, state = layer.step(x[t], state)
            assert (y - whole[t]).abs().max() < 1e-6
    with pytest.raises(ArgumentError, match="^state must be given, h "):
        layer.step(x[0])


def test_a_node_without_recurrent_weights_is_refused() -> None:
    with pytest.raises(ConversionError, match="R must be given, got a node without it"):
        from_onnx_node(
            helper.make_node("RNN", ["X", "W"], ["Y"]), {"W": np.zeros((1, 4, 3), np.float32)}
        )


def test_without_the_onnx_package_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, inputs = make("RNN", {})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        MissingDependency,
        match="from_onnx_node needs the onnx package; install it with: pip install onnx",
    ):
        from_onnx_node(node, inputs)
