"""Cells whose pre-activations are normalised over the row."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, sigmoid, tanh

from recurra.cells.cell import Cell, Phase
from recurra.cells.values import ByName, Known, Pre, Values


@dataclass(frozen=True)
class LayerNormLSTM(Cell):
    """LSTM with layer norm of both products, each over its 4H row, and of the memory inside the
    output.

        a          = LN(W_hh h; gain_hh, bias_hh) + LN(W_ih x; gain_ih, bias_ih)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c'         = f * c + i * g                              stored as it is
        h'         = o * tanh(LN(c'; gain_c, bias_c))

    The paper's further bias b adds to bias_ih and is not kept apart. eps is 1e-5.

    Source: Ba, Kiros & Hinton (2016), arXiv:1607.06450, supplementary material.

    >>> LayerNormLSTM().weights(input_size=3, hidden_size=4)["gain_c"]
    (4,)
    """

    state, gates = ("h", "c"), ("i", "f", "g", "o")
    input_norm = (gates,)

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase(self.remember, self.gates, gain="gain_hh", norm=(self.gates,)),
            Phase(
                self.expose,
                ("c",),
                lambda s: s.new.c,
                "c",
                weight=None,
                gain="gain_c",
                bias="bias_c",
                norm=(("c",),),
            ),
        )

    def remember(self, a: Pre, s: Known) -> Values:
        """The gates and the memory."""
        i, f, g, o = sigmoid(a.i), sigmoid(a.f), tanh(a.g), sigmoid(a.o)
        return dict(c=f * s.c + i * g, i=i, f=f, g=g, o=o)

    def expose(self, a: Pre, s: Known) -> Values:
        """The output, from the normalised memory."""
        return dict(h=s.new.o * tanh(a.v.c))

    def retention(self, gates: ByName) -> Tensor:
        return gates.f


@dataclass(frozen=True)
class LayerNormGRU(Cell):
    """GRU with layer norm: the gates' 2H row and the candidate's H row apart, for both products.

        r, z = sigmoid(LN(W_rz h) + LN(U_rz x))
        n    = tanh(LN(U_n x) + r * LN(W_n h))
        h'   = (1 - z) * h + z * n                           z takes the new, as the paper prints it

    Each LN has its own gain (in gain_ih, gain_hh) and bias (in bias_ih, bias_hh). eps is 1e-5.

    Source: Ba, Kiros & Hinton (2016), arXiv:1607.06450, supplementary material.

    >>> LayerNormGRU().weights(input_size=3, hidden_size=4)["gain_hh"]
    (12,)
    """

    state, gates = ("h",), ("r", "z", "n")
    input_norm = (("r", "z"), ("n",))

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.pointwise, self.gates, gain="gain_hh", norm=self.input_norm),)

    def pointwise(self, a: Pre, s: Known) -> Values:
        r, z = sigmoid(a.r), sigmoid(a.z)
        n = tanh(a.u.n + r * a.v.n)
        return dict(h=(1 - z) * s.h + z * n, r=r, z=z, n=n)

    def retention(self, gates: ByName) -> Tensor:
        return 1 - gates.z
