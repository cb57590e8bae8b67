"""Wrappers: a cell made of another by changing its phases. They are traced and run like any
cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from recurra.cells.cell import Cell, Noise, Phase
from recurra.cells.values import ByName, Known, Pre, Values
from recurra.check import check_number
from recurra.errors import ArgumentError


class Wrapper(Cell):
    """What every wrapper hands through to the `cell` inside it."""

    cell: Cell

    def __post_init__(self) -> None:
        if not isinstance(self.cell, Cell):
            raise ArgumentError(
                f"cell must be a cell, got {self.cell!r}; write"
                f" {type(self).__name__}(recurra.cells.LSTM())"
            )

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.cell.state

    @property
    def gates(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.cell.gates

    @property
    def params(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.cell.params

    @property
    def input_norm(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]
        return self.cell.input_norm

    def width(self, name: str, hidden_size: int) -> int:
        return self.cell.width(name, hidden_size)

    def phases(self) -> tuple[Phase, ...]:
        return self.cell.phases()

    def noises(self) -> dict[str, Noise]:
        return self.cell.noises()

    def retention(self, gates: ByName) -> Tensor:
        return self.cell.retention(gates)

    def add_noise(self, name: str, noise: Noise) -> dict[str, Noise]:
        """The inner cell's noises and one more."""
        inner = self.cell.noises()
        if name in inner:
            raise ArgumentError(
                f"cell must not be a {type(self).__name__} already, got {self.cell!r}; wrap it once"
            )
        return inner | {name: noise}


@dataclass(frozen=True)
class Zoneout(Wrapper):
    """Each unit keeps its old value with a given chance; at evaluation, that share of it.

        training:    h' = d * h + (1 - d) * new_h             d = 1 with chance `h`, drawn each step
        evaluation:  h' = rate * h + (1 - rate) * new_h       and likewise for c

    Args:
        cell: the cell inside.
        h: the chance to keep h, in [0, 1).
        c: the chance to keep c, in [0, 1); only for a cell with a c.

    Raises:
        ArgumentError: a rate is outside [0, 1), or `c` is given for a cell without one.

    Source: Krueger et al. (2016), arXiv:1606.01305: new_h is made from the c before its own
        zoneout.

    >>> from recurra.cells.lstm import LSTM
    >>> list(Zoneout(LSTM(), h=0.1, c=0.05).noises())
    ['zoneout_h', 'zoneout_c']
    """

    cell: Cell
    h: float = 0.0
    c: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, rate in (("h", self.h), ("c", self.c)):
            object.__setattr__(self, name, check_number(name, rate, 0, 1))
            if rate and name not in self.cell.state:
                raise ArgumentError(
                    f"{name} must be 0 for a cell whose state is {self.cell.state}, got {rate}"
                )

    def rates(self) -> dict[str, float]:
        """The rates that are not zero, by state."""
        return {name: rate for name, rate in (("h", self.h), ("c", self.c)) if rate}

    def phases(self) -> tuple[Phase, ...]:
        return (
            *self.cell.phases(),
            *(Phase(_Keep(name, rate)) for name, rate in self.rates().items()),
        )

    def noises(self) -> dict[str, Noise]:
        own = self.cell.noises()
        for name, rate in self.rates().items():
            own |= self.add_noise(f"zoneout_{name}", Noise(name, zero=1 - rate))
        return own

    def retention(self, gates: ByName) -> Tensor:
        rate = self.rates().get("c" if "c" in self.cell.state else "h", 0.0)
        return rate + (1 - rate) * self.cell.retention(gates)


@dataclass(frozen=True)
class _Keep:
    """The appended phase of Zoneout, for one state."""

    name: str
    rate: float

    def __call__(self, a: Pre, s: Known) -> Values:
        old, new = s.values[self.name], s.new.values[self.name]
        keep = s.noise.get(f"zoneout_{self.name}", self.rate)
        return {self.name: keep * old + (1 - keep) * new}


@dataclass(frozen=True)
class RecurrentDropout(Wrapper):
    """Dropout of the operand of the recurrent product only, with one mask for the whole sequence.

        v = W_hh (m * h) + b_hh       m = 0 with chance `rate`, else 1 / (1 - rate); 1 at evaluation

    Only the product sees the mask: masking h itself would compound through z * h. In the textbook
    GRU the operand r * h of its second product is masked too.

    Args:
        cell: the cell inside.
        rate: the chance that a unit is dropped, in [0, 1).

    Raises:
        ArgumentError: `rate` is outside [0, 1), or the cell has no recurrent product.

    Source: Gal & Ghahramani (2016), arXiv:1512.05287, the recurrent half, one mask for all gates.

    >>> from recurra.cells.gru import GRU
    >>> RecurrentDropout(GRU(), rate=0.2).lasting()
    ('dropout_h',)
    """

    cell: Cell
    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", check_number("rate", self.rate, 0, 1))
        if not self.cell.blocks("weight_hh"):
            raise ArgumentError(
                f"cell must have a recurrent product, whose operand is dropped, got {self.cell!r};"
                " use Zoneout"
            )

    def phases(self) -> tuple[Phase, ...]:
        inner = self.cell.phases()
        return tuple(
            p._replace(operand=_Masked(p.operand)) if p.gates and p.weight == "weight_hh" else p
            for p in inner
        )

    def noises(self) -> dict[str, Noise]:
        noise = Noise("h", zero=self.rate, value=1 / (1 - self.rate), lasting=True)
        return self.add_noise("dropout_h", noise)


@dataclass(frozen=True)
class _Masked:
    """An operand times the mask, where there is one."""

    operand: Any

    def __call__(self, s: Known) -> Tensor:
        value: Tensor = self.operand(s)
        mask = s.noise.get("dropout_h")
        return value if mask is None else mask * value


@dataclass(frozen=True)
class Probed(Wrapper):
    """Adds a probe to every value of the state at every step: the gradients at the probes are
    dL/dh_t and dL/dc_t, without hooks.

        h' = new_h + probe_h         handed to the scan as noise["probe_h"], (T, B, width); absent:
        c' = new_c + probe_c                nothing is added

    The probe of c reaches only the c that is carried on, not the h of its own step. So the gradient
    of h_t at the probe of h_k, and of c_t at that of c_k, are blocks of the Jacobian of the state
    (h, c) at t by the state at k.

    >>> from recurra.cells.lstm import LSTM
    >>> list(Probed(LSTM()).noises())
    ['probe_h', 'probe_c']
    """

    cell: Cell

    def phases(self) -> tuple[Phase, ...]:
        return (*self.cell.phases(), *(Phase(_Add(name)) for name in self.cell.state))

    def noises(self) -> dict[str, Noise]:
        own = self.cell.noises()
        for name in self.cell.state:
            own |= self.add_noise(probe_name(name), Noise(name, zero=None))
        return own


def probe_name(state: str) -> str:
    """What the probe of a value of the state is called among the noises."""
    return f"probe_{state}"


@dataclass(frozen=True)
class _Add:
    """The appended phase of Probed, for one value of the state."""

    name: str

    def __call__(self, a: Pre, s: Known) -> Values:
        new, probe = s.new.values[self.name], s.noise.get(probe_name(self.name))
        return {self.name: new if probe is None else new + probe}
