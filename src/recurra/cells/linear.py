"""Cells that are linear in their state, h' = A * h + B, and so can run in parallel over time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, sigmoid

from recurra.cells.cell import Cell, Phase
from recurra.cells.values import ByName, Known, Pre, Values


class LinearCell(Cell):
    """A cell without a recurrent product whose step is h' = keep * h + write, both from the input
    alone.

    Subclasses give `coefficients`; `pointwise` follows from it, and so does the parallel scan.
    """

    state = ("h",)

    def coefficients(self, a: Pre) -> tuple[Tensor, Tensor, Values]:
        """Return keep, write and the gates by name, elementwise from the input's
        pre-activations.
        """
        raise NotImplementedError(f"{type(self).__name__} must define coefficients(self, a)")

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise),)

    def pointwise(self, a: Pre, s: Known) -> Values:
        keep, write, gates = self.coefficients(a)
        return gates | dict(h=keep * s.h + write)


@dataclass(frozen=True)
class MinGRU(LinearCell):
    """The minimal GRU: gate and candidate see the input only.

        z  = sigmoid(W_z x + b_z)
        n  = W_n x + b_n
        h' = (1 - z) * h + z * n                                z takes the new

    Source: Feng et al. (2024), arXiv:2410.01201, section 3.1.

    >>> MinGRU().weights(input_size=3, hidden_size=4, biases=1)
    {'weight_ih': (8, 3), 'bias_ih': (8,)}
    """

    gates = ("z", "n")

    def coefficients(self, a: Pre) -> tuple[Tensor, Tensor, Values]:
        z, n = sigmoid(a.z), a.n
        return 1 - z, z * n, dict(z=z, n=n)

    def retention(self, gates: ByName) -> Tensor:
        return 1 - gates.z


@dataclass(frozen=True)
class MinLSTM(LinearCell):
    """The minimal LSTM: forget and input gate see the input only and share out one.

        f, i = sigmoid(W_f x + b_f), sigmoid(W_i x + b_i)
        n    = W_n x + b_n
        h'   = f / (f + i) * h + i / (f + i) * n

    Source: Feng et al. (2024), arXiv:2410.01201, section 3.2 (the length-independent form).

    >>> MinLSTM().weights(input_size=3, hidden_size=4, biases=1)["weight_ih"]
    (12, 3)
    """

    gates = ("f", "i", "n")

    def coefficients(self, a: Pre) -> tuple[Tensor, Tensor, Values]:
        f, i, n = sigmoid(a.f), sigmoid(a.i), a.n
        keep, take = f / (f + i), i / (f + i)
        return keep, take * n, dict(f=f, i=i, n=n)

    def retention(self, gates: ByName) -> Tensor:
        return gates.f / (gates.f + gates.i)
