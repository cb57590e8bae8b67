"""From an ONNX file to a network: its graph, walked from the input to the output."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np

from recurra.convert.onnx_reading import array_of, title, visiting
from recurra.errors import ConversionError, DataError, RecurraError, quoted, reason
from recurra.export.from_onnx_check import Signature, compare
from recurra.export.from_onnx_constants import evaluated
from recurra.export.from_onnx_elements import RECURRENT, Elements, needed
from recurra.export.from_onnx_file import inputs_of, read
from recurra.export.from_onnx_formulas import Formula
from recurra.export.from_onnx_limits import MOST_RECURRENT, Budget, TooLarge
from recurra.export.from_onnx_nodes import taken
from recurra.export.from_onnx_record import recorded
from recurra.export.from_onnx_states import States
from recurra.export.from_onnx_values import Given, Node, Sizes, Steady
from recurra.export.onnx_sheet import require_onnx
from recurra.export.torch_flow import ORDERS, Flow, Path, led
from recurra.export.torch_layers import Past
from recurra.network import Network
from recurra.network.limits import check_layers, check_sizes


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
    model, held = read(onnx, path)
    if not inputs_of(model.graph) or not model.graph.output:
        raise DataError(
            "path must be an ONNX model with an input and an output, got"
            f" {quoted(fspath(path), 300)}"
        )
    try:
        with np.errstate(all="ignore"):
            return _network(onnx, model, held, Choice(output, vocabulary, facts, check))
    except RecurraError:
        raise
    except Exception as error:  # what is wrong with no node alone, but with how they go together
        text = (
            f"path must be an ONNX model whose parts fit together, got {quoted(fspath(path), 300)}"
            f" ({reason(error)})"
        )
        raise ConversionError(text) from error


class Choice(NamedTuple):
    """What `from_onnx` is asked for, besides the file."""

    output: str | int | None
    vocabulary: Mapping[str, Any] | None
    facts: Mapping[str, Any] | None
    check: bool


def _network(onnx: Any, model: Any, held: int, choice: Choice) -> Network:
    inputs = inputs_of(model.graph)
    elements = Elements(onnx, model, inputs, held)
    states = States(elements, [each.name for each in inputs])
    name = states.output(choice.output)
    way, flow = led(lambda path: Walk(elements, path).run(name), *_orders(onnx, inputs[0]))
    order, sizes = way.orders[0], axes_of(inputs[0])
    check_layers(flow.layers)
    network = Network(flow.layers, choice.vocabulary, dict(choice.facts or {}))
    check_sizes(network, held)
    steps = dict(zip(order, sizes or ())).get("T")
    carried = states.carried(name, network, one_step="T" not in order or steps == 1)
    network = recorded(model, network)
    if choice.check:
        compare(
            elements, network, Signature(order, flow.axes[order], name, sizes, way.pasts), carried
        )
    return network


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
        elements: of the graph, and its constants.
        path: what leads flows.
    """

    def __init__(self, elements: Elements, path: Path) -> None:
        self.elements, self.graph, self.path, self.budget = (
            elements,
            elements.graph,
            path,
            Budget(elements.held),
        )
        self.sizes = axes_of(elements.inputs[0])
        self.values: dict[str, Any] = {"": None}

    def run(self, output: str) -> Flow:
        """What an output is.

        Raises:
            ConversionError: it has no value at each step, or a node before it cannot be taken.
        """
        first, *others = self.elements.inputs
        nodes = needed(self.graph, [output])
        if sum(node.op_type in RECURRENT for node in nodes) > MOST_RECURRENT:
            raise TooLarge(
                f"onnx file must have at most {MOST_RECURRENT} nodes of RNN, LSTM or GRU, got more"
            )
        read = {name for node in nodes for name in node.input}
        self.values |= {
            each.name: array_of(each) for each in self.graph.initializer if each.name in read
        }
        self.values |= {each.name: Given(each.name, axes_of(each)) for each in others} | {
            first.name: self.path.begin()
        }
        for node in nodes:
            with visiting(node):
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
        from onnx.helper import get_attribute_value

        for each in node.input:
            if each not in self.values:
                raise ConversionError(f"{title(node)} must read what came before it, got {each!r}")
        inputs = [self.values[each] for each in node.input]
        attributes = {each.name: get_attribute_value(each) for each in node.attribute}
        if all(each is None or isinstance(each, np.ndarray) for each in inputs):
            done = self._known(node, inputs)
        else:
            self.budget.spend(
                title(node), sum(each.nbytes for each in inputs if isinstance(each, np.ndarray))
            )
            done = taken(
                self.path, Node(title(node), node, inputs, attributes, self._known, self.sizes)
            )
        outputs = (
            done
            if isinstance(done, tuple) and not isinstance(done, (Past, Given, Sizes, Steady))
            else (done,)
        )
        self.values |= {name: value for name, value in zip(node.output, outputs) if name}

    def _known(self, node: Any, inputs: list[Any]) -> tuple[Any, ...]:
        """What a node of constants gives."""
        found = [self.elements.constant(name) for name in node.output]
        if found and all(each is not None for each in found):
            return tuple(found)
        return evaluated(node, inputs, self.elements.opsets, self.budget)
