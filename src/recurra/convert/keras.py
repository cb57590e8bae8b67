"""To and from Keras' SimpleRNN, LSTM and GRU, on plain arrays: Keras itself is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells import Cell, ResetBeforeGRU
from recurra.convert.keras_forms import (
    DEFAULTS,
    GATES,
    cell_of,
    form,
    function,
    of_cudnn,
    plain,
    version,
)
from recurra.convert.onnx_cells import SIGMOID
from recurra.convert.weights import Part, both_biases, direction, layer_with, reorder, single_layer
from recurra.errors import ArgumentError, ConversionError, choice_text, shape_text
from recurra.layers import Bidirectional, Recurrent, SequenceModule
from recurra.layers.weight_hooks import compute_weights

KINDS = {
    "SimpleRNN": "SimpleRNN",
    "LSTM": "LSTM",
    "GRU": "GRU",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
}
"""Keras' layers, by what they are called there."""
OURS = {"SimpleRNN": "h", "LSTM": "ifgo", "GRU": "rzn"}
THEIRS = {"SimpleRNN": "h", "LSTM": "ifgo", "GRU": "zrn"}
"""The rows' order by kind, in our letters (Keras writes c for our g and h for our n)."""


class Backward(SequenceModule):
    """A layer that runs from each row's end, as Keras' `go_backwards=True` does: its first output
    is of the last step.

        y_t = h_(T-1-t), where h is the layer's scan in reverse

    Args:
        layer: a `Recurrent` layer.

    Raises:
        ArgumentError: `layer` is something else.

    >>> Backward(Recurrent(recurra.cells.GRU(), 3, 4))(torch.zeros(5, 1, 3))[0].shape
    torch.Size([5, 1, 4])
    """

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        if not isinstance(layer, Recurrent):
            raise ArgumentError(f"layer must be a Recurrent layer, got {type(layer).__name__}")
        self.layer = layer

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run a sequence; arguments and returns as for `Recurrent`, the output's steps in the order
        they ran.
        """
        compute_weights(self.layer)
        done = self.layer.scan(x, state, lengths=lengths, resets=resets, reverse=True)
        return done.h.flip(0), done.final

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        raise ArgumentError(
            "step must be called on a module that can stream, got Backward:"
            f" {self.streaming_obstacle()}"
        )

    def streaming_obstacle(self) -> str | None:
        return "a layer that runs backward needs the whole future before its first output"


def from_keras(layer: Any) -> SequenceModule:
    """Make the layer of a built Keras SimpleRNN, LSTM, GRU, CuDNNLSTM or CuDNNGRU, or of a
    Bidirectional around one.

    Kernels are transposed and rows put into our order, z's rows negated where Keras resets before
    the product, as in `from_keras_weights`. `return_sequences`, `return_state` and `stateful` do
    not matter: the output is always (T, B, H), time first, and the state is in your hands.

    Args:
        layer: the Keras layer; read through `get_config()` and `get_weights()`.

    Returns:
        A `Recurrent`; `Backward` around it for `go_backwards`; `Bidirectional` of two for Keras'
        Bidirectional.

    Raises:
        ConversionError: an option changes the equations in a way that no cell has; names it.
    """
    if type(layer).__name__ != "Bidirectional":
        options = _options(layer)
        return from_keras_weights(KINDS[type(layer).__name__], layer.get_weights(), **options)
    if layer.merge_mode != "concat":
        raise ConversionError(
            f"merge_mode must be 'concat', got {layer.merge_mode!r}; convert forward_layer and"
            " backward_layer alone"
        )
    there, back = (from_keras(one) for one in (layer.forward_layer, layer.backward_layer))
    if isinstance(there, Backward) or not isinstance(back, Backward):
        raise ConversionError(
            "go_backwards must be False forward and True backward, got otherwise; convert the two"
            " alone"
        )
    return Bidirectional(there, back.layer)


def _options(layer: Any) -> dict[str, Any]:
    """A Keras layer's options that matter here; those that no cell has are refused."""
    kind = type(layer).__name__
    if kind not in KINDS:
        raise ConversionError(choice_text("layer", kind, KINDS))
    config = layer.get_config()
    for name in ("dropout", "recurrent_dropout"):
        if config.get(name):
            raise ConversionError(
                f"{name} must be 0, got {config[name]}; it acts in training only:"
                " from_keras_weights takes the weights without it"
            )
    options = {
        "activation": config.get("activation", "tanh"),
        "go_backwards": config.get("go_backwards", False),
    }
    names = {
        "SimpleRNN": (),
        "LSTM": ("recurrent_activation",),
        "GRU": ("recurrent_activation", "reset_after"),
    }[KINDS[kind]]
    return options | {name: config.get(name) for name in names} | {"keras": version(layer)}


def from_keras_weights(
    kind: str,
    weights: Sequence[Any],
    *,
    recurrent_activation: str | None = None,
    activation: str = "tanh",
    reset_after: bool | None = None,
    go_backwards: bool = False,
    keras: int | None = None,
) -> SequenceModule:
    """Make a layer from Keras' arrays, in the order of `get_weights()`.

        weight_ih, weight_hh = kernel^T, recurrent_kernel^T  rows i f c o -> i f g o, z r h -> r z n
        LSTM, SimpleRNN:          one bias
        GRU, reset_after=True:    the cell GRU; bias (2, 3H) gives both biases
        GRU, reset_after=False:   the cell ResetBeforeGRU, whose z takes the new; Keras' keeps the
                                  old: z's rows are negated, since sigmoid(-a) = 1 - sigmoid(a)
        CuDNNLSTM, CuDNNGRU:      known by their bias, (8H,) or (6H,); put into the plain layers'
                                  form

    With other activations the cell is an `OnnxRNN`, `OnnxLSTM` or `OnnxGRU`, whose z keeps the old
    as Keras' does.

    Args:
        kind: "SimpleRNN", "LSTM" or "GRU".
        weights: kernel (I, G*H), recurrent_kernel (H, G*H) and, unless `use_bias` was False, bias.
        recurrent_activation: of the gates of an LSTM or GRU, "sigmoid", "hard_sigmoid", "relu",
            "tanh" or "linear"; must be said, but for CuDNN's arrays, since it differs between
            versions of Keras.
        activation: one of the same.
        reset_after: the form of a GRU; None to read it off the bias.
        go_backwards: the layer runs from each row's end.
        keras: 2 or 3, whose "hard_sigmoid" it is: clip(0.2 x + 0.5, 0, 1), or relu6(x + 3) / 6.

    Returns:
        A `Recurrent`, in `Backward` if the layer goes backwards. Arrays are copied.

    Raises:
        ConversionError: names the option or the array that does not fit, or that must be said.

    >>> import numpy as np
    >>> from_keras_weights(
    ...     "LSTM",
    ...     [np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16)],
    ...     recurrent_activation="sigmoid",
    ... )
    Recurrent(LSTM(), 3, 4, biases=1)
    """
    if kind not in OURS:
        raise ConversionError(choice_text("kind", kind, OURS))
    if len(weights) not in (2, 3):
        raise ConversionError(
            f"weights must be kernel, recurrent_kernel and perhaps bias, got {len(weights)} arrays;"
            " build the layer"
        )
    arrays = [np.array(array) for array in weights]
    if cudnn := of_cudnn(kind, arrays):
        _check_cudnn(kind, recurrent_activation, activation, reset_after)
        arrays, recurrent_activation = (
            plain(kind, _shaped(kind, arrays, (2 * GATES[kind] * len(arrays[1]),))),
            "sigmoid",
        )
    if kind == "SimpleRNN" and recurrent_activation is not None:
        raise ConversionError(
            "recurrent_activation must be left out for SimpleRNN, which has no gates, got"
            f" {recurrent_activation!r}"
        )
    if kind != "SimpleRNN" and recurrent_activation is None:
        raise ConversionError(
            f"recurrent_activation must be given for {kind}, got none; {DEFAULTS}: the layer's"
            " config says it"
        )
    after = cudnn or (
        _resets_after(arrays) if reset_after is None and kind == "GRU" else bool(reset_after)
    )
    gate = (
        SIGMOID
        if kind == "SimpleRNN"
        else function("recurrent_activation", recurrent_activation, keras)
    )
    cell = cell_of(kind, gate, function("activation", activation, keras), after)
    rows = GATES[kind] * (arrays[1].shape[0] if arrays[1].ndim else 0)
    kernel, recurrent, *biases = _shaped(
        kind, arrays, (2, rows) if kind == "GRU" and after else (rows,)
    )
    biases = [*biases[0]] if biases and biases[0].ndim == 2 else biases
    named = {"weight_ih": kernel.T, "weight_hh": recurrent.T} | dict(
        zip(("bias_ih", "bias_hh"), biases)
    )
    layer = layer_with(
        cell, {name: _ours(cell, torch.from_numpy(array)) for name, array in named.items()}
    )
    return Backward(layer) if go_backwards else layer


def _check_cudnn(
    kind: str, recurrent_activation: str | None, activation: str, reset_after: bool | None
) -> None:
    """Raise where an option is not that of a CuDNN layer, which has no other."""
    wanted = {
        "recurrent_activation": (recurrent_activation, "sigmoid"),
        "activation": (activation, "tanh"),
    }
    for name, (value, only) in (
        wanted | ({"reset_after": (reset_after, True)} if kind == "GRU" else {})
    ).items():
        if value not in (None, only):
            raise ConversionError(
                f"{name} must be {only!r} for the arrays of a CuDNN{kind}, which its bias says, got"
                f" {value!r}"
            )


def _resets_after(weights: list[np.ndarray]) -> bool:
    """The form of a GRU, by its bias."""
    if len(weights) == 2:
        why = "True is the default of tf.keras 2 and Keras 3, False of Keras 2"
        raise ConversionError(
            f"reset_after must be given for a GRU without bias, got none; {why}: the layer's config"
            " says it"
        )
    return weights[2].ndim == 2


def _shaped(kind: str, weights: list[np.ndarray], bias: tuple[int, ...]) -> list[np.ndarray]:
    """The arrays, after looking at their shapes."""
    kernel, recurrent = weights[:2]
    units = recurrent.shape[0] if recurrent.ndim else 0
    rows = units * GATES[kind]
    wanted = {"kernel": (*kernel.shape[:1], rows), "recurrent_kernel": (units, rows), "bias": bias}
    for (name, shape), array in zip(wanted.items(), weights):
        if array.shape != shape or not rows:
            hint = (
                "; reset_after says which form a GRU's bias has"
                if name == "bias" and kind == "GRU"
                else ""
            )
            raise ConversionError(
                f"{name} must have shape {shape_text(shape)}, got {shape_text(array.shape)}{hint}"
            )
    return weights


def _ours(cell: Cell, rows: Tensor) -> Tensor:
    kind, _ = form(cell)
    return reorder(rows, THEIRS[kind], OURS[kind], _negated(cell))


def _negated(cell: Cell) -> str:
    return "z" if isinstance(cell, ResetBeforeGRU) else ""


def to_keras_weights(module: nn.Module) -> list[np.ndarray]:
    """The arrays for `set_weights` of the Keras layer of the same equations.

        Elman           SimpleRNN(H, activation="tanh" or "relu")
        LSTM            LSTM(H)
        GRU             GRU(H, reset_after=True)
        ResetBeforeGRU  GRU(H, reset_after=False), z's rows negated
        OnnxRNN, ...    the same with the activations of the cell, as `from_keras` makes it

    each with `use_bias=False` if the layer has none; both biases are added where Keras has one. A
    bidirectional layer is `Bidirectional(...)` of these, a `Backward` one has `go_backwards=True`.

    Args:
        module: a `Recurrent`, a `Backward` or `Bidirectional` of it, or a recurra RNN, LSTM or GRU
            of one layer.

    Returns:
        kernel (I, G*H), recurrent_kernel (H, G*H) and bias; for both directions one after the
        other.

    Raises:
        ConversionError: Keras has no layer of these equations; names the cell or the option.

    >>> [array.shape for array in to_keras_weights(recurra.GRU(3, 4))]
    [(3, 12), (4, 12), (2, 12)]
    """
    if type(module) is Backward:
        compute_weights(module, at_evaluation=True)
        parts = [Part(*direction(module.layer, "layer of the Backward", "Keras"))]
    else:
        parts = single_layer(module, "Keras")
    for part in parts:
        form(part.cell)
        if part.cell != parts[0].cell:
            raise ConversionError(
                f"cell must be the same both ways in Keras, got {parts[0].cell!r} and {part.cell!r}"
            )
    use_bias = any("bias_ih" in part.weights for part in parts)
    return [array for part in parts for array in _arrays(part, use_bias)]


def _arrays(part: Part, use_bias: bool) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of one direction."""

    kind, after = form(part.cell)

    def theirs(rows: Tensor) -> np.ndarray:
        return reorder(rows.detach().cpu(), OURS[kind], THEIRS[kind], _negated(part.cell)).numpy()

    arrays = [
        theirs(part.weights["weight_ih"]).T.copy(),
        theirs(part.weights["weight_hh"]).T.copy(),
    ]
    if not use_bias:
        return arrays
    first, second = map(theirs, both_biases(part))
    return [*arrays, np.stack([first, second]) if after else first + second]
