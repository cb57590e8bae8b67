"""What the nodes of an ONNX graph do to a flow, by their operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recurra.errors import ConversionError
from recurra.export.from_onnx_clusters import PARTS, clustered
from recurra.export.from_onnx_conv import after, changed, conv, pad
from recurra.export.from_onnx_formulas import OPERATORS as SIMPLE
from recurra.export.from_onnx_formulas import Formula, centred, settled
from recurra.export.from_onnx_recurrent import over_time
from recurra.export.from_onnx_sizes import shape, sized
from recurra.export.from_onnx_values import Given, Node, Sizes
from recurra.export.torch_calls import CALLS, Extent
from recurra.export.torch_flow import Flow, Path
from recurra.export.torch_layers import Past, activated, embedded, multiplied, normed
from recurra.network import Conv, LayerNorm, Linear

Array = npt.NDArray[Any]
TAKEN = (
    "recurra takes Gather of a table, MatMul, Gemm, Add, LayerNormalization, Relu, Tanh, Sigmoid,"
    " Gelu, Dropout, Conv that looks back only, RNN, LSTM, GRU, an adaptive softmax, and what moves"
    " axes about"
)
STATES = frozenset(
    {"Slice", "Gather", "Split", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Cast", "Reshape"}
)
"""What may be done to an input before it is a first state."""


def taken(path: Path, node: Node) -> Any:
    """What a node gives; a tuple where it has several outputs.

    Raises:
        ConversionError: it cannot be taken; names the node, with the reason.
    """
    given = [each for each in node.inputs if each is not None]
    if any(isinstance(each, Past) for each in given):
        return next(each for each in given if isinstance(each, Past))
    if any(isinstance(each, Given) for each in given) and node.op not in ("RNN", "LSTM", "GRU"):
        return _state(path, node, given)
    if not any(isinstance(each, (Flow, Formula)) for each in given):
        return sized(node)
    call = OPERATORS.get(node.op)
    spelt = isinstance(node.inputs[0], Formula) and node.op not in (
        *SIMPLE,
        *PARTS,
        "LayerNormalization",
    )
    done = call(path, node) if call and not spelt else NotImplemented
    if done is NotImplemented:
        raise _refusal(node)
    return done


def _refusal(node: Node) -> ConversionError:
    for each in node.inputs:
        if isinstance(each, Formula):
            return each.unknown()
    return ConversionError(
        f"{node.name} must be an operator of a layer that streams, got {node.op}; {TAKEN}"
    )


def _state(path: Path, node: Node, given: list[Any]) -> Any:
    """A further input of the graph, on its way to be a first state, or the past of a
    convolution.
    """
    one = next(each for each in given if isinstance(each, Given))
    if (
        node.op == "Concat"
        and len(given) == 2
        and isinstance(given[0], Given)
        and isinstance(given[1], Flow)
    ):
        return after(path, node, *given)
    together = node.op == "Concat" and all(isinstance(each, Given) for each in given)
    if not (together or node.op in STATES) or any(
        isinstance(each, (Flow, Formula)) for each in given
    ):
        raise ConversionError(
            f"{one.name} must be the input or a first state, got {node.op} of it at {node.name}"
        )
    return (changed(one, node),) * len(node.outputs)


def _gather(path: Path, node: Node) -> Any:
    table, index = node.inputs
    if (
        isinstance(table, np.ndarray)
        and isinstance(index, Flow)
        and table.ndim == 2
        and node.get("axis", 0) in (0, -2)
    ):
        if table.dtype.kind != "f" and table.dtype.name != "bfloat16":
            raise ConversionError(
                f"{node.name} must read a table of floats, got {table.dtype}; give the file with"
                " float32 weights"
            )
        return embedded(path, node.name, path.weights.constant(table), index)
    if (
        isinstance(table, Flow)
        and isinstance(index, np.ndarray)
        and index.shape == ()
        and int(index) in (0, -1)
    ):
        return path.relabelled(
            node.name,
            table,
            _without(int(node.get("axis", 0))),
            "give an output at each step, not a selection",
        )
    if isinstance(table, Flow):
        raise ConversionError(
            f"{node.name} must give an output at each step, got a selection; export the part"
            " before it"
        )
    return NotImplemented


def _matmul(path: Path, node: Node) -> Any:
    flow, weight = node.inputs
    if not isinstance(flow, Flow) or not isinstance(weight, np.ndarray) or weight.ndim != 2:
        return NotImplemented
    return multiplied(path, node.name, path.weights.constant(weight.T), None, flow)


def _gemm(path: Path, node: Node) -> Any:
    flow, weight, *rest = node.inputs
    if not isinstance(flow, Flow) or not isinstance(weight, np.ndarray) or node.get("transA", 0):
        return NotImplemented
    path.narrow(
        node.name, flow, lambda now: len(now) == 2 and now[1] == "C", "read (B, C), as Gemm does"
    )
    rows = weight if node.get("transB", 0) else weight.T
    done = multiplied(
        path,
        node.name,
        path.weights.constant(rows * _scale(rows, node.get("alpha", 1.0))),
        None,
        flow,
    )
    if not rest or rest[0] is None:
        return done
    return _biased(path, node, done, rest[0] * _scale(rest[0], node.get("beta", 1.0)))


def _scale(array: Any, factor: float) -> Any:
    return np.asarray(factor, array.dtype)


def _add(path: Path, node: Node) -> Any:
    one, other = node.inputs
    if isinstance(one, Flow) and isinstance(other, Flow):
        return path.sum(node.name, one, other)
    for flow, array in ((one, other), (other, one)):
        if isinstance(flow, Flow) and isinstance(array, np.ndarray):
            done = _biased(path, node, flow, array)
            return _formula(path, node) if done is NotImplemented else done
    return _formula(path, node)


def _biased(path: Path, node: Node, flow: Flow, array: Any) -> Any:
    """A constant added to what a product, a convolution or a layer norm gives."""
    last = flow.layers[-1] if flow.layers else None
    if not isinstance(last, (Linear, Conv, LayerNorm)):
        return NotImplemented
    vector = _along(path, node, flow, array, last.widths[1])
    if vector is None:
        return NotImplemented
    return replace(
        flow,
        layers=(
            *flow.layers[:-1],
            replace(last, bias=vector if last.bias is None else last.bias + vector),
        ),
    )


def _mul(path: Path, node: Node) -> Any:
    for flow, array in (node.inputs, node.inputs[::-1]):
        last = flow.layers[-1] if isinstance(flow, Flow) and flow.layers else None
        if (
            isinstance(last, LayerNorm)
            and isinstance(array, np.ndarray)
            and (array.size > 1 or last.width == 1)
        ):
            vector = _along(path, node, flow, array, last.width)
            if vector is not None:
                gain, bias = (
                    None if old is None else old * vector for old in (last.gain, last.bias)
                )
                return replace(
                    flow,
                    layers=(
                        *flow.layers[:-1],
                        replace(last, gain=vector if gain is None else gain, bias=bias),
                    ),
                )
    return _formula(path, node)


def _along(path: Path, node: Node, flow: Flow, array: Any, width: int) -> Array | None:
    """A constant as one number for each feature; None where it is something else."""
    now = flow.axes[path.orders[0]]
    place = now[::-1].index("C") if "C" in now else 0
    shape = (1,) * (len(now) - array.ndim) + array.shape
    if (
        array.size not in (1, width)
        or len(shape) != len(now)
        or shape[-1 - place] != array.size
        or array.dtype.kind != "f"
    ):
        return None
    if array.size == 1 and width > 1:
        return None
    path.narrow(
        node.name, flow, lambda now: now[::-1].find("C") == place, "have its features in one axis"
    )
    return path.weights.array(node.name, torch.from_numpy(np.array(array.reshape(-1))))


def _formula(path: Path, node: Node) -> Any:
    if node.op == "ReduceMean":
        axes = (
            node.inputs[1]
            if len(node.inputs) > 1 and node.inputs[1] is not None
            else node.get("axes")
        )
        ranks = {
            len(flow.axes[path.orders[0]])
            for flow in Formula(node.name, node.op, (node.inputs[0],)).leaves()
        }
        if (
            axes is None
            or len(axes) != 1
            or int(axes[0]) not in {-1, *(rank - 1 for rank in ranks)}
            or not node.get("keepdims", 1)
        ):
            return NotImplemented
    args = tuple(node.inputs[:1] if node.op in ("ReduceMean", "Cast") else node.inputs)
    if node.op == "Tanh" and isinstance(args[0], Flow):
        return _activation("tanh")(path, node)
    if node.op in ("Identity", "Cast") and isinstance(args[0], Flow):
        return args[0]
    return settled(path, Formula(node.name, node.op, args))


def _activation(kind: str) -> Callable[[Path, Node], Any]:
    return lambda path, node: activated(path, node.name, kind, node.inputs[0], node.op)


def _gelu(path: Path, node: Node) -> Any:
    approximate = node.get("approximate", b"none")
    return activated(
        path, node.name, "gelu" if approximate == b"none" else "gelu_tanh", node.inputs[0], node.op
    )


def _norm(path: Path, node: Node) -> Any:
    x, gain, *rest = node.inputs
    flow = (
        centred(x) if isinstance(x, Formula) else x
    )  # to take the mean away first changes nothing but rounding
    if flow is None:
        return NotImplemented
    axis = node.get("axis", -1)
    path.narrow(
        node.name,
        flow,
        lambda now: axis in (-1, len(now) - 1),
        "be a layer norm over the last axis",
    )
    bias = rest[0] if rest else None
    if not isinstance(gain, np.ndarray) or not isinstance(bias, (np.ndarray, type(None))):
        return NotImplemented
    vectors = [None if each is None else torch.from_numpy(np.array(each)) for each in (gain, bias)]
    like = SimpleNamespace(
        normalized_shape=gain.shape,
        weight=vectors[0],
        bias=vectors[1],
        eps=node.get("epsilon", 1e-5),
    )
    return normed(path, node.name, like, flow)


def _dropout(path: Path, node: Node) -> Any:
    if len(node.inputs) > 2 and node.inputs[2] is not None and np.any(node.inputs[2]):
        raise ConversionError(
            f"{node.name} must drop out nothing, got training_mode=1; export the model at"
            " evaluation"
        )
    return node.inputs[0], None


def _slice(path: Path, node: Node) -> Any:
    flow = node.inputs[0]
    starts, ends, axes, steps = (*node.inputs[1:], None, None, None, None)[:4]
    starts, ends, axes = (
        node.get(key) if got is None else got
        for key, got in (("starts", starts), ("ends", ends), ("axes", axes))
    )
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for number, axis in enumerate(axes):
        end = ends.items[number] if isinstance(ends, Sizes) else int(ends[number])
        whole = isinstance(end, int) and end >= 2**31 - 1
        item = slice(int(starts[number]), None if whole else end, int(steps[number]))
        index = (
            (..., item, *[slice(None)] * (-int(axis) - 1))
            if axis < 0
            else (*[slice(None)] * int(axis), item)
        )
        flow = CALLS["getitem"](path, node.name, flow, index)
    return flow


def _transpose(path: Path, node: Node) -> Any:
    perm = node.get("perm")
    return path.moved(
        node.name,
        node.inputs[0],
        lambda count: (
            range(count)[::-1] if perm is None else perm if len(perm) == count else [count]
        ),
    )


def _axes(node: Node) -> list[int] | None:
    axes = (
        node.inputs[1] if len(node.inputs) > 1 and node.inputs[1] is not None else node.get("axes")
    )
    return None if axes is None else [int(axis) for axis in np.asarray(axes).reshape(-1)]


def _squeeze(path: Path, node: Node) -> Any:
    axes = _axes(node)

    def change(now: str, order: str) -> str | None:
        gone = (
            [place for place, axis in enumerate(now) if axis == "1"]
            if axes is None
            else [axis % len(now) for axis in axes]
        )
        return (
            "".join(axis for place, axis in enumerate(now) if place not in gone)
            if all(now[place] == "1" for place in gone)
            else None
        )

    return path.relabelled(node.name, node.inputs[0], change, "take away axes of one only")


def _without(axis: int) -> Callable[[str, str], str | None]:
    """Takes an axis away, where it is one of one."""

    def change(now: str, order: str) -> str | None:
        place = axis % len(now)
        return now[:place] + now[place + 1 :] if now[place] == "1" else None

    return change


def _unsqueeze(path: Path, node: Node) -> Any:
    axes = _axes(node) or []

    def change(now: str, order: str) -> str:
        left, rank = iter(now), len(now) + len(axes)
        added = {axis % rank for axis in axes}
        return "".join("1" if place in added else next(left) for place in range(rank))

    return path.relabelled(node.name, node.inputs[0], change, "add axes of one")


def _reshape(path: Path, node: Node) -> Any:
    """As exporters take away axes of one: every other axis stays what it is."""
    flow, wanted = node.inputs
    items = (
        wanted.items
        if isinstance(wanted, Sizes)
        else [int(one) for one in np.asarray(wanted).reshape(-1)]
    )

    def change(now: str, order: str) -> str | None:
        left = now.replace("1", "")
        if len(left) != len(items):
            return None
        fits = all(
            _is_axis(path, node, flow, order, now, number, axis, item)
            for number, (axis, item) in enumerate(zip(left, items))
        )
        return left if fits else None

    return path.relabelled(node.name, flow, change, "only take away axes of one")


def _is_axis(
    path: Path, node: Node, flow: Flow, order: str, now: str, number: int, axis: str, item: Any
) -> bool:
    """Whether an entry of a new shape says an axis of the old one."""
    if isinstance(item, Extent):
        return item.axes.get(order, "").replace(
            "1", ""
        ) == axis and item.more == flow.early + flow.late * (axis == "T")
    if item is None or item == -1:
        return item == -1
    if item == 0:
        return now[number] == axis and not node.get("allowzero", 0)
    declared = dict(zip(order, node.sizes or ())).get(axis)
    size = path.width_of(flow) or declared if axis == "C" else declared
    return size is None or bool(item == size)


OPERATORS: dict[str, Callable[[Path, Node], Any]] = {
    **dict.fromkeys(SIMPLE, _formula),
    **dict.fromkeys(PARTS, clustered),
    "Add": _add,
    "Mul": _mul,
    "Gather": _gather,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Gelu": _gelu,
    "LayerNormalization": _norm,
    "Dropout": _dropout,
    "Conv": conv,
    "Pad": pad,
    "Slice": _slice,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Shape": shape,
    "RNN": over_time,
    "LSTM": over_time,
    "GRU": over_time,
}
