"""The simple recurrent network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, relu, tanh

from recurra.cells.cell import Cell
from recurra.cells.values import ByName, Known, Pre, Values
from recurra.errors import ArgumentError, choice_text

NONLINEARITIES = {"tanh": tanh, "relu": relu}


@dataclass(frozen=True)
class Elman(Cell):
    """The simple recurrent network.

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)        or relu in place of tanh

    Args:
        nonlinearity: "tanh" or "relu".

    Raises:
        ArgumentError: `nonlinearity` is neither.

    Source: Elman (1990), doi:10.1207/s15516709cog1402_1. Equal to torch.nn.RNN.

    >>> Elman().weights(input_size=3, hidden_size=4)["weight_ih"]
    (4, 3)
    """

    nonlinearity: str = "tanh"
    state, gates = ("h",), ("h",)

    def __post_init__(self) -> None:
        if self.nonlinearity not in NONLINEARITIES:
            raise ArgumentError(choice_text("nonlinearity", self.nonlinearity, NONLINEARITIES))

    def pointwise(self, a: Pre, s: Known) -> Values:
        return dict(h=NONLINEARITIES[self.nonlinearity](a.h))

    def retention(self, gates: ByName) -> Tensor:
        return torch.zeros_like(gates.h)
