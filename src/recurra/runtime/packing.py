"""A network as the native module's `Model`: every layer a tuple, every weight an address and a
length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recurra.errors import ProgramError
from recurra.kernels.encode import encode, load_native
from recurra.network import (
    ACTIVATIONS,
    PRECISIONS,
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Matrix,
    Network,
    Recurrent,
    Residual,
)

if TYPE_CHECKING:
    from recurra import native

NOTHING = (0, 0)
NONE = (0, NOTHING, NOTHING, NOTHING, 0, 0)
Place = tuple[int, int]
"""Where an array begins, and how many numbers lie there."""
KINDS: dict[type, str] = {
    Embedding: "embedding",
    Linear: "linear",
    LayerNorm: "norm",
    Activation: "activation",
    Conv: "conv",
    Recurrent: "recurrent",
    Residual: "residual",
    AdaptiveSoftmax: "adaptive",
}


def pack(network: Network) -> native.Model:
    """The network with its weights packed for this machine.

    Raises:
        MissingDependency: the native module is not there.
        ProgramError: a cell's program is larger than the native module takes.
    """
    load_native()
    from recurra import native

    alive: list[Any] = []
    try:
        return native.Model([_layer(layer, alive) for layer in network.layers], alive)
    except ValueError as error:
        raise ProgramError(f"the native module cannot run the network: {error}") from None


def _layer(layer: Layer, alive: list[Any]) -> tuple[Any, ...]:
    """A layer as native.pyi says it; what its addresses point to is added to `alive`."""
    from recurra import native

    kind = native.KINDS.index(KINDS[type(layer)])
    weights: list[Any] = []
    gains: list[Place] = []
    biases: list[Place] = []
    params: list[Place] = []
    program, numbers, eps, inside = None, (0, 1, 1, 1), 0.0, []
    if isinstance(layer, Embedding):
        weights = [_weight(layer.weight, None, alive)]
    elif isinstance(layer, Linear):
        weights = [_weight(layer.weight, layer.bias, alive)]
    elif isinstance(layer, AdaptiveSoftmax):
        weights = [
            _weight(matrix, None if number else layer.bias, alive)
            for number, matrix in enumerate(layer.named_matrices().values())
        ]
    elif isinstance(layer, LayerNorm):
        gains, biases, eps = [_place(layer.gain, alive)], [_place(layer.bias, alive)], layer.eps
    elif isinstance(layer, Activation):
        numbers = (ACTIVATIONS.index(layer.kind), 1, 1, 1)
    elif isinstance(layer, Conv):
        weights, numbers = (
            [_weight(layer.weight, layer.bias, alive)],
            (0, layer.kernel, layer.dilation, layer.groups),
        )
    elif isinstance(layer, Recurrent):
        weights, gains, biases, params, program = _recurrent(layer, alive)
    else:
        inside = [_layer(each, alive) for each in layer.inside]
    return kind, *layer.widths, weights, gains, biases, params, program, numbers, eps, inside


def _recurrent(
    layer: Recurrent, alive: list[Any]
) -> tuple[list[Any], list[Place], list[Place], list[Place], native.Program]:
    """Weights, gains and biases of the input's product and of each native phase; the cell's
    parameters; its program.
    """
    code = encode(layer.program, layer.hidden, tuple(layer.state_widths.values()), layer.widths[0])
    alive.append(code)
    vectors, units = layer.vectors, layer.units
    normed = bool(layer.program.input_norm)
    bias = vectors.get("bias_ih")
    weights: list[Any] = [_weight(layer.matrices["weight_ih"], None if normed else bias, alive)]
    gains, biases = [_place(vectors.get("gain_ih"), alive)], [_place(bias, alive)]
    for product in (body.product for body in layer.program.bodies):
        if product is None:
            weights.append(NONE)
            gains.append(NOTHING)
            biases.append(NOTHING)
            continue
        rows = product.rows(units[product.width])
        shift, gain = (
            vectors[str(name)][rows] if name in vectors else None for name in product.vectors[1:]
        )
        own = shift if product.adds_bias else None
        weight = product.weight and _weight(_rows(layer.matrices[product.weight], rows), own, alive)
        weights.append(weight or NONE)
        gains.append(_place(gain, alive))
        biases.append(_place(shift, alive))
    return (
        weights,
        gains,
        biases,
        [_place(vectors[name], alive) for name in code.params],
        code.native,
    )


def _rows(matrix: Matrix, part: slice) -> Matrix:
    return Matrix(matrix.values[part], None if matrix.scales is None else matrix.scales[part])


def _weight(
    matrix: Matrix, bias: Any, alive: list[Any]
) -> tuple[int, Place, Place, Place, int, int]:
    values, scales, shift = (_place(array, alive) for array in (matrix.values, matrix.scales, bias))
    return PRECISIONS.index(matrix.precision), values, scales, shift, *matrix.shape


def _place(array: Any, alive: list[Any]) -> Place:
    if array is None:
        return NOTHING
    array = np.ascontiguousarray(array)
    alive.append(array)
    return array.__array_interface__["data"][0], array.size
