"""Nodes and tensors of strangers: whatever is wrong with them is one line that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from recurra.convert import from_onnx_node
from recurra.convert.onnx_reading import array_of, title, visiting
from recurra.errors import ConversionError
from recurra.export import network_of
from tests.export.onnx_files import node, written
from tests.network.nets import numbers

W = {"w": numbers(1, 12, 3), "r": numbers(1, 12, 4), "one": np.array([1])}
SQUEEZE = node("Squeeze", "Y one", "y")


@pytest.mark.parametrize(
    "error",
    [
        IndexError("no"),
        TypeError("no"),
        StopIteration("no"),
        RecursionError("no"),
        MemoryError("no"),
        ZeroDivisionError("no"),
    ],
)
def test_whatever_goes_wrong_names_the_node(error: Exception) -> None:
    text = r"^Relu of y must be as ONNX defines 'Relu', got one that cannot be read \(no\)$"
    with pytest.raises(ConversionError, match=text) as caught, visiting(node("Relu", "x", "y")):
        raise error
    assert caught.value.__cause__ is error


def test_an_error_of_our_own_stays_as_it_is() -> None:
    own = ConversionError("own")
    with pytest.raises(ConversionError) as caught, visiting(node("Relu", "x", "y")):
        raise own
    assert caught.value is own


def test_a_name_that_cannot_be_printed_is_quoted() -> None:
    assert title(helper.make_node("Relu", ["x"], ["y"], name="a\nb")) == r"'a\nb'"


GRU = "x w r"
SPOILT: dict[str, list[Any]] = {
    "GRU": [node("GRU", "x", "Y", hidden_size=4), SQUEEZE],
    "Squeeze": [node("GRU", GRU, "Y", hidden_size=4), node("Squeeze", "", "y")],
    "Transpose": [node("Transpose", "x", "c", perm=0.5), node("Tanh", "c", "y")],
    "Concat": [node("GRU", GRU, "Y", hidden_size=4), node("Concat", "h Y", "y")],
    "Gather": [node("Gather", "w", "g"), node("Add", "x g", "y")],
    "Unsqueeze": [node("Unsqueeze", "x", "u", axes=["a"]), node("Tanh", "u", "y")],
}


@pytest.mark.parametrize("op", SPOILT)
def test_a_node_that_lacks_what_it_needs_is_named(op: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", SPOILT[op], W, more={"h": (1, "b", 4)})
    with pytest.raises(
        ConversionError,
        match=rf"^{op} of \w+ must be as ONNX defines '{op}', got one that cannot be read \(.+\)$",
    ):
        network_of(path)


def test_a_node_given_alone_is_read_alike() -> None:
    attribute = helper.make_attribute("hidden_size", numpy_helper.from_array(np.ones(2), "v"))
    alone = helper.make_node("GRU", ["X", "w", "r"], ["Y"])
    alone.attribute.append(attribute)
    with pytest.raises(ConversionError) as caught:
        from_onnx_node(alone, W)
    assert len(str(caught.value).splitlines()) == 1 and "hidden_size" in str(caught.value)
    alone = helper.make_node("GRU", ["X", "w", "r"], ["Y"], activations=0.5)
    with pytest.raises(
        ConversionError,
        match="^GRU of Y must be as ONNX defines 'GRU', got one that cannot be read ",
    ):
        from_onnx_node(alone, W)
    broken = onnx.TensorProto(name="w", data_type=1, dims=[1, 12, 3], raw_data=b"abc")
    with pytest.raises(
        ConversionError,
        match=r"^W must hold as many numbers as its dims \[1, 12, 3\] say, got others ",
    ):
        from_onnx_node(helper.make_node("GRU", ["X", "w", "r"], ["Y"]), {**W, "w": broken})


def test_data_of_a_tensor_alone_lies_in_it() -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="/dev/zero")
    with pytest.raises(
        ConversionError, match="^'w' must be a tensor of real numbers, got data outside the file$"
    ):
        array_of(tensor)
