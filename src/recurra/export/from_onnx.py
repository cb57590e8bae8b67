"""From an ONNX file to a network: its graph, walked from the input to the output."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np

from recurra.errors import ConversionError, DataError
from recurra.export.from_onnx_check import Signature, compare
from recurra.export.from_onnx_elements import Elements, needed, title
from recurra.export.from_onnx_formulas import Formula
from recurra.export.from_onnx_nodes import taken
from recurra.export.from_onnx_record import recorded
from recurra.export.from_onnx_states import States
from recurra.export.from_onnx_values import Given, Node, Sizes, Steady
from recurra.export.onnx_sheet import require_onnx
from recurra.export.torch_flow import ORDERS, Flow, Path, led
from recurra.export.torch_layers import Past
from recurra.network import Network
from recurra.regular_file import check_regular


def from_onnx(
    path: str | PathLike[str],
    *,
    output: str | int | None = None,
    vocabulary: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Network:
    """The network of an ONNX file; see `recurra.export.network_of`.

    Raises:
        ArgumentError: the file has no such output.
        DataError: there is no such file, or it is no ONNX model.
        ConversionError: a node cannot be taken, or a state is not carried as a layer leaves it;
            named, with the reason.
        MissingDependency: the onnx package is not installed, or to check the onnxruntime package.
    """
    onnx = require_onnx("network_of")
    model = _read(onnx, path)
    inputs = _inputs(model.graph)
    if not inputs or not model.graph.output:
        raise DataError(
            f"path must be an ONNX model with an input and an output, got {fspath(path)!r}"
        )
    states = States(Elements(onnx, model, inputs), [each.name for each in inputs])
    name = states.output(output)
    way, flow = led(lambda path: Walk(onnx, model, path).run(name), *_orders(onnx, inputs[0]))
    order, sizes = way.orders[0], axes_of(inputs[0])
    network = Network(flow.layers, vocabulary, dict(facts or {}))
    steps = dict(zip(order, sizes or ())).get("T")
    carried = states.carried(name, network, one_step="T" not in order or steps == 1)
    network = recorded(model, network)
    if check:
        compare(model, network, Signature(order, flow.axes[order], name, sizes, way.pasts), carried)
    return network


def _read(onnx: Any, path: str | PathLike[str]) -> Any:
    """The model, functions of its own written out."""
    import onnx.inliner

    try:
        size = check_regular(path)
        model = onnx.load(fspath(path))
        if not model.graph.node:
            raise DataError(
                f"path must be an ONNX model, got {fspath(path)!r}, {size:,} bytes without a node"
            )
        return onnx.inliner.inline_local_functions(model)
    except OSError as error:
        raise DataError(
            f"path must be a file that can be read, got {fspath(path)!r}"
            f" ({error.strerror or error})"
        ) from None
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
    orders = [
        order
        for order in ORDERS
        if ("C" in order) == features and (shape is None or len(shape) == len(order))
    ]
    if not orders:
        raise ConversionError(
            f"{value.name} must be features of 2 or 3 axes, or tokens of 1 or 2, got"
            f" {len(shape or ())} axes"
        )
    widths = {order: shape[order.index("C")] for order in orders if shape and "C" in order}
    return orders, {order: width for order, width in widths.items() if width}


class Walk:
    """Goes along a graph, node by node, as far as an output needs it.

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

    def run(self, output: str) -> Flow:
        """What an output is.

        Raises:
            ConversionError: it has no value at each step, or a node before it cannot be taken.
        """
        first, *others = _inputs(self.graph)
        self.values |= {
            each.name: self.onnx.numpy_helper.to_array(each) for each in self.graph.initializer
        }
        self.values |= {each.name: Given(each.name, axes_of(each)) for each in others} | {
            first.name: self.path.begin()
        }
        for node in needed(self.graph, [output]):
            self._node(node)
        done = self.values.get(output)
        if isinstance(done, Formula):
            raise done.unknown()
        if not isinstance(done, Flow):
            raise ConversionError(
                f"module must give an output at each step, got {output}, which is none; export the"
                " part before its end"
            )
        return done

    def _node(self, node: Any) -> None:
        for each in node.input:
            if each not in self.values:
                raise ConversionError(f"{title(node)} must read what came before it, got {each!r}")
        inputs = [self.values[each] for each in node.input]
        attributes = {
            each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute
        }
        if all(each is None or isinstance(each, np.ndarray) for each in inputs):
            done = self._known(node, inputs)
        else:
            done = taken(
                self.path, Node(title(node), node, inputs, attributes, self._known, self.sizes)
            )
        outputs = (
            done
            if isinstance(done, tuple) and not isinstance(done, (Past, Given, Sizes, Steady))
            else (done,)
        )
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
            raise ConversionError(
                f"{title(node)} must be an operator that gives a constant, got {node.op_type}:"
                f" {line}"
            ) from error
        return tuple(np.asarray(each) for each in done)
