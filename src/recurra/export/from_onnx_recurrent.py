"""An ONNX RNN, LSTM or GRU node in a flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.convert.onnx import FORMS, from_onnx_node
from recurra.errors import ConversionError
from recurra.export.from_onnx_values import Given, Node, Steady
from recurra.export.torch_calls import Zeros
from recurra.export.torch_flow import Flow, Path
from recurra.export.torch_layers import Past, recurrent


def over_time(path: Path, node: Node) -> Any:
    """A flow through the node: Y, Y_h and for an LSTM Y_c.

    Raises:
        ConversionError: it does not stream, its weights are no constants, or rows begin with
            different states.
    """
    flow, roles = node.inputs[0], dict(zip(FORMS[node.op].inputs, node.inputs))
    if not isinstance(flow, Flow):
        return NotImplemented
    direction = node.get("direction", b"forward").decode()
    if direction != "forward":
        raise ConversionError(
            f"{node.name} must run forward only to stream, got direction={direction!r}: it needs"
            " the whole future"
        )
    if roles.get("sequence_lens") is not None:
        raise ConversionError(
            f"{node.name} must run every row to its end, got sequence_lens; export the model"
            " without lengths"
        )
    layout = node.get("layout", 0)
    forms = ("BTC", "B1C") if layout else ("TBC", "1BC")
    path.narrow(
        node.name,
        flow,
        lambda now: now in forms,
        f"read ({', '.join(forms[0])}), as {node.op} with layout={layout} does",
    )
    (layer,) = from_onnx_node(*_plain(node, roles)).directions
    weights = layer.weights() | _first_states(node, roles, layout)
    done = path.then(
        node.name, flow, recurrent(path, node.name, layer.cell, weights), pointwise=False
    )
    place = 2 if layout else 1
    y = replace(
        done,
        axes={
            order: f"{done.axes[order][:place]}1{done.axes[order][place:]}" for order in path.orders
        },
    )
    if all("T" not in order for order in path.orders):  # one step: the state after it is its output
        return (
            y,
            replace(done, axes={order: "B1C" if layout else "1BC" for order in path.orders}),
            Past(node.name),
        )
    return y, *[Past(node.name)] * 2


def _plain(node: Node, roles: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The node without first states, and its weights."""
    import onnx

    names = FORMS[node.op].inputs
    weights = {
        role: roles.get(role) for role in ("W", "R", "B", "P") if roles.get(role) is not None
    }
    for role, value in weights.items():
        if not isinstance(value, np.ndarray):
            raise ConversionError(
                f"{node.name} must have {role} as a constant, got one that is computed from the"
                " input"
            )
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    del proto.input[:]
    proto.input.extend("X" if role == "X" else role if role in weights else "" for role in names)
    proto.ClearField("domain")
    return proto, weights


def _first_states(node: Node, roles: dict[str, Any], layout: int) -> dict[str, Tensor]:
    """What rows begin with, where that is not zero."""
    found = {}
    for role in ("initial_h", "initial_c"):
        value = roles.get(role)
        if value is None or isinstance(value, (Zeros, Given)):
            continue
        array = value.array if isinstance(value, Steady) else value
        if not isinstance(array, np.ndarray):
            raise ConversionError(
                f"{node.name} must begin with a first state of its own, got {role} computed from"
                " the input"
            )
        rows = array.reshape(-1, array.shape[-1])
        if (rows != rows[:1]).any():
            raise ConversionError(
                f"{node.name} must begin every row alike, got an {role} whose rows differ"
            )
        if rows.any():
            found[role] = torch.from_numpy(rows[0].copy())
    return found
