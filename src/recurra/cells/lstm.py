"""Long short-term memory: the plain cell, with peepholes, and with a projected output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, sigmoid, tanh

from recurra.cells.cell import Cell, Phase
from recurra.cells.values import ByName, Known, Pre, Values
from recurra.check import check_whole


@dataclass(frozen=True)
class LSTM(Cell):
    """Long short-term memory with a forget gate.

        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)      input, forget and output gate
        g       = tanh(a_g)                                     candidate
        c'      = f * c + i * g
        h'      = o * tanh(c')              where a = W_ih x + b_ih + W_hh h + b_hh

    A unit that holds f steady forgets over -1 / ln(f) steps.

    Source: Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; forget gate from
        Gers et al. (2000), doi:10.1162/089976600300015015. Equal to torch.nn.LSTM.

    >>> LSTM().weights(input_size=3, hidden_size=4)["weight_hh"]
    (16, 4)
    """

    state, gates = ("h", "c"), ("i", "f", "g", "o")

    def pointwise(self, a: Pre, s: Known) -> Values:
        i, f, g, o = sigmoid(a.i), sigmoid(a.f), tanh(a.g), sigmoid(a.o)
        c = f * s.c + i * g
        return dict(h=o * tanh(c), c=c, i=i, f=f, g=g, o=o)

    def retention(self, gates: ByName) -> Tensor:
        return gates.f


@dataclass(frozen=True)
class PeepholeLSTM(Cell):
    """LSTM whose gates also see the memory, through one weight a unit.

        i, f = sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c)
        g    = tanh(a_g)
        c'   = f * c + i * g
        o    = sigmoid(a_o + p_o * c')
        h'   = o * tanh(c')

    Source: Gers, Schraudolph & Schmidhuber (2002), jmlr.org/papers/v3/gers02a.html; this form in
        Graves (2013), arXiv:1308.0850.

    >>> PeepholeLSTM().weights(input_size=3, hidden_size=4)["p_f"]
    (4,)
    """

    state, gates, params = ("h", "c"), ("i", "f", "g", "o"), ("p_i", "p_f", "p_o")

    def pointwise(self, a: Pre, s: Known) -> Values:
        i, f, g = sigmoid(a.i + s.p_i * s.c), sigmoid(a.f + s.p_f * s.c), tanh(a.g)
        c = f * s.c + i * g
        o = sigmoid(a.o + s.p_o * c)
        return dict(h=o * tanh(c), c=c, i=i, f=f, g=g, o=o)

    def retention(self, gates: ByName) -> Tensor:
        return gates.f


@dataclass(frozen=True)
class ProjectedLSTM(Cell):
    """LSTM whose output is a projection of the exposed memory, so that h is narrower than c.

        i, f, g, o, c' as in LSTM
        h' = W_hr (o * tanh(c'))                                h has proj_size units

    Args:
        proj_size: units of h, at least 1.

    Raises:
        ArgumentError: `proj_size` is not a positive whole number.

    Source: Sak et al. (2014), arXiv:1402.1128. Equal to torch.nn.LSTM with `proj_size`.

    >>> ProjectedLSTM(proj_size=2).weights(input_size=3, hidden_size=4)["weight_hr"]
    (2, 4)
    """

    proj_size: int
    state, gates = ("h", "c"), ("i", "f", "g", "o")

    def __post_init__(self) -> None:
        size = check_whole("proj_size", self.proj_size, advice="use LSTM for no projection")
        object.__setattr__(self, "proj_size", size)

    def width(self, name: str, hidden_size: int) -> int:
        return self.proj_size if name == "h" else hidden_size

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase(self.remember, self.gates),
            Phase(self.expose, ("h",), operand=lambda s: s.new.m, reads="m", weight="weight_hr"),
        )

    def remember(self, a: Pre, s: Known) -> Values:
        """The memory, and what of it is exposed."""
        i, f, g, o = sigmoid(a.i), sigmoid(a.f), tanh(a.g), sigmoid(a.o)
        c = f * s.c + i * g
        return dict(m=o * tanh(c), c=c, i=i, f=f, g=g, o=o)

    def expose(self, a: Pre, s: Known) -> Values:
        """The projection itself."""
        return dict(h=a.v.h)

    def retention(self, gates: ByName) -> Tensor:
        return gates.f
