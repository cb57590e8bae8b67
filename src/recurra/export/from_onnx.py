"""From an ONNX file to a network: its graph, walked from the input to the output."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from recurra.errors import ConversionError, DataError
from recurra.export.from_onnx_check import compare
from recurra.export.from_onnx_formulas import Formula
from recurra.export.from_onnx_nodes import taken
from recurra.export.from_onnx_values import Given, Node, Sizes, Steady
from recurra.export.onnx_sheet import require_onnx
from recurra.export.torch_flow import ORDERS, Flow, Path, led
from recurra.export.torch_layers import Past
from recurra.network import Network


def from_onnx(
    path: str | PathLike[str], *, vocabulary: Mapping[str, Any] | None = None, facts: Mapping[str, Any] | None = None, check: bool = True,
) -> Network:  # fmt: skip
    """The network of an ONNX file; see `recurra.export.network_of`.

    Raises:
        DataError: there is no such file, or it is no ONNX model.
        ConversionError: a node cannot be taken; named, with the reason.
        MissingDependency: the onnx package is not installed, or to check the onnxruntime package.
    """
    onnx = require_onnx("network_of")
    model = _read(onnx, path)
    inputs = _inputs(model.graph)
    if not inputs or not model.graph.output:
        raise DataError(f"path must be an ONNX model with an input and an output, got {fspath(path)!r}")
    orders, widths = _orders(onnx, inputs[0])
    found: list[str] = []

    def walk(path: Path) -> Flow:
        flow, name = Walk(onnx, model, path).run()
        found.append(name)
        return flow

    way, flow = led(walk, orders, widths)
    network = Network(flow.layers, vocabulary, dict(facts or {}))
    if check:
        order = way.orders[0]
        compare(model, network, (order, flow.axes[order]), found[-1], axes_of(inputs[0]))
    return network


def _read(onnx: Any, path: str | PathLike[str]) -> Any:
    """The model, functions of its own written out."""
    import onnx.inliner

    try:
        size = FilePath(path).stat().st_size
        model = onnx.load(fspath(path))
        if not model.graph.node:
            raise DataError(f"path must be an ONNX model, got {fspath(path)!r}, {size:,} bytes without a node")
        return onnx.inliner.inline_local_functions(model)
    except OSError as error:
        raise DataError(f"path must be a file that can be read, got {fspath(path)!r} ({error.strerror or error})") from None
    except DataError:
        raise
    except Exception as error:  # the parser's own classes differ between versions
        line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise DataError(f"path must be an ONNX model, got {fspath(path)!r} ({line})") from None


def _inputs(graph: Any) -> list[Any]:
    """What is given at run time; old files list their weights among the inputs too."""
    weights = {each.name for each in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def axes_of(value: Any) -> list[int | None] | None:
    """The sizes that an input says it has, None for a free one; None where it says nothing."""
    kind = value.type.tensor_type
    return [dim.dim_value or None for dim in kind.shape.dim] if kind.HasField("shape") else None


def _orders(onnx: Any, value: Any) -> tuple[list[str], dict[str, int]]:
    """The orders in which a graph may take its input, and how wide it says it is in each."""
    kinds = onnx.TensorProto
    kind, shape = value.type.tensor_type.elem_type, axes_of(value)
    features = kind in (kinds.FLOAT, kinds.DOUBLE, kinds.FLOAT16, kinds.BFLOAT16)
    orders = [order for order in ORDERS if ("C" in order) == features and (shape is None or len(shape) == len(order))]
    if not orders:
        raise ConversionError(f"{value.name} must be features of 2 or 3 axes, or tokens of 1 or 2, got {len(shape or ())} axes")
    widths = {order: shape[order.index("C")] for order in orders if shape and "C" in order}
    return orders, {order: width for order, width in widths.items() if width}


class Walk:
    """Goes along a graph, node by node, as far as the first output at each step needs it.

    Args:
        onnx: the package.
        model: whose graph it is.
        path: what leads flows.
    """

    def __init__(self, onnx: Any, model: Any, path: Path) -> None:
        self.onnx, self.graph, self.path = onnx, model.graph, path
        self.opsets = {each.domain: each.version for each in model.opset_import}
        self.sizes = axes_of(_inputs(model.graph)[0])
        self.values: dict[str, Any] = {"": None}

    def run(self) -> tuple[Flow, str]:
        """The first output that has a value at each step, and its name; states are passed over.

        Raises:
            ConversionError: there is none, or a node before it cannot be taken.
        """
        first, *others = _inputs(self.graph)
        self.values |= {each.name: self.onnx.numpy_helper.to_array(each) for each in self.graph.initializer}
        self.values |= {each.name: Given(each.name, axes_of(each)) for each in others} | {first.name: self.path.begin()}
        for output in self.graph.output:
            for node in self._needed(output.name):
                self._node(node)
            done = self.values.get(output.name)
            if isinstance(done, Formula):
                raise done.unknown()
            if isinstance(done, Flow):
                return done, output.name
        raise ConversionError("module must give an output at each step, got a graph that gives none; export the part before its end")

    def _needed(self, name: str) -> list[Any]:
        """The nodes that a value is made by and were not walked yet, in the graph's order."""
        wanted, nodes = {name}, []
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                if any(each and each not in self.values for each in node.output):
                    nodes.append(node)
        return nodes[::-1]

    def _node(self, node: Any) -> None:
        for each in node.input:
            if each not in self.values:
                raise ConversionError(f"{_name(node)} must read what came before it, got {each!r}")
        inputs = [self.values[each] for each in node.input]
        attributes = {each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute}
        if all(each is None or isinstance(each, np.ndarray) for each in inputs):
            done = self._known(node, inputs)
        else:
            done = taken(self.path, Node(_name(node), node, inputs, attributes, self._known, self.sizes))
        outputs = done if isinstance(done, tuple) and not isinstance(done, (Past, Given, Sizes, Steady)) else (done,)
        self.values |= {name: value for name, value in zip(node.output, outputs) if name}

    def _known(self, node: Any, inputs: list[Any]) -> Any:
        """What a node of constants gives."""
        from onnx.reference import ReferenceEvaluator

        names = [each for each in node.input if each]
        given = dict(zip(names, (each for each in inputs if each is not None)))
        try:
            done = ReferenceEvaluator(node, opsets=self.opsets).run(None, given)
        except Exception as error:  # an operator may raise what it likes
            line = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ConversionError(f"{_name(node)} must be an operator that gives a constant, got {node.op_type}: {line}") from error
        return tuple(np.asarray(each) for each in done)


def _name(node: Any) -> str:
    return node.name or f"{node.op_type} of {', '.join(each for each in node.output if each)}"
