"""Gated recurrent units: the form of cuDNN and torch, and the textbook's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, sigmoid, tanh

from recurra.cells.cell import Cell, Phase
from recurra.cells.values import ByName, Known, Pre, Values


@dataclass(frozen=True)
class GRU(Cell):
    """Gated recurrent unit as cuDNN and torch compute it: reset *after* the recurrent product.

        r, z = sigmoid(a_r), sigmoid(a_z)                       reset and update gate
        n    = tanh(u_n + r * v_n)                              candidate
        h'   = (1 - z) * n + z * h          where u = W_ih x + b_ih, v = W_hh h + b_hh, a = u + v

    Source: Cho et al. (2014), arXiv:1406.1078, in the form of version 1 and of cuDNN. Equal to
        torch.nn.GRU.

    >>> GRU().weights(input_size=3, hidden_size=4)["weight_hh"]
    (12, 4)
    """

    state, gates = ("h",), ("r", "z", "n")

    def pointwise(self, a: Pre, s: Known) -> Values:
        r, z = sigmoid(a.r), sigmoid(a.z)
        n = tanh(a.u.n + r * a.v.n)
        return dict(h=(1 - z) * n + z * s.h, r=r, z=z, n=n)

    def retention(self, gates: ByName) -> Tensor:
        return gates.z


@dataclass(frozen=True)
class ResetBeforeGRU(Cell):
    """The textbook's gated recurrent unit: reset *before* the recurrent product, and z takes the
    new.

        r, z = sigmoid(a_r), sigmoid(a_z)
        n    = tanh(W_n [r * h, x] + b_n)
        h'   = (1 - z) * h + z * n

    Source: Cho et al. (2014), arXiv:1406.1078, equations 5-8 (there z keeps the old), with z as in
        Chung et al. (2014), arXiv:1412.3555.

    >>> [phase.gates for phase in ResetBeforeGRU().phases()]
    [('r', 'z'), ('n',)]
    """

    state, gates = ("h",), ("r", "z", "n")

    def phases(self) -> tuple[Phase, ...]:
        return Phase(self.open, ("r", "z")), Phase(
            self.write, ("n",), operand=lambda s: s.new.r * s.h
        )

    def open(self, a: Pre, s: Known) -> Values:
        """The two gates."""
        return dict(r=sigmoid(a.r), z=sigmoid(a.z))

    def write(self, a: Pre, s: Known) -> Values:
        """The candidate, and the new state."""
        n, z = tanh(a.n), s.new.z
        return dict(h=(1 - z) * s.h + z * n, n=n)

    def retention(self, gates: ByName) -> Tensor:
        return 1 - gates.z
