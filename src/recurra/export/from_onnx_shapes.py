"""The shapes of what nodes of layers give, without running them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from recurra.export.from_onnx_constants import SPREAD

Array = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Given: TypeAlias = Callable[[int], Array | None]
"""The constant at a place among a node's inputs."""


def _first(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape:
    return tuple(shapes[0])


def _product(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape | None:
    one, other = shapes
    if len(one) < 2 or len(other) < 2 or one[-1] != other[-2]:
        return None
    return (*np.broadcast_shapes(one[:-2], other[:-2]), one[-2], other[-1])


def _gemm(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape:
    (rows, _), (_, columns) = (
        shape[::-1] if get.get(turn, 0) else shape
        for shape, turn in zip(shapes, ("transA", "transB"))
    )
    return rows, columns


def _gather(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape:
    data, index = shapes
    axis = range(len(data))[get.get("axis", 0)]
    return (*data[:axis], *index, *data[axis + 1 :])


def _conv(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape | None:
    (rows, _, steps), (given_, _, taps) = shapes[:2]
    if get.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    (dilation,), (stride,) = get.get("dilations", (1,)), get.get("strides", (1,))
    return (
        rows,
        given_,
        (steps + sum(get.get("pads", (0, 0))) - dilation * (taps - 1) - 1) // stride + 1,
    )


def _pad(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape | None:
    pads = get.get("pads") if len(shapes) == 1 else given(1)
    axes = given(3) if len(shapes) > 3 else range(len(shapes[0]))
    if pads is None or axes is None:
        return None
    sizes = list(shapes[0])
    for place, axis in enumerate(axes):
        sizes[axis] += int(pads[place]) + int(pads[place + len(axes)])
    return tuple(sizes)


def _mean(get: Mapping[str, Any], shapes: Sequence[Any], given: Given) -> Shape | None:
    axes = get.get("axes") if len(shapes) == 1 else given(1)
    if axes is None:
        return None
    gone = {range(len(shapes[0]))[int(axis)] for axis in axes}
    kept = get.get("keepdims", 1)
    return tuple(
        1 if axis in gone else size
        for axis, size in enumerate(shapes[0])
        if kept or axis not in gone
    )


RULES: dict[str, Callable[[Mapping[str, Any], Sequence[Any], Given], Shape | None]] = {
    **dict.fromkeys(SPREAD, lambda get, shapes, given: np.broadcast_shapes(*shapes)),
    **dict.fromkeys(("LayerNormalization", "Softmax", "LogSoftmax", "Dropout", "Gelu"), _first),
    **dict.fromkeys(("LeakyRelu", "Elu", "HardSigmoid", "Softplus"), _first),
    "MatMul": _product,
    "Gemm": _gemm,
    "Gather": _gather,
    "Conv": _conv,
    "Pad": _pad,
    "ReduceMean": _mean,
}


def shape_given(
    op: str, attributes: Mapping[str, Any], shapes: Sequence[Shape | None], given: Given
) -> Shape | None:
    """The shape of an operator's first output; None where it is not known.

    Args:
        op: the operator.
        attributes: by name.
        shapes: of its inputs, None for one that is not known, or left out.
        given: the constant at a place among its inputs.

    >>> shape_given("MatMul", {}, [(7, 2, 3), (3, 4)], lambda place: None)
    (7, 2, 4)
    """
    if (
        op not in RULES
        or shapes[0] is None
        or (op not in FEW and any(each is None for each in shapes))
    ):
        return None
    try:
        found = RULES[op](attributes, shapes, given)
    except (
        ValueError,
        IndexError,
        TypeError,
        ZeroDivisionError,
    ):  # shapes that do not go together, of a node that is refused elsewhere
        return None
    return (
        found
        if found is not None and min(found, default=0) >= 0 and math.prod(found) >= 0
        else None
    )


FEW = frozenset({"Conv", "Pad", "Gemm", "LayerNormalization", "Dropout", "Clip"})
"""What may be read without all of its inputs."""
