"""Convolutions in ONNX files that are given their past, as streams export them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import recurra
from recurra.errors import ConversionError
from recurra.export import network_of, to_onnx
from recurra.network import Activation, Conv, Embedding, Linear, Network, Residual
from tests.export.onnx_files import FLOAT, node
from tests.network.nets import held, matrix, numbers

X = numbers(6, 2, 3)


def cached(
    path: Path, nodes: list[Any], sizes: tuple[Any, ...] = ("b", 3, 4), back: tuple[Any, ...] = ()
) -> Path:
    """A graph of x (b, 3, t) and its past, and the past that it leaves, as `back` moves it."""
    described = onnx.helper.make_tensor_value_info
    inputs = [described("x", FLOAT, ("b", 3, "t")), described("past", FLOAT, sizes)]
    weights = {
        "w": numbers(5, 3, 3),
        "last": np.array([-4]),
        "end": np.array([2**31 - 1]),
        "two": np.array([2]),
        "spare": np.array([0, 3, 4]),
        "flat": np.array([0, 12]),
    }
    arrays = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    outputs = [described(name, FLOAT, None) for name in ("y", "after")]
    last = [
        node("Slice", "seen last end two", "left"),
        *(back or [node("Identity", "left", "after")]),
    ]
    graph = onnx.helper.make_graph([*nodes, *last], "g", inputs, outputs, arrays)
    onnx.save(
        onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
        ),
        path,
    )
    return path


JOINED = node("Concat", "past x", "seen", axis=2)
CONV = node("Conv", "seen w", "y", dilations=[2])


@pytest.mark.parametrize("axis", [2, -1])
def test_a_past_that_is_put_before_the_input_is_the_state(axis: int, tmp_path: Path) -> None:
    path = cached(tmp_path / "m.onnx", [node("Concat", "past x", "seen", axis=axis), CONV])
    network = network_of(path)
    assert isinstance(network.layers[0], Conv) and network.layers[0].past == 4
    held(network, X, recurra.runtime.Model(network).session(2).push(X))


@pytest.mark.parametrize(
    ("moved", "sizes", "back"),
    [
        (
            node("Transpose", "past", "p", perm=[1, 2, 0]),
            (4, "b", 3),
            node("Transpose", "left", "after", perm=[2, 0, 1]),
        ),
        (node("Reshape", "past spare", "p"), ("b", 12), node("Reshape", "left flat", "after")),
    ],
    ids=["transposed", "reshaped"],
)
def test_a_past_whose_axes_are_moved_first(
    moved: Any, sizes: tuple[Any, ...], back: Any, tmp_path: Path
) -> None:
    network = network_of(
        cached(
            tmp_path / "m.onnx",
            [moved, node("Concat", "p x", "seen", axis=2), CONV],
            sizes,
            (back,),
        )
    )
    held(network, X, recurra.runtime.Model(network).session(2).push(X))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_recurra_exports_comes_back(precision: str, tmp_path: Path) -> None:
    inner = (Conv(matrix(4, 2 * 2), numbers(4), 4, 2, groups=2), Activation("gelu", 4))
    network = Network(
        (Conv(matrix(4, 9), None, 3, 3, 2), Residual(inner), Linear(matrix(2, 4)))
    ).quantised(precision)
    to_onnx(network, tmp_path / "m.onnx", kind="sequence")
    back = network_of(tmp_path / "m.onnx")
    assert [type(layer).__name__ for layer in back.layers] == ["Conv", "Residual", "Linear"]
    held(network, X, recurra.runtime.Model(back).session(2).push(X))


FIRST = "past must be the input or a first state, got "
REFUSED: dict[str, tuple[list[Any], tuple[Any, ...], str]] = {
    "of any length": (
        [JOINED, CONV],
        ("b", 3, "p"),
        "past must say how many steps it holds to be the past of Concat of seen, got axes .*",
    ),
    "too short": (
        [JOINED, CONV],
        ("b", 3, 3),
        "Conv of y must give as many steps as it takes, got a Conv1d after 3 zeros; .*",
    ),
    "after": (
        [node("Concat", "x past", "seen", axis=2), CONV],
        ("b", 3, 4),
        f"{FIRST}Concat of it at Concat of seen",
    ),
    "beside": (
        [node("Concat", "past x", "seen", axis=1), CONV],
        ("b", 4, "t"),
        "Conv of y must read .*",
    ),
    "changed": (
        [node("Tanh", "past", "p"), node("Concat", "p x", "seen", axis=2), CONV],
        ("b", 3, 4),
        f"{FIRST}Tanh of it .*",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_past_is_refused(what: str, tmp_path: Path) -> None:
    nodes, sizes, text = REFUSED[what]
    with pytest.raises(ConversionError, match=f"^{text}$"):
        network_of(cached(tmp_path / "m.onnx", nodes, sizes), output="y")


def test_the_graph_of_one_step_is_refused(tmp_path: Path) -> None:
    to_onnx(Network((Conv(matrix(4, 9), None, 3, 3),)), tmp_path / "m.onnx")
    text = (
        r"^Concat_\d must come before a sequence, got the graph of one step of a Conv; give that of"
        r" a sequence$"
    )
    with pytest.raises(ConversionError, match=text):
        network_of(tmp_path / "m.onnx")


def test_a_table_of_int8_is_refused(tmp_path: Path) -> None:
    to_onnx(
        Network((Embedding(matrix(5, 3)),)).quantised("int8"), tmp_path / "m.onnx", kind="sequence"
    )
    with pytest.raises(
        ConversionError,
        match=(
            r"^Gather_\d must read a table of floats, got int8; give the file with float32 weights$"
        ),
    ):
        network_of(tmp_path / "m.onnx")
