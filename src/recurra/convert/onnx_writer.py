"""From a layer to an ONNX RNN, LSTM or GRU node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from recurra.cells import GRU, LSTM, Cell, Elman, PeepholeLSTM, ResetBeforeGRU
from recurra.convert.onnx import FED, FORMS, require_onnx
from recurra.convert.onnx_cells import (
    SIGMOID,
    TAKES_ALPHA,
    TAKES_BETA,
    TANH,
    Activation,
    OnnxGRU,
    OnnxLSTM,
    OnnxRNN,
)
from recurra.convert.onnx_layer import OnnxLayer
from recurra.convert.weights import Part, both_biases, reorder, single_layer
from recurra.errors import ArgumentError, ConversionError, choice_text
from recurra.layers.weight_hooks import compute_weights

LSTM_ACTIVATIONS, GRU_ACTIVATIONS = (SIGMOID, TANH, TANH), (SIGMOID, TANH)


class Equations(NamedTuple):
    """A cell in ONNX's terms: the operator, its activations for one direction, its other
    attributes.
    """

    op: str
    activations: tuple[Activation, ...]
    attributes: dict[str, Any]


def to_onnx_node(
    module: nn.Module, name: str = "", *, feeds: Iterable[str] = (), layout: int = 0
) -> tuple[Any, dict[str, np.ndarray]]:
    """Make the ONNX node of one layer, and its initializers.

        Elman -> RNN        LSTM, PeepholeLSTM -> LSTM      rows i f g o -> i o f c
        GRU -> GRU, linear_before_reset=1                   rows r z n -> z r h
        ResetBeforeGRU -> GRU, linear_before_reset=0  z's rows negated: sigmoid(-a) = 1 - sigmoid(a)

    Args:
        module: a recurra RNN, LSTM or GRU of one layer; a `Recurrent` of these cells, or a
            `Bidirectional` of two; an `OnnxLayer`, with all of its attributes.
        name: of the node; also begins the names of its initializers and outputs.
        feeds: optional inputs that the graph feeds, by name: "sequence_lens", "initial_h",
            "initial_c"; those of an `OnnxLayer`'s `fed` are fed too.
        layout: 0, X is (T, B, I); or 1, (B, T, I), which ONNX Runtime refuses.

    Returns:
        The NodeProto, with inputs X, W, R, ... and outputs Y, Y_h and, for an LSTM, Y_c; and the
        arrays by name.

    Raises:
        ConversionError: ONNX has no such operator, or one node cannot hold the layer; names what is
            in the way.
        ArgumentError: `feeds` or `layout` is out of range.
        MissingDependency: the onnx package is not installed.

    >>> node, arrays = to_onnx_node(recurra.LSTM(3, 4))
    >>> node.op_type, arrays["W"].shape, arrays["B"].shape
    ('LSTM', (1, 16, 3), (1, 32))
    """
    onnx = require_onnx("to_onnx_node")
    feeds = _check_options([*feeds, *getattr(module, "fed", ())], layout)
    parts, direction, arrays = _take_apart(module, layout)
    equations = [_equations(part.cell) for part in parts]
    first = equations[0]
    for other in equations[1:]:
        if (other.op, other.attributes) != (first.op, first.attributes):
            raise ConversionError(
                f"cell must be of one kind both ways in one node, got {parts[0].cell!r} and"
                f" {parts[1].cell!r}"
            )
    arrays = {**_arrays(first.op, parts), **arrays}
    prefix = f"{name}_" if name else ""
    roles = FORMS[first.op].inputs
    if unknown := [role for role in feeds if role not in roles]:
        raise ArgumentError(
            choice_text(f"feeds of {first.op}", unknown[0], [role for role in FED if role in roles])
        )
    inputs = [
        prefix + role if role == "X" or role in arrays or role in feeds else "" for role in roles
    ]
    while not inputs[-1]:
        inputs.pop()
    outputs = [prefix + role for role in ("Y", "Y_h", "Y_c")[: 3 if first.op == "LSTM" else 2]]
    attributes = {
        "hidden_size": arrays["R"].shape[-1],
        "direction": direction,
        "layout": layout,
        **first.attributes,
    }
    if not layout:
        del attributes["layout"]  # the attribute came with version 14
    node = onnx.helper.make_node(
        first.op, inputs, outputs, name=name, **attributes, **_spelt(first.op, equations)
    )
    return node, {prefix + role: array for role, array in arrays.items() if role not in feeds}


def _check_options(feeds: Iterable[str], layout: int) -> tuple[str, ...]:
    feeds = tuple(feeds)
    for role in feeds:
        if role not in FED:
            raise ArgumentError(choice_text("feeds", role, FED))
    if layout not in (0, 1):
        raise ArgumentError(f"layout must be 0 or 1, got {layout!r}")
    return feeds


def _take_apart(module: nn.Module, layout: int) -> tuple[list[Part], str, dict[str, np.ndarray]]:
    """The directions, what ONNX calls them, and the state and lengths that a layer itself holds."""
    if not isinstance(module, OnnxLayer):
        parts = single_layer(module, "one ONNX node")
        return parts, "bidirectional" if len(parts) == 2 else "forward", {}
    held = {f"initial_{state}": getattr(module, f"initial_{state}") for state in module.names}
    arrays = {
        role: value.transpose(0, 1) if layout else value
        for role, value in held.items()
        if value is not None
    }
    if module.sequence_lens is not None:
        arrays["sequence_lens"] = module.sequence_lens.to(torch.int32)
    compute_weights(module, at_evaluation=True)
    parts = [Part(layer.cell, layer.weights()) for layer in module.directions]
    return (
        parts,
        module.direction,
        {role: value.detach().cpu().numpy() for role, value in arrays.items()},
    )


def _equations(cell: Cell) -> Equations:
    """The operator and attributes of a cell."""
    if type(cell) is Elman:
        return Equations("RNN", (Activation(cell.nonlinearity.capitalize()),), {})
    if type(cell) in (LSTM, PeepholeLSTM):
        return Equations("LSTM", LSTM_ACTIVATIONS, {})
    if type(cell) in (GRU, ResetBeforeGRU):
        return Equations("GRU", GRU_ACTIVATIONS, {"linear_before_reset": int(type(cell) is GRU)})
    clip = {} if getattr(cell, "clip", None) is None else {"clip": cell.clip}  # type: ignore[attr-defined]
    if type(cell) is OnnxRNN:
        return Equations("RNN", (cell.f,), clip)
    if type(cell) is OnnxLSTM:
        return Equations(
            "LSTM", (cell.f, cell.g, cell.h), clip | {"input_forget": int(cell.input_forget)}
        )
    if type(cell) is OnnxGRU:
        return Equations(
            "GRU", (cell.f, cell.g), clip | {"linear_before_reset": int(cell.linear_before_reset)}
        )
    known = "Elman, LSTM, PeepholeLSTM, GRU, ResetBeforeGRU"
    raise ConversionError(f"cell must be one that ONNX has an operator for ({known}), got {cell!r}")


def _spelt(op: str, equations: list[Equations]) -> dict[str, Any]:
    """The attributes for activations other than the operator's own."""
    functions = [function for one in equations for function in one.activations]
    if [function.name for function in functions] == [*FORMS[op].activations] * len(equations):
        return {}
    found: dict[str, Any] = {"activations": [function.name for function in functions]}
    alphas = [function.alpha for function in functions if function.name in TAKES_ALPHA]
    betas = [function.beta for function in functions if function.name in TAKES_BETA]
    return (
        found
        | ({"activation_alpha": alphas} if alphas else {})
        | ({"activation_beta": betas} if betas else {})
    )


def _arrays(op: str, parts: list[Part]) -> dict[str, np.ndarray]:
    """W, R, B and P, rows in ONNX's order."""
    form = FORMS[op]

    def rows(part: Part, name: str, tensor: torch.Tensor) -> torch.Tensor:
        have = "".join(part.cell.blocks(name))
        return reorder(
            tensor, have, form.theirs, "z" if isinstance(part.cell, ResetBeforeGRU) else ""
        )

    named = {"W": "weight_ih", "R": "weight_hh"}
    found = {
        role: [rows(part, name, part.weights[name]) for part in parts]
        for role, name in named.items()
    }
    if any("bias_ih" in part.weights for part in parts):
        found["B"] = [
            torch.cat(list(map(rows, (part, part), named.values(), both_biases(part))))
            for part in parts
        ]
    if any("p_i" in part.weights for part in parts):
        zero = torch.zeros(3 * found["R"][0].shape[-1]).to(found["R"][0])
        found["P"] = [
            (
                torch.cat([part.weights[name] for name in ("p_i", "p_o", "p_f")])
                if "p_i" in part.weights
                else zero
            )
            for part in parts
        ]
    return {
        role: torch.stack([tensor.detach() for tensor in tensors]).cpu().numpy()
        for role, tensors in found.items()
    }
