"""Nodes that read no flow, but how large the input is: the first states that exporters spell
out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recurra.convert.onnx_reading import array_of
from recurra.errors import ConversionError
from recurra.export.from_onnx_values import Node, Sizes, Steady
from recurra.export.torch_calls import CALLS, Extent, Zeros
from recurra.export.torch_flow import Path

WHOLE = frozenset(
    {
        "Gather",
        "Unsqueeze",
        "Squeeze",
        "Cast",
        "Identity",
        "Concat",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Slice",
        "Reshape",
        "Where",
        "Equal",
        "ConstantOfShape",
        "Expand",
        "Shape",
        "Max",
        "Min",
        "Range",
        "Neg",
        "Mod",
    }
)
"""What makes whole numbers of whole numbers."""
STILL = frozenset(
    {
        "Slice",
        "Gather",
        "Split",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Transpose",
        "Cast",
        "Expand",
        "Tile",
    }
)
"""What leaves a constant that is repeated for each row such a one."""
EMPTY = STILL | {"Reshape", "Concat", "Mul", "Add"}
"""What makes zeros of zeros."""


def sized(node: Node) -> Any:
    """What a node gives that reads sizes, zeros or repeated constants.

    Raises:
        ConversionError: it makes something else of them.
    """
    given = [each for each in node.inputs if each is not None]
    if any(isinstance(each, Steady) for each in given) and node.op in STILL:
        return _steady(node)
    if (
        any(isinstance(each, Zeros) for each in given)
        and node.op in EMPTY
        and not any(map(_counts, given))
    ):
        return (Zeros(),) * len(node.outputs)
    if node.op == "ConstantOfShape" and _float(node):
        value = np.asarray(_array(node.get("value")))
        if value.any():
            raise ConversionError(
                f"{node.name} must be zeros, to be a first state, got {value.reshape(-1)[0]}"
            )
        return Zeros()
    if (
        node.op in ("Expand", "Tile")
        and isinstance(given[0], np.ndarray)
        and given[0].dtype.kind == "f"
    ):
        return Steady(given[0]) if given[0].any() else Zeros()
    if node.op in WHOLE and not any(isinstance(each, (Steady, Zeros)) for each in given):
        return _number(node, given)
    raise ConversionError(
        f"{node.name} must be the size of a first state, got {node.op} of the input's size"
    )


def _counts(value: Any) -> bool:
    """Whether a value is a constant that is not zero; to add one to zeros, or to join it to them,
    gives something else.
    """
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(value.any())


def _float(node: Node) -> bool:
    value = node.get("value")
    return value is None or np.asarray(_array(value)).dtype.kind == "f"


def _array(value: Any) -> Any:
    if value is None:
        return np.zeros(1, np.float32)
    return array_of(value, "value")


def _steady(node: Node) -> Any:
    if node.op in ("Expand", "Tile"):
        return node.inputs[0]
    if any(not isinstance(each, (np.ndarray, Steady, type(None))) for each in node.inputs):
        raise ConversionError(
            f"{node.name} must take a first state apart by constants, got {node.op} by the input's"
            " size"
        )
    done = node.evaluate(
        node.proto, [each.array if isinstance(each, Steady) else each for each in node.inputs]
    )
    return tuple(Steady(each) for each in done)


def shape(path: Path, node: Node) -> Sizes:
    """The sizes of a flow's axes."""
    flow = node.inputs[0]
    rank = len(flow.axes[path.orders[0]])
    items = tuple(CALLS["size"](path, node.name, flow, axis) for axis in range(rank))
    return Sizes(items[slice(node.get("start", 0), node.get("end"))])


def _number(node: Node, given: list[Any]) -> Sizes:
    """Whole numbers made of others: followed as far as exporters go to say a shape, else known to
    be some.
    """
    items = [
        each.items if isinstance(each, Sizes) else [int(one) for one in each.reshape(-1)]
        for each in given
    ]
    first = items[0]
    if node.op in ("Unsqueeze", "Squeeze", "Cast", "Identity", "Reshape"):
        return Sizes(tuple(first))
    if node.op == "Concat":
        return Sizes(tuple(one for each in items for one in each))
    if node.op == "Gather" and len(items[1]) == 1:
        return Sizes((first[items[1][0]],))
    if (
        node.op == "Slice"
        and len(items) > 1
        and all(isinstance(one, int) for each in items[1:] for one in each)
    ):
        start, end, *_, step = (each[0] for each in (*items[1:3], *items[4:], [1]))
        return Sizes(tuple(first[start:end:step]))
    if node.op in ARITHMETIC and len(items) == 2 and len(items[1]) == len(first) == 1:
        return Sizes((ARITHMETIC[node.op](first[0], items[1][0]),))
    return Sizes((None,) * len(first))


def _plus(one: Any, other: Any, sign: int = 1) -> Any:
    if isinstance(other, Extent) and sign == 1:
        one, other = other, one
    return (
        one._replace(more=one.more + sign * other)
        if isinstance(one, Extent) and isinstance(other, int)
        else None
    )


def _times(one: Any, other: Any) -> Any:
    if not isinstance(one, Extent) or not isinstance(other, Extent) or one.more or other.more:
        return None
    return Extent({order: one.axes[order] + axes for order, axes in other.axes.items()}, 0)


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": _plus,
    "Sub": lambda one, other: _plus(one, other, -1),
    "Mul": _times,
}
