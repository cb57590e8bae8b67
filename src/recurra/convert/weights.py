"""What every conversion does to weights: put blocks of rows into another order, make a layer, take
one apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.errors import ConversionError
from recurra.layers import GRU, LSTM, RNN, Bidirectional, Recurrent
from recurra.layers.weight_hooks import compute_weights


class Part(NamedTuple):
    """One direction of one layer: its cell and its weights by name."""

    cell: Cell
    weights: dict[str, Tensor]


def reorder(rows: Tensor, have: str, want: str, negate: str = "") -> Tensor:
    """Put the blocks of a weight or bias, one letter each, into another order; some change sign,
    and one that was not there is zero.

    Args:
        rows: (G*H, ...), in blocks in the order `have`.
        have, want: the gates' letters.
        negate: letters whose blocks change sign, because sigmoid(-a) = 1 - sigmoid(a).

    >>> reorder(torch.tensor([1.0, 2.0, 3.0]), have="zrn", want="rzn", negate="z")
    tensor([ 2., -1.,  3.])
    """
    blocks = dict(zip(have, rows.chunk(len(have))))
    zero = torch.zeros_like(blocks[have[0]])
    return torch.cat([-blocks[gate] if gate in negate else blocks.get(gate, zero) for gate in want])


def layer_with(cell: Cell, weights: dict[str, Tensor]) -> Recurrent:
    """Make a `Recurrent` layer that holds these weights.

    >>> layer_with(
    ...     recurra.cells.Elman(), {"weight_ih": torch.ones(2, 3), "weight_hh": torch.ones(2, 2)}
    ... )
    Recurrent(Elman(nonlinearity='tanh'), 3, 2, biases=0)
    """
    rows, inputs = weights["weight_ih"].shape
    biases = sum(name.startswith("bias") for name in weights)
    with torch.device("meta"):
        layer = Recurrent(cell, inputs, rows // len(cell.gates), biases, init=lambda _: None)
    layer.init = "orthogonal"
    for name in layer.weights():
        layer.register_parameter(
            name, nn.Parameter(weights[name].detach().clone(memory_format=torch.contiguous_format))
        )
    return layer


def single_layer(module: nn.Module, target: str) -> list[Part]:
    """Take one layer apart: a part for each direction, the forward one first.

    Args:
        module: a `Recurrent`, a `Bidirectional` of two, or a recurra RNN, LSTM or GRU of one layer.
        target: what it is converted to, for the message.

    Raises:
        ConversionError: it is something else, has several layers or a learned first state.
    """
    with torch.no_grad():
        compute_weights(module, at_evaluation=True)
    parts = [Part(cell, weights) for cell, weights in _parts(module, target)]
    for part in parts:
        if learned := [name for name in part.weights if name.startswith("initial_")]:
            raise ConversionError(
                f"learned_state must be False for {target}, got a layer with {learned[0]}; give the"
                " state to each call"
            )
    return parts


def _parts(module: Any, target: str) -> list[tuple[Cell, dict[str, Tensor]]]:
    if type(module) in (RNN, LSTM, GRU):
        if module.num_layers != 1:
            raise ConversionError(
                f"num_layers must be 1 for {target}, got {module.num_layers}; convert each layer"
                " alone"
            )
        return list(module.parts())
    if type(module) is Bidirectional:
        pair = (("forward", module.forward_layer), ("backward", module.backward_layer))
        return [direction(layer, f"{name} of the Bidirectional", target) for name, layer in pair]
    return [direction(module, "module", target)]


def direction(layer: nn.Module, what: str, target: str) -> tuple[Cell, dict[str, Tensor]]:
    """The cell and weights of a `Recurrent` layer; anything else is refused."""
    if type(layer) is not Recurrent:
        raise ConversionError(
            f"{what} must be a Recurrent, RNN, LSTM or GRU layer for {target}, got"
            f" {type(layer).__name__}"
        )
    return layer.cell, layer.weights()


def both_biases(part: Part) -> tuple[Tensor, Tensor]:
    """`bias_ih` and `bias_hh`, zero where the layer has none."""
    zeros = [
        part.weights[name].new_zeros(len(part.weights[name])) for name in ("weight_ih", "weight_hh")
    ]
    return part.weights.get("bias_ih", zeros[0]), part.weights.get("bias_hh", zeros[1])
