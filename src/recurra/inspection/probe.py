"""A probe on every value of a state: what carries a Jacobian from step to step, without hooks."""

from __future__ import annotations

from dataclasses import dataclass

from recurra.cells import Cell, Noise, Phase, Wrapper
from recurra.cells.values import Known, Pre, Values


@dataclass(frozen=True)
class ProbedState(Wrapper):
    """Adds a probe to every value of the state, after the step that made it: `Probed` for c as well as for h.

        h' = new_h + probe_h
        c' = new_c + probe_c                handed to the scan as noise["probe_h"] and so on; absent: nothing is added

    The probe of c reaches only the c that is carried on, not the h of its own step. So the gradient of h_t at the probe
    of h_k, and of c_t at that of c_k, are blocks of the Jacobian of the state (h, c) at t by the state at k.

    >>> from recurra.cells import LSTM
    >>> list(ProbedState(LSTM()).noises())
    ['probe_h', 'probe_c']
    """

    cell: Cell

    def phases(self) -> tuple[Phase, ...]:
        return (*self.cell.phases(), *(Phase(_Add(name)) for name in self.cell.state))

    def noises(self) -> dict[str, Noise]:
        return self.cell.noises() | {f"probe_{name}": Noise(name, zero=None) for name in self.cell.state}


@dataclass(frozen=True)
class _Add:
    """The appended phase, for one value of the state."""

    name: str

    def __call__(self, a: Pre, s: Known) -> Values:
        new, probe = s.new.values[self.name], s.noise.get(f"probe_{self.name}")
        return {self.name: new if probe is None else new + probe}
