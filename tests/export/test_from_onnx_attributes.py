"""Attributes and inputs of ONNX nodes: what changes the numbers is carried out, or refused by name;
nothing is passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.errors import ConversionError
from recurra.export import network_of
from tests.export.onnx_files import X, agrees, node, written
from tests.network.nets import numbers

H = 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(path: Path, op: str, inputs: str, **attributes: Any) -> Path:
    """A node over time; "h", "c" and "n" are constants: first states, alike for both rows, and
    lengths.
    """
    gates = GATES[op]
    shapes = {
        "w": (1, gates * H, 3),
        "r": (1, gates * H, H),
        "b": (1, 2 * gates * H),
        "p": (1, 3 * H),
    }
    constants: dict[str, Any] = {
        name: numbers(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())
    }
    constants |= {
        name: numbers(1, 1, H, seed=seed).repeat(2, 1) for seed, name in enumerate("hc")
    } | {"n": np.array([7, 3], np.int32)}
    used = {name: constants[name] for name in inputs.split() if name in constants} | {
        "one": np.array([1])
    }
    nodes = [node(op, inputs, "Y", hidden_size=H, **attributes), node("Squeeze", "Y one", "y")]
    return written(path, nodes, used, ("t", 2, 3))


TAKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "clip": ("LSTM", "x w r b", {"clip": 0.3}),
    "input_forget": ("LSTM", "x w r b", {"input_forget": 1}),
    "peepholes": ("LSTM", "x w r b - - - p", {}),
    "peepholes, clip": ("LSTM", "x w r b - - - p", {"clip": 0.4}),
    "peepholes, input_forget": ("LSTM", "x w r - - - - p", {"input_forget": 1}),
    "activations": (
        "LSTM",
        "x w r b",
        {
            "activations": ["HardSigmoid", "Tanh", "Softsign"],
            "activation_alpha": [0.25],
            "activation_beta": [0.4],
        },
    ),
    "gru clip": ("GRU", "x w r b", {"clip": 0.3}),
    "gru clip after": ("GRU", "x w r b", {"clip": 0.3, "linear_before_reset": 1}),
    "gru activations": ("GRU", "x w r b", {"activations": ["HardSigmoid", "Relu"]}),
    "rnn clip": ("RNN", "x w r b", {"clip": 0.3}),
    "rnn alpha": ("RNN", "x w r b", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
    "rnn alpha and beta": (
        "RNN",
        "x w r b",
        {"activations": ["ScaledTanh"], "activation_alpha": [0.3], "activation_beta": [1.7]},
    ),
    "first h": ("GRU", "x w r b - h", {}),
    "first h and c": ("LSTM", "x w r b - h c", {}),
    "first c": ("LSTM", "x w r b - - c", {}),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_changes_the_numbers_is_carried_out(what: str, tmp_path: Path) -> None:
    op, inputs, attributes = TAKEN[what]
    agrees(recurrent(tmp_path / "m.onnx", op, inputs, **attributes), X)


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "reverse": (
        "GRU",
        "x w r",
        {"direction": "reverse"},
        "GRU of Y must run forward only to stream, got direction='reverse': it needs .*",
    ),
    "lengths": (
        "LSTM",
        "x w r b n",
        {},
        (
            "LSTM of Y must run every row to its end, got sequence_lens; export the model without"
            " lengths"
        ),
    ),
    "layout": (
        "GRU",
        "x w r",
        {"layout": 1},
        r"Squeeze of y must take away axes of one only, got \(B, T, 1, C\)",
    ),
    "unknown": (
        "GRU",
        "x w r",
        {"activations": ["Mish", "Tanh"]},
        "activations must be one of .*, got 'Mish'.*",
    ),
    "of another operator": (
        "RNN",
        "x w r",
        {"input_forget": 1},
        "attribute of RNN must be one of .*, got 'input_forget'.*",
    ),
    "alpha too many": (
        "RNN",
        "x w r",
        {"activation_alpha": [0.5]},
        "activation_alpha must have one value for each activation that .*",
    ),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_stream_or_is_not_known_is_refused(
    what: str, check: bool, tmp_path: Path
) -> None:
    op, inputs, attributes, text = REFUSED[what]
    with pytest.raises(ConversionError, match=f"^{text}$"):
        network_of(recurrent(tmp_path / "m.onnx", op, inputs, **attributes), check=check)


LINEAR = node("MatMul", "x w", "p")
NODES: dict[str, list[Any]] = {
    "features cut": [LINEAR, node("Slice", "p zero two last", "y")],
    "steps cut": [LINEAR, node("Slice", "p zero minus nought", "y")],
    "every other step": [LINEAR, node("Slice", "p zero end nought two", "y")],
    "one step": [LINEAR, node("Gather", "p index", "y", axis=0)],
    "rows cut": [LINEAR, node("Slice", "p zero two first", "y")],
    "reversed": [LINEAR, node("Slice", "p minus start nought minus", "y")],
    "scaled": [LINEAR, node("Mul", "p two", "y")],
    "clamped": [LINEAR, node("Clip", "p low high", "y")],
    "normed over rows": [LINEAR, node("LayerNormalization", "p gain", "y", axis=1)],
    "softmax": [LINEAR, node("Softmax", "p", "y", axis=-1)],
    "turned": [node("Gemm", "x w", "y", transA=1)],
    "leaky": [LINEAR, node("LeakyRelu", "p", "y", alpha=0.1)],
    "drawn": [LINEAR, node("Dropout", "p ratio on", "y")],
    "batch norm": [LINEAR, node("BatchNormalization", "p gain gain gain gain", "y")],
    "summed over time": [LINEAR, node("CumSum", "p axis", "y")],
    "pooled": [LINEAR, node("ReduceMean", "p", "y", axes=[0], keepdims=1)],
    "a bias for each step": [LINEAR, node("Add", "p steps", "y")],
    "a bias for each row": [LINEAR, node("Add", "p rows", "y")],
}
CONSTANTS: dict[str, Any] = {
    "w": numbers(3, 4),
    "gain": numbers(4),
    "steps": numbers(5, 1, 4),
    "rows": numbers(2, 4),
    "zero": np.array([0]),
    "two": np.array([2]),
    "last": np.array([2]),
    "first": np.array([1]),
    "nought": np.array([0]),
    "minus": np.array([-1]),
    "end": np.array([2**31 - 1]),
    "start": np.array([-(2**31)]),
    "index": np.array(0),
    "axis": np.array(0),
    "low": np.float32(-1),
    "high": np.float32(1),
    "ratio": np.float32(0.5),
    "on": np.array(True),
}


@pytest.mark.parametrize("what", NODES)
def test_nodes_that_do_something_else_are_refused_without_being_run(
    what: str, tmp_path: Path
) -> None:
    constants = CONSTANTS | ({"two": np.float32(2)} if what == "scaled" else {})
    names = {name for each in NODES[what] for name in each.input}
    path = written(
        tmp_path / "m.onnx",
        NODES[what],
        {name: constants[name] for name in names & constants.keys()},
    )
    with pytest.raises(ConversionError):
        network_of(path, check=False)


def test_a_default_that_is_spelt_out_is_the_default(tmp_path: Path) -> None:
    spelt = recurrent(
        tmp_path / "m.onnx",
        "LSTM",
        "x w r b",
        direction="forward",
        layout=0,
        activations=["Sigmoid", "Tanh", "Tanh"],
    )
    one, other = (
        network_of(path) for path in (spelt, recurrent(tmp_path / "n.onnx", "LSTM", "x w r b"))
    )
    assert one.layers[0].program == other.layers[0].program  # type: ignore[union-attr]
