"""What a Keras layer's options and arrays mean: its cell, and the arrays of CuDNN layers as those
of the plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurra.cells import GRU, LSTM, Cell, Elman, ResetBeforeGRU
from recurra.convert.onnx_cells import SIGMOID, TANH, Activation, OnnxGRU, OnnxLSTM, OnnxRNN
from recurra.errors import ConversionError, choice_text

GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
FUNCTIONS = {
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": Activation("Relu"),
    "linear": Activation("Affine", 1.0, 0.0),
}
HARD_SIGMOID = {2: Activation("HardSigmoid", 0.2, 0.5), 3: Activation("HardSigmoid", 1 / 6, 0.5)}
"""By Keras' version: clip(0.2 x + 0.5, 0, 1), and relu6(x + 3) / 6."""
DEFAULTS = (
    "'hard_sigmoid' is the default up to Keras 2.2, 'sigmoid' of later ones and of tf.keras 2"
)


def function(option: str, name: Any, keras: int | None) -> Activation:
    """The activation that Keras calls by a name.

    Args:
        option: what is said, for a message.
        name: Keras' own.
        keras: 2 or 3, which means by "hard_sigmoid" two things.

    Raises:
        ConversionError: it is not known, or not told which.

    >>> function("activation", "hard_sigmoid", 2)
    HardSigmoid(0.2, 0.5)
    """
    if name == "hard_sigmoid":
        if keras not in HARD_SIGMOID:
            both = "keras=2 for clip(0.2 x + 0.5, 0, 1), keras=3 for relu6(x + 3) / 6"
            raise ConversionError(
                f"keras must say whose hard_sigmoid it is, 2 or 3, got {keras!r}; {both}"
            )
        return HARD_SIGMOID[keras]
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise ConversionError(choice_text(option, name, [*FUNCTIONS, "hard_sigmoid"]))
    return FUNCTIONS[name]


def version(layer: Any) -> int | None:
    """Whose hard_sigmoid a layer has, by what its own function gives; None where it has none."""
    for option in ("recurrent_activation", "activation"):
        if layer.get_config().get(option) == "hard_sigmoid":
            value = float(getattr(layer, option)(np.float32(1)))
            return next(
                (
                    keras
                    for keras, known in HARD_SIGMOID.items()
                    if abs(value - known.alpha - known.beta) < 1e-3
                ),
                None,
            )
    return None


def cell_of(kind: str, gate: Activation, inner: Activation, reset_after: bool) -> Cell:
    """The cell of a layer: a built-in one where its equations are the layer's.

    Args:
        kind: "SimpleRNN", "LSTM" or "GRU".
        gate: its recurrent activation.
        inner: its activation.
        reset_after: the form of a GRU.

    >>> cell_of("GRU", SIGMOID, TANH, reset_after=False), cell_of(
    ...     "LSTM", SIGMOID, FUNCTIONS["relu"], reset_after=False
    ... ).h
    (ResetBeforeGRU(), Relu)
    """
    usual = gate == SIGMOID and inner == TANH
    if kind == "SimpleRNN":
        return Elman(inner.name.lower()) if inner.name in ("Tanh", "Relu") else OnnxRNN(inner)
    if kind == "LSTM":
        return LSTM() if usual else OnnxLSTM(gate, inner, inner)
    if usual:
        return GRU() if reset_after else ResetBeforeGRU()
    return OnnxGRU(gate, inner, linear_before_reset=reset_after)


def form(cell: Cell) -> tuple[str, bool]:
    """The Keras layer of a cell, and for a GRU whether it resets after the product.

    Raises:
        ConversionError: Keras has no layer of these equations.

    >>> form(GRU()), form(LSTM())
    (('GRU', True), ('LSTM', False))
    """
    kinds: dict[type, tuple[str, bool]] = {
        Elman: ("SimpleRNN", False),
        OnnxRNN: ("SimpleRNN", False),
        LSTM: ("LSTM", False),
        OnnxLSTM: ("LSTM", False),
        GRU: ("GRU", True),
        ResetBeforeGRU: ("GRU", False),
        OnnxGRU: ("GRU", getattr(cell, "linear_before_reset", False)),
    }
    known = type(cell) in kinds
    if known and isinstance(cell, (OnnxRNN, OnnxLSTM, OnnxGRU)):
        inner = cell.f if isinstance(cell, OnnxRNN) else cell.g
        functions = {*FUNCTIONS.values(), *HARD_SIGMOID.values()}
        known = {inner, cell.f} <= functions and cell == cell_of(
            kinds[type(cell)][0], cell.f, inner, kinds[type(cell)][1]
        )
    if not known:
        names = ", ".join(each.__name__ for each in (Elman, LSTM, GRU, ResetBeforeGRU))
        raise ConversionError(
            f"cell must be one that Keras has ({names}, with its activations), got {cell!r}"
        )
    return kinds[type(cell)]


def of_cudnn(kind: str, weights: Sequence[np.ndarray]) -> bool:
    """Whether arrays are those of a CuDNNLSTM or CuDNNGRU, whose bias is one row of both."""
    units = weights[1].shape[0] if len(weights) == 3 and weights[1].ndim else 0
    return kind != "SimpleRNN" and units > 0 and weights[2].shape == (2 * GATES[kind] * units,)


def plain(kind: str, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays of a CuDNN layer as Keras' plain layer has them.

    Each gate's block of the kernel is written column by column, each of the recurrent kernel
    transposed; the LSTM's two biases are added, the GRU's put one over the other.

    Source: the conversion that Keras 2 and tf.keras 2 do as they load a file's weights.
    """
    kernel, recurrent, bias = weights
    blocks = np.split(kernel, GATES[kind], 1)
    kernel = np.concatenate([block.T.reshape(block.shape, order="F") for block in blocks], 1)
    recurrent = np.concatenate([block.T for block in np.split(recurrent, GATES[kind], 1)], 1)
    both = bias.reshape(2, -1)
    return [kernel, recurrent, both if kind == "GRU" else both.sum(0)]
