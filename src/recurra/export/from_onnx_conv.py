"""ONNX nodes of causal convolutions: zeros or a past before the first step, and the Conv."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from recurra.errors import ConversionError
from recurra.export.from_onnx_limits import MOST_PAST, TooLarge
from recurra.export.from_onnx_values import Given, Node
from recurra.export.torch_calls import CALLS
from recurra.export.torch_conv import convolved
from recurra.export.torch_flow import Flow, Path


def conv(path: Path, node: Node) -> Any:
    """A flow through a Conv that looks back only."""
    flow, weight, *rest = node.inputs
    if not isinstance(weight, np.ndarray) or weight.ndim != 3:
        return NotImplemented
    if node.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ConversionError(
            f"{node.name} must look back only, got auto_pad={node.get('auto_pad').decode()}, which"
            " looks ahead too"
        )
    (dilation,) = node.get("dilations", (1,))
    if not 0 < dilation <= MOST_PAST or (weight.shape[2] - 1) * dilation > MOST_PAST:
        got = f"dilation {dilation:,} and {weight.shape[2]:,} taps"
        raise TooLarge(f"{node.name} must look back at most {MOST_PAST:,} steps, got {got}")
    before, after = node.get("pads", (0, 0))
    if before > after:
        flow = CALLS["pad"](path, node.name, flow, (before - after, 0))
    bias = None if not rest or rest[0] is None else torch.from_numpy(np.array(rest[0]))
    like = SimpleNamespace(
        weight=path.weights.constant(weight),
        bias=bias,
        groups=node.get("group", 1),
        padding_mode="zeros",
        kernel_size=weight.shape[2:],
        dilation=(dilation,),
        stride=tuple(node.get("strides", (1,))),
        padding=(after,),
    )
    return convolved(path, node.name, like, flow)


def pad(path: Path, node: Node) -> Any:
    """A flow with zeros before its first step."""
    flow, pads, value, axes = (*node.inputs, None, None, None)[:4]
    pads = node.get("pads") if pads is None else pads
    if pads is None or (axes is not None and not isinstance(axes, np.ndarray)):
        return NotImplemented
    rank = len(flow.axes[path.orders[0]])
    places = list(range(len(pads) // 2)) if axes is None else [int(axis) % rank for axis in axes]
    ends = {
        place: (int(pads[number]), int(pads[number + len(places)]))
        for number, place in enumerate(places)
    }
    pairs = [end for place in reversed(range(rank)) for end in ends.get(place, (0, 0))]
    number = node.get("value", 0.0) if value is None else float(np.asarray(value).reshape(()))
    return CALLS["pad"](
        path, node.name, flow, tuple(pairs), node.get("mode", b"constant").decode(), number
    )


def after(path: Path, node: Node, given: Given, flow: Flow) -> Any:
    """A flow after the inputs that came before it, which are zeros at first."""
    axis, sizes = int(node.get("axis")), given.sizes
    count = sizes[axis] if sizes is not None and -len(sizes) <= axis < len(sizes) else None
    if sizes is None or count is None:
        raise ConversionError(
            f"{given.name} must say how many steps it holds to be the past of {node.name}, got axes"
            f" {sizes}"
        )
    if not any("T" in flow.axes[order] for order in path.orders):
        raise ConversionError(
            f"{node.name} must come before a sequence, got the graph of one step of a Conv; give"
            " that of a sequence"
        )
    path.pasts.append(flow.axes)
    place = -axis if axis < 0 else len(sizes) - axis
    return CALLS["pad"](path, node.name, flow, ((0, 0) * (place - 1)) + (count, 0))


def changed(given: Given, node: Node) -> Given:
    """A further input of the graph with its axes moved; its sizes unknown after whatever else."""
    sizes = given.sizes
    if sizes is None or node.op not in ("Transpose", "Reshape", "Identity", "Cast"):
        return Given(given.name, None)
    if node.op == "Transpose":
        sizes = tuple(sizes[axis] for axis in node.get("perm", range(len(sizes))[::-1]))
    elif node.op == "Reshape":
        wanted = node.inputs[1]
        if not isinstance(wanted, np.ndarray):
            return Given(given.name, None)
        entries = [int(entry) for entry in wanted]
        sizes = tuple(
            sizes[number] if entry == 0 and number < len(sizes) else max(entry, 0) or None
            for number, entry in enumerate(entries)
        )
    return Given(given.name, sizes)
