"""To and from Keras' SimpleRNN, LSTM and GRU, on plain arrays: Keras itself is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.cells import GRU, LSTM, Cell, Elman, ResetBeforeGRU
from recurra.convert.weights import Part, both_biases, direction, layer_with, reorder, single_layer
from recurra.errors import ArgumentError, ConversionError, choice_text, shape_text
from recurra.layers import Bidirectional, Recurrent, SequenceModule
from recurra.layers.weight_hooks import compute_weights

KINDS = ("SimpleRNN", "LSTM", "GRU")
OURS = {Elman: "h", LSTM: "ifgo", GRU: "rzn", ResetBeforeGRU: "rzn"}
THEIRS = {Elman: "h", LSTM: "ifgo", GRU: "zrn", ResetBeforeGRU: "zrn"}
"""The rows' order by cell, in our letters (Keras writes c for our g and h for our n)."""


class Backward(SequenceModule):
    """A layer that runs from each row's end, as Keras' `go_backwards=True` does: its first output is of the last step.

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

    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Run a sequence; arguments and returns as for `Recurrent`, the output's steps in the order they ran."""
        compute_weights(self.layer)
        done = self.layer.scan(x, state, lengths=lengths, resets=resets, reverse=True)
        return done.h.flip(0), done.final

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        raise ArgumentError(f"step must be called on a module that can stream, got Backward: {self.streaming_obstacle()}")

    def streaming_obstacle(self) -> str | None:
        return "a layer that runs backward needs the whole future before its first output"


def from_keras(layer: Any) -> SequenceModule:
    """Make the layer of a built Keras SimpleRNN, LSTM or GRU, or of a Bidirectional around one.

    Kernels are transposed and rows put into our order, z's rows negated where Keras resets before the product,
    as in `from_keras_weights`. `return_sequences`, `return_state` and `stateful` do not matter: the output is
    always (T, B, H), time first, and the state is in your hands.

    Args:
        layer: the Keras layer; read through `get_config()` and `get_weights()`.

    Returns:
        A `Recurrent`; `Backward` around it for `go_backwards`; `Bidirectional` of two for Keras' Bidirectional.

    Raises:
        ConversionError: an option changes the equations in a way that no cell has; names it.
    """
    if type(layer).__name__ != "Bidirectional":
        return from_keras_weights(type(layer).__name__, layer.get_weights(), **_options(layer))
    if layer.merge_mode != "concat":
        raise ConversionError(f"merge_mode must be 'concat', got {layer.merge_mode!r}; convert forward_layer and backward_layer alone")
    there, back = (from_keras(one) for one in (layer.forward_layer, layer.backward_layer))
    if isinstance(there, Backward) or not isinstance(back, Backward):
        raise ConversionError("go_backwards must be False forward and True backward, got otherwise; convert the two alone")
    return Bidirectional(there, back.layer)


def _options(layer: Any) -> dict[str, Any]:
    """A Keras layer's options that matter here; those that no cell has are refused."""
    kind = type(layer).__name__
    if kind not in KINDS:
        raise ConversionError(choice_text("layer", kind, KINDS))
    config = layer.get_config()
    if (recurrent := config.get("recurrent_activation", "sigmoid")) != "sigmoid":
        raise ConversionError(f"recurrent_activation must be 'sigmoid', got {recurrent!r}")
    for name in ("dropout", "recurrent_dropout"):
        if config.get(name):
            raise ConversionError(
                f"{name} must be 0, got {config[name]}; it acts in training only: from_keras_weights takes the weights without it"
            )
    options = {"activation": config["activation"], "go_backwards": config.get("go_backwards", False)}
    return options | ({"reset_after": config.get("reset_after", False)} if kind == "GRU" else {})


def from_keras_weights(
    kind: str, weights: Sequence[Any], *, reset_after: bool = True, activation: str = "tanh", go_backwards: bool = False
) -> SequenceModule:
    """Make a layer from Keras' arrays, in the order of `get_weights()`.

        weight_ih, weight_hh = kernel^T, recurrent_kernel^T     rows i f c o -> i f g o, z r h -> r z n
        LSTM, SimpleRNN:          one bias
        GRU, reset_after=True:    the cell GRU; bias (2, 3H) gives both biases
        GRU, reset_after=False:   the cell ResetBeforeGRU, whose z takes the new where Keras' keeps the old:
                                  z's rows are negated, since sigmoid(-a) = 1 - sigmoid(a)

    Args:
        kind: "SimpleRNN", "LSTM" or "GRU".
        weights: kernel (I, G*H), recurrent_kernel (H, G*H) and, unless `use_bias` was False, bias.
        reset_after: the form of a GRU.
        activation: "tanh", for a SimpleRNN also "relu".
        go_backwards: the layer runs from each row's end.

    Returns:
        A `Recurrent`, in `Backward` if the layer goes backwards. Arrays are copied.

    Raises:
        ConversionError: names the option or the array that does not fit.

    >>> import numpy as np
    >>> from_keras_weights("LSTM", [np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16)])
    Recurrent(LSTM(), 3, 4, biases=1)
    """
    if kind not in KINDS:
        raise ConversionError(choice_text("kind", kind, KINDS))
    if activation != "tanh" and not (kind == "SimpleRNN" and activation == "relu"):
        also = " or 'relu'" if kind == "SimpleRNN" else ""
        raise ConversionError(f"activation of {kind} must be 'tanh'{also}, got {activation!r}")
    if len(weights) not in (2, 3):
        raise ConversionError(f"weights must be kernel, recurrent_kernel and perhaps bias, got {len(weights)} arrays; build the layer")
    cell: Cell = {"SimpleRNN": Elman(activation), "LSTM": LSTM(), "GRU": GRU() if reset_after else ResetBeforeGRU()}[kind]
    arrays = _checked(cell, [np.array(array) for array in weights])
    layer = layer_with(cell, {name: _ours(cell, torch.from_numpy(array)) for name, array in arrays.items()})
    return Backward(layer) if go_backwards else layer


def _checked(cell: Cell, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by our names, each (G*H, ...), after looking at their shapes."""
    kernel, recurrent = weights[:2]
    units = recurrent.shape[0] if recurrent.ndim else 0
    rows = units * len(cell.gates)
    bias_shape = (2, rows) if isinstance(cell, GRU) else (rows,)
    wanted = {"kernel": (*kernel.shape[:1], rows), "recurrent_kernel": (units, rows), "bias": bias_shape}
    for (name, shape), array in zip(wanted.items(), weights):
        if array.shape != shape or not rows:
            hint = "; reset_after says which form a GRU's bias has" if name == "bias" and isinstance(cell, (GRU, ResetBeforeGRU)) else ""
            raise ConversionError(f"{name} must have shape {shape_text(shape)}, got {shape_text(array.shape)}{hint}")
    biases = [*weights[2]] if bias_shape[0] == 2 and len(weights) == 3 else weights[2:]
    return {"weight_ih": kernel.T, "weight_hh": recurrent.T} | dict(zip(("bias_ih", "bias_hh"), biases))


def _ours(cell: Cell, rows: Tensor) -> Tensor:
    return reorder(rows, THEIRS[type(cell)], OURS[type(cell)], _negated(cell))  # type: ignore[index]


def _negated(cell: Cell) -> str:
    return "z" if isinstance(cell, ResetBeforeGRU) else ""


def to_keras_weights(module: nn.Module) -> list[np.ndarray]:
    """The arrays for `set_weights` of the Keras layer of the same equations.

        Elman           SimpleRNN(H, activation="tanh" or "relu")
        LSTM            LSTM(H)
        GRU             GRU(H, reset_after=True)
        ResetBeforeGRU  GRU(H, reset_after=False), z's rows negated

    each with `use_bias=False` if the layer has none; both biases are added where Keras has one. A
    bidirectional layer is `Bidirectional(...)` of these, a `Backward` one has `go_backwards=True`.

    Args:
        module: a `Recurrent`, a `Backward` or `Bidirectional` of it, or a recurra RNN, LSTM or GRU of one layer.

    Returns:
        kernel (I, G*H), recurrent_kernel (H, G*H) and bias; for both directions one after the other.

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
        if type(part.cell) not in OURS:
            names = ", ".join(kind.__name__ for kind in OURS)
            raise ConversionError(f"cell must be one that Keras has ({names}), got {part.cell!r}")
        if part.cell != parts[0].cell:
            raise ConversionError(f"cell must be the same both ways in Keras, got {parts[0].cell!r} and {part.cell!r}")
    use_bias = any("bias_ih" in part.weights for part in parts)
    return [array for part in parts for array in _arrays(part, use_bias)]


def _arrays(part: Part, use_bias: bool) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of one direction."""

    def theirs(rows: Tensor) -> np.ndarray:
        kind = type(part.cell)
        return reorder(rows.detach().cpu(), OURS[kind], THEIRS[kind], _negated(part.cell)).numpy()  # type: ignore[index]

    arrays = [theirs(part.weights["weight_ih"]).T.copy(), theirs(part.weights["weight_hh"]).T.copy()]
    if not use_bias:
        return arrays
    first, second = map(theirs, both_biases(part))
    return [*arrays, np.stack([first, second]) if isinstance(part.cell, GRU) else first + second]
