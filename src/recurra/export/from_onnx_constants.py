"""Nodes of constants: what they give, no larger than the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.convert.onnx_reading import array_of, title
from recurra.errors import ConversionError
from recurra.export.from_onnx_limits import Budget, has_body

Array = npt.NDArray[Any]
SPREAD = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Mod",
        "Min",
        "Max",
        "Sum",
        "Mean",
        "And",
        "Or",
        "Xor",
        "Not",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "Where",
        "Neg",
        "Abs",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Reciprocal",
        "Sqrt",
        "Exp",
        "Log",
        "Sin",
        "Cos",
        "Tanh",
        "Sigmoid",
        "Relu",
        "Erf",
        "Clip",
        "IsNaN",
        "IsInf",
        "Cast",
        "CastLike",
        "Identity",
    }
)
"""What gives a number for each place of its inputs, which are repeated until they fit."""
KEPT = frozenset(
    {
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Slice",
        "Split",
        "Concat",
        "Shape",
        "Size",
        "ReduceSum",
        "ReduceMean",
        "ReduceProd",
        "ReduceMax",
        "ReduceMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ArgMax",
        "ArgMin",
        "CumSum",
        "Trilu",
        "Softmax",
        "LogSoftmax",
        "DequantizeLinear",
        "QuantizeLinear",
        "GatherElements",
        "Dropout",
    }
)
"""What gives no more numbers than its inputs have together."""
SUMS = 32
"""Products that take as long as a byte."""


def _gather(node: Mapping[str, Any], data: Array, index: Array) -> int:
    axis = int(node.get("axis", 0))
    return data.size // max(data.shape[axis], 1) * index.size


def _padded(
    node: Mapping[str, Any], data: Array, pads: Any = None, value: Any = None, axes: Any = None
) -> int:
    ends = [
        int(each) for each in np.asarray(node.get("pads") if pads is None else pads).reshape(-1)
    ]
    places, sizes = (
        range(data.ndim) if axes is None else [int(each) for each in axes],
        list(data.shape),
    )
    for place, before, after in zip(places, ends, ends[len(places) :]):
        sizes[place] += max(before, 0) + max(after, 0)
    return math.prod(sizes)


def _repeated(node: Mapping[str, Any], data: Array, times: Array) -> int:
    return data.size * math.prod(max(int(each), 0) for each in times.reshape(-1))


def _range(node: Mapping[str, Any], start: Array, end: Array, step: Array) -> int:
    first, last, by = (each.reshape(()).item() for each in (start, end, step))
    return max(0, math.ceil((last - first) / by))


def _product(node: Mapping[str, Any], one: Array, other: Array, *more: Array) -> int:
    inner = one.shape[0 if node.get("transA", 0) else -1] if one.ndim else 1
    rows = one.size // max(inner, 1)
    given = rows * (other.size // max(inner, 1))
    return given + given * inner // (SUMS * 8)


GROWTH: dict[str, Callable[..., int]] = {
    "Gather": _gather,
    "Pad": _padded,
    "Tile": _repeated,
    "Range": _range,
    "MatMul": _product,
    "Gemm": _product,
    "ConstantOfShape": lambda node, sizes: math.prod(int(each) for each in sizes.reshape(-1)),
    "Expand": lambda node, data, sizes: math.prod(np.broadcast_shapes(data.shape, _shape(sizes))),
}


def _shape(sizes: Array) -> tuple[int, ...]:
    return tuple(int(each) for each in sizes.reshape(-1))


def evaluated(
    node: Any, given: Sequence[Any], opsets: Mapping[str, int], budget: Budget
) -> tuple[Array, ...]:
    """What a node of constants gives.

    Args:
        node: an onnx.NodeProto.
        given: its inputs, None for one that is left out.
        opsets: versions by domain.
        budget: pays for what it gives.

    Raises:
        TooLarge: that is too large.
        ConversionError: it is no such operator, or gives something else than numbers.
    """
    from onnx.helper import get_attribute_value
    from onnx.reference import ReferenceEvaluator

    name, op = (
        title(node),
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
    )
    attributes = {each.name: get_attribute_value(each) for each in node.attribute}
    if op == "Constant":
        return (_constant(name, attributes),)
    arrays = [each for each in given if each is not None]
    if op not in SPREAD | KEPT | GROWTH.keys() or has_body(node) or attributes.get("to") in (0, 8):
        raise ConversionError(f"{name} must be an operator that gives a constant, got {op}")
    if op in SPREAD:
        count = math.prod(np.broadcast_shapes(*(each.shape for each in arrays)))
    elif op in ("Shape", "Size"):
        count = arrays[0].ndim
    else:
        count = (
            sum(each.size for each in arrays) + len(node.output)
            if op in KEPT
            else GROWTH[op](attributes, *given)
        )
    budget.spend(name, 8 * count)
    names = [each for each in node.input if each]
    if op == "Split" and attributes.get("num_outputs", len(node.output)) != len(node.output):
        raise ConversionError(
            f"{name} must give as many parts as it says, got"
            f" num_outputs={attributes['num_outputs']}"
        )
    if (
        op == "Unsqueeze" and "axes" in attributes
    ):  # before opset 13, which the reference does not run
        return (np.expand_dims(arrays[0], tuple(attributes["axes"])),)
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(node, opsets=dict(opsets)).run(None, dict(zip(names, arrays)))
    done = tuple(np.asarray(each) for each in found)
    if any(each.dtype.kind in "OSUc" for each in done):
        raise ConversionError(
            f"{name} must give real numbers, got {', '.join(each.dtype.name for each in done)}"
        )
    return done


def _constant(name: str, attributes: Mapping[str, Any]) -> Array:
    """What a node that holds a constant gives."""
    kinds = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    ((kind, value),) = attributes.items()
    if kind == "value":
        return array_of(value, name)
    if kind not in kinds:
        raise ConversionError(f"{name} must give real numbers, got {kind}")
    return np.asarray(value, kinds[kind])
