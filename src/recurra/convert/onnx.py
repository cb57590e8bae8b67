"""From an ONNX RNN, LSTM or GRU node to a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.cells import GRU, LSTM, Cell, Elman, PeepholeLSTM, ResetBeforeGRU
from recurra.convert.onnx_cells import (
    FUNCTIONS,
    TAKES_ALPHA,
    TAKES_BETA,
    Activation,
    OnnxGRU,
    OnnxLSTM,
    OnnxRNN,
)
from recurra.convert.onnx_layer import OnnxLayer
from recurra.convert.onnx_reading import array_of, visiting
from recurra.convert.weights import layer_with, reorder
from recurra.errors import ConversionError, MissingDependency, choice_text, quoted, shape_text


class Form(NamedTuple):
    """What an operator looks like.

    Attributes:
        theirs, ours: the gates' letters in the order of ONNX's rows and of ours (ONNX writes c for
            g, h for n).
        activations: the default ones of one direction.
        own: the attributes that only this operator has.
        inputs: the inputs' names, in order.
    """

    theirs: str
    ours: str
    activations: tuple[str, ...]
    own: tuple[str, ...]
    inputs: tuple[str, ...]


FIRST = ("X", "W", "R", "B", "sequence_lens", "initial_h")
FORMS = {
    "RNN": Form("h", "h", ("Tanh",), (), FIRST),
    "LSTM": Form(
        "iofg", "ifgo", ("Sigmoid", "Tanh", "Tanh"), ("input_forget",), (*FIRST, "initial_c", "P")
    ),
    "GRU": Form("zrn", "rzn", ("Sigmoid", "Tanh"), ("linear_before_reset",), FIRST),
}
COMMON = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "layout",
)
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "HardSigmoid": 0.2, "Elu": 1.0}
BETA = {"HardSigmoid": 0.5, "Affine": 0.0}
"""ONNX's default constants. Affine has no default alpha and ScaledTanh none at all. ONNX Runtime's
own default threshold of ThresholdedRelu is 0, against ONNX's text; the text is followed.
"""


FED = ("sequence_lens", "initial_h", "initial_c")
"""The inputs that need not be initializers: a graph may give them at each call."""


def from_onnx_node(node: Any, initializers: Any) -> OnnxLayer:
    """Make the layer of an ONNX RNN, LSTM or GRU node, exactly.

    Rows go from ONNX's order to ours: i o f c -> i f g o, z r h -> r z n. A node with the standard
    activations and no clip or input_forget becomes a built-in cell, which every method can run:
    Elman, LSTM, PeepholeLSTM, GRU (linear_before_reset=1) or ResetBeforeGRU (0; z's rows are
    negated, since ours takes the new with z where ONNX keeps the old, and sigmoid(-a) = 1 -
    sigmoid(a)). Any other becomes an `OnnxRNN`, `OnnxLSTM` or `OnnxGRU`. `clip` bounds the gates'
    inputs; `layout` says how the node's initial states lie, while the layer always takes (T, B, I).

    Args:
        node: an onnx.NodeProto.
        initializers: by name, NumPy arrays or TensorProtos; or a list of TensorProtos, as a graph
            holds them. All inputs but X must be here, and but sequence_lens, initial_h and
            initial_c: what of these is an input of the graph must be given at each call, as
                `lengths` and `state`.

    Returns:
        An `OnnxLayer`: y (T, B, D*H), state (D, B, H), for an LSTM (h, c).

    Raises:
        ConversionError: an attribute or input cannot be taken exactly; names it.
        MissingDependency: the onnx package is not installed.

    Source: the ONNX operators RNN, LSTM and GRU, versions 7, 14 and 22.

    >>> import numpy as np, onnx
    >>> node = onnx.helper.make_node("GRU", ["X", "W", "R"], ["Y"], linear_before_reset=1)
    >>> from_onnx_node(node, {"W": np.zeros((1, 12, 3)), "R": np.zeros((1, 12, 4))}).directions[0]
    Recurrent(GRU(), 3, 4, biases=0)
    """
    onnx = require_onnx("from_onnx_node")
    with visiting(node):
        return _layer(node, initializers, onnx)


def _layer(node: Any, initializers: Any, onnx: ModuleType) -> OnnxLayer:
    if node.op_type not in FORMS or node.domain not in ("", "ai.onnx"):
        raise ConversionError(
            choice_text(
                "op_type",
                node.op_type if not node.domain else f"{node.domain}.{node.op_type}",
                FORMS,
            )
        )
    form = FORMS[node.op_type]
    attributes = _attributes(node, form, onnx)
    known = (
        initializers
        if isinstance(initializers, Mapping)
        else {tensor.name: tensor for tensor in initializers}
    )
    inputs = _inputs(node, form, known, onnx)
    _check_shapes(form, attributes, inputs)
    cells = _cells(node.op_type, attributes, "P" in inputs)
    layers = [
        layer_with(cell, _weights(form, cell, inputs, number)) for number, cell in enumerate(cells)
    ]
    axes = (1, 0, 2) if attributes["layout"] else (0, 1, 2)
    states = {
        name[-1]: inputs[name].permute(axes).contiguous()
        for name in ("initial_h", "initial_c")
        if name in inputs
    }
    fed = [
        role
        for role, name in zip(form.inputs, node.input)
        if name and role in FED and role not in inputs
    ]
    return OnnxLayer(layers, attributes["direction"], states, inputs.get("sequence_lens"), fed)


def require_onnx(what: str) -> ModuleType:
    """The onnx package, imported when it is needed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise MissingDependency(
            f"recurra.convert.{what} needs the onnx package; install it with: pip install onnx"
        ) from None
    return onnx


def _attributes(node: Any, form: Form, onnx: ModuleType) -> dict[str, Any]:
    """The node's attributes with their defaults, each looked at."""
    found: dict[str, Any] = {"direction": "forward", "layout": 0, "clip": None}
    for attribute in node.attribute:
        if attribute.name not in (*COMMON, *form.own):
            raise ConversionError(
                choice_text(f"attribute of {node.op_type}", attribute.name, (*COMMON, *form.own))
            )
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    if found["direction"] not in DIRECTIONS:
        raise ConversionError(choice_text("direction", found["direction"], DIRECTIONS))
    if found["clip"] is not None and not found["clip"] > 0:
        raise ConversionError(
            f"clip must be positive, got {quoted(found['clip'])}; leave it out for no clip"
        )
    for name in ("layout", *form.own):
        if found.setdefault(name, 0) not in (0, 1):
            raise ConversionError(f"{name} must be 0 or 1, got {quoted(found[name])}")
    return found


def _inputs(node: Any, form: Form, known: Mapping[str, Any], onnx: ModuleType) -> dict[str, Tensor]:
    """The node's inputs but X, and but those that a graph gives, as tensors of our own, by ONNX's
    names.
    """
    names = {role: name for role, name in zip(form.inputs, node.input) if name and role != "X"}
    found = {}
    for role, name in names.items():
        if name not in known and role in FED:
            continue
        if name not in known:
            raise ConversionError(f"{role} must be an initializer, got {name!r}, which is none")
        value = known[name]
        array = np.array(array_of(value, role) if isinstance(value, onnx.TensorProto) else value)
        kinds = ("int32", "int64") if role == "sequence_lens" else ("float16", "float32", "float64")
        if array.dtype.name not in kinds:
            raise ConversionError(f"{role} must be {' or '.join(kinds)}, got {array.dtype.name}")
        found[role] = torch.from_numpy(array)
    for role in ("W", "R"):
        if role not in found:
            raise ConversionError(f"{role} must be given, got a node without it")
    return found


def _check_shapes(form: Form, attributes: dict[str, Any], inputs: dict[str, Tensor]) -> None:
    """Raise unless the inputs fit each other, the direction and hidden_size."""
    directions, hidden = DIRECTIONS[attributes["direction"]], inputs["R"].shape[-1]
    if attributes.get("hidden_size", hidden) != hidden:
        raise ConversionError(
            f"hidden_size must be {hidden}, as R has it, got {quoted(attributes['hidden_size'])}"
        )
    rows = len(form.theirs) * hidden
    batch: Iterable[int | str] = (
        ("B", directions, hidden) if attributes["layout"] else (directions, "B", hidden)
    )
    wanted: dict[str, Iterable[int | str]] = {
        "W": (directions, rows, "I"),
        "R": (directions, rows, hidden),
        "B": (directions, 2 * rows),
        "P": (directions, 3 * hidden),
        "sequence_lens": ("B",),
        "initial_h": batch,
        "initial_c": batch,
    }
    for name, tensor in inputs.items():
        shape = tuple(wanted[name])
        if tensor.ndim != len(shape) or any(
            want != got for want, got in zip(shape, tensor.shape) if isinstance(want, int)
        ):
            raise ConversionError(
                f"{name} must have shape {shape_text(shape)} for direction"
                f" {attributes['direction']!r}, got {shape_text(tensor.shape)}"
            )
        if name != "sequence_lens" and tensor.dtype != inputs["W"].dtype:
            raise ConversionError(
                f"{name} must have the dtype of W, {inputs['W'].dtype}, got {tensor.dtype}"
            )


def _cells(op: str, attributes: dict[str, Any], peepholes: bool) -> list[Cell]:
    """The cell of each direction: a built-in one where its equations are the node's."""
    return [
        _cell(op, functions, attributes, peepholes)
        for functions in read_activations(op, attributes)
    ]


def _cell(
    op: str, functions: tuple[Activation, ...], attributes: dict[str, Any], peepholes: bool
) -> Cell:
    clip = attributes["clip"]
    standard = clip is None and functions == tuple(map(Activation, FORMS[op].activations))
    if op == "RNN":
        plain = clip is None and functions[0].name in ("Tanh", "Relu")
        return Elman(functions[0].name.lower()) if plain else OnnxRNN(functions[0], clip)
    if op == "LSTM":
        if standard and not attributes["input_forget"]:
            return PeepholeLSTM() if peepholes else LSTM()
        f, g, h = functions
        return OnnxLSTM(f, g, h, clip, bool(attributes["input_forget"]), peepholes)
    if standard:
        return GRU() if attributes["linear_before_reset"] else ResetBeforeGRU()
    f, g = functions
    return OnnxGRU(f, g, clip, bool(attributes["linear_before_reset"]))


def read_activations(op: str, attributes: dict[str, Any]) -> list[tuple[Activation, ...]]:
    """The activations of each direction.

    Constants are consumed in order by the activations that take one, as ONNX Runtime does it;
    ONNX's defaults stand where the lists end.

    Raises:
        ConversionError: the number of activations or constants does not fit; names the attribute.

    >>> read_activations(
    ...     "RNN",
    ...     {"direction": "forward", "activations": [b"LeakyRelu"], "activation_alpha": [0.5]},
    ... )
    [(LeakyRelu(0.5),)]
    """
    default, directions = FORMS[op].activations, DIRECTIONS[attributes["direction"]]
    given = [
        name.decode() if isinstance(name, bytes) else name
        for name in attributes.get("activations", ())
    ]
    names = [_canonical(name) for name in given] or [*default] * directions
    if op == "RNN" and directions == 1 and names == ["Tanh", "Tanh"]:
        names = names[:1]  # the schema's own default, spelt out, has two for any direction
    if len(names) != len(default) * directions:
        wanted = f"{len(default)} for each of {directions}" if directions > 1 else str(len(default))
        raise ConversionError(
            f"activations of {op} must be {wanted}, got {len(names)}: {', '.join(names)}"
        )
    alphas, betas = (list(attributes.get(f"activation_{kind}", ())) for kind in ("alpha", "beta"))
    functions = [
        Activation(
            name,
            _constant("alpha", name, alphas, ALPHA) if name in TAKES_ALPHA else 0.0,
            _constant("beta", name, betas, BETA) if name in TAKES_BETA else 0.0,
        )
        for name in names
    ]
    for kind, left in (("alpha", alphas), ("beta", betas)):
        if left:
            raise ConversionError(
                f"activation_{kind} must have one value for each activation that takes one, got"
                f" {len(left)} more for {', '.join(names)}"
            )
    return [tuple(functions[i : i + len(default)]) for i in range(0, len(functions), len(default))]


def _canonical(name: str) -> str:
    """ONNX's spelling of an activation; case does not matter."""
    spellings = {known.lower(): known for known in FUNCTIONS}
    if name.lower() not in spellings:
        raise ConversionError(choice_text("activations", name, FUNCTIONS))
    return spellings[name.lower()]


def _constant(kind: str, name: str, given: list[float], defaults: Mapping[str, float]) -> float:
    if given:
        return given.pop(0)
    if name not in defaults:
        raise ConversionError(
            f"activation_{kind} must be given for {name}, which has no default, got none"
        )
    return float(
        np.float32(defaults[name])
    )  # attributes are float32: a default must equal the same value spelt out


def _weights(form: Form, cell: Cell, inputs: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """One direction's weights by our names, rows in our order."""
    negate = "z" if isinstance(cell, ResetBeforeGRU) else ""
    found = {"weight_ih": inputs["W"][number], "weight_hh": inputs["R"][number]}
    if "B" in inputs:
        found["bias_ih"], found["bias_hh"] = inputs["B"][number].chunk(2)
    weights = {
        name: reorder(rows, form.theirs, "".join(cell.blocks(name)), negate)
        for name, rows in found.items()
    }
    if "P" in inputs:
        weights |= dict(zip(("p_i", "p_o", "p_f"), inputs["P"][number].chunk(3)))
    return weights
