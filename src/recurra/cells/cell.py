"""What a cell is: names, shapes and one to three phases of equations. It owns no tensor, no loop,
no device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.cells.named import check_names, named_type
from recurra.cells.reads import check_complete, check_returned, gates_read
from recurra.cells.row_norm import row_norm, rows_of
from recurra.cells.values import ByName, Known, Pre, Values, Weights
from recurra.check import check_whole
from recurra.errors import ArgumentError

RESERVED = frozenset({"u", "v", "new", "noise", "label", "values"})


def previous_h(s: Known) -> Tensor:
    """The operand of an ordinary recurrent product: the output of the step before."""
    return s.h


class Phase(NamedTuple):
    """One part of a step: an operand, its product or norm `v`, then elementwise maths.

        v   = operand @ weight.T                      (weight None: v = operand)
        v   = layer_norm(v) * gain + bias             (norm empty: v + bias for weight_hh, else v)
        new = pointwise(u + v, values known so far)

    Attributes:
        pointwise: the maths, elementwise only: `(a, s) -> {name: value}`.
        gates: the blocks of v, in the weight's row order; empty where nothing is multiplied. Those
            that `pointwise` does not read are left out when it runs.
        operand: what is multiplied, elementwise from what is known.
        reads: the value whose width the operand has.
        weight: rows of this weight are used, after those of earlier phases that name it.
        bias, gain: the vectors added and, where there is a norm, multiplied.
        norm: groups of gates that are normalised together, each over its whole row.
    """

    pointwise: Callable[[Pre, Known], Values]
    gates: tuple[str, ...] = ()
    operand: Callable[[Known], Tensor] = previous_h
    reads: str = "h"
    weight: str | None = "weight_hh"
    bias: str = "bias_hh"
    gain: str | None = None
    norm: tuple[tuple[str, ...], ...] = ()

    @property
    def vectors(self) -> tuple[str | None, str | None, str | None]:
        """The weight, the bias and the gain that are read: a bias by weight_hh, both by a norm.

        >>> Phase(Cell().pointwise, ("n",)).vectors
        ('weight_hh', 'bias_hh', None)
        >>> Phase(Cell().pointwise, ("h",), weight="weight_hr").vectors
        ('weight_hr', None, None)
        """
        adds = bool(self.norm) or self.weight == "weight_hh"
        return self.weight, self.bias if adds else None, self.gain if self.norm else None


class Noise(NamedTuple):
    """A random factor drawn before a scan: 0 with probability `zero`, else `value`.

    `of` names the value whose width it has. A `lasting` one is drawn once a sequence and carried in
    the state, so that chunks equal the whole in training too. `zero=None`: never drawn, only handed
    in.
    """

    of: str
    zero: float | None
    value: float = 1.0
    lasting: bool = False


class Cell:
    """A recurrent cell: its state, its gates and its equations; everything else is derived from
    them.

    Subclass it, name `state` (the output first) and `gates`, and write `pointwise`; a cell with a
    second product, a norm or a projection says so in `phases`. A gate that reads `a.u.f` in place
    of `a.f` has no recurrent product. What you write runs by every method that a built-in cell has.
    Make subclasses with options frozen dataclasses, so that equal cells compare equal.

    >>> from torch import sigmoid, tanh
    >>> class CoupledLSTM(Cell):
    ...     state, gates = ("h", "c"), ("f", "g", "o")
    ...     def pointwise(self, a, s):
    ...         f, g, o = sigmoid(a.f), tanh(a.g), sigmoid(a.o)
    ...         c = f * s.c + (1 - f) * g
    ...         return dict(h=o * tanh(c), c=c, f=f, g=g, o=o)
    >>> CoupledLSTM().weights(input_size=3, hidden_size=4)["weight_hh"]
    (12, 4)
    """

    state: tuple[str, ...] = ("h",)
    gates: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    input_norm: tuple[tuple[str, ...], ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for kind in ("state", "gates", "params"):
            names = getattr(cls, kind)
            if isinstance(names, str):
                raise ArgumentError(
                    f"{kind} of {cls.__name__} must be a tuple of names, got {names!r}; write"
                    f" ({names!r},)"
                )
            if isinstance(names, (tuple, list)) and RESERVED & set(names):
                raise ArgumentError(
                    f"{kind} of {cls.__name__} must avoid the reserved names"
                    f" {', '.join(sorted(RESERVED))}, got {tuple(names)}"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # What a cell may say

    def pointwise(self, a: Pre, s: Known) -> Values:
        """The equations of a one-phase cell, elementwise: returns the new state and the gates by
        name.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define pointwise(self, a, s) or phases(self)"
        )

    def phases(self) -> tuple[Phase, ...]:
        """The parts of a step, in order; one ordinary recurrent product unless the cell says
        otherwise.
        """
        return (Phase(self.pointwise, self.gates),)

    def width(self, name: str, hidden_size: int) -> int:
        """Units of the value `name`; all are `hidden_size` wide unless the cell says otherwise."""
        return hidden_size

    def noises(self) -> dict[str, Noise]:
        """The random factors that training draws, by name."""
        return {}

    def retention(self, gates: ByName) -> Tensor:
        """The share of the old state that each unit keeps, in [0, 1]; of the shape of the gates."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what it keeps; define retention(self, gates)"
        )

    # What follows from it

    def active_phases(self) -> tuple[Phase, ...]:
        """The phases as they run: of a product only the blocks that the equations read are
        multiplied, or have weights.

        Raises:
            EquationError: the equations read or return a name that is not there.
        """
        pairs = zip(self.phases(), gates_read(self))
        return tuple(
            phase if phase.gates == gates else phase._replace(gates=gates) for phase, gates in pairs
        )

    def blocks(self, name: str) -> tuple[str, ...]:
        """The gates that a weight, a bias or a gain has a block for, in the order of its rows.

        >>> from recurra.cells import ResetBeforeGRU
        >>> ResetBeforeGRU().blocks("weight_hh")
        ('r', 'z', 'n')
        """
        if name in ("weight_ih", "bias_ih", "gain_ih"):
            return self.gates
        reads = [phase for phase in self.active_phases() if name in phase.vectors]
        return tuple(gate for phase in reads for gate in phase.gates)

    def weights(
        self, input_size: int, hidden_size: int, biases: int = 2
    ) -> dict[str, tuple[int, ...]]:
        """The shape of each weight, in torch.nn's names and order.

        Args:
            input_size: I.
            hidden_size: H.
            biases: 2 as in torch (`bias_ih` and `bias_hh`), 1 as in textbooks (`bias_ih`), or 0.
        """
        check_whole("biases", biases, 0, 2)
        phases, named = (
            self.active_phases(),
            [(phase.weight, phase.gates) for phase in self.phases() if phase.gates],
        )
        if len(set(named)) < len(named):
            raise ArgumentError(
                f"phases of {self!r} must name different gates of each weight, got {named}"
            )
        check_names(self)
        rows = len(self.gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size)}
        for phase in phases:
            unit = self.phase_width(phase, hidden_size) * len(phase.gates)
            if phase.gates and phase.weight:
                before = shapes.get(phase.weight, (0,))[0]
                shapes[phase.weight] = (before + unit, self.width(phase.reads, hidden_size))
        if biases >= 1:
            shapes["bias_ih"] = (rows,)
        if self.input_norm:
            shapes["gain_ih"] = (rows,)
        for phase in phases:
            unit = self.phase_width(phase, hidden_size) * len(phase.gates)
            for name in phase.vectors[1:] if unit else ():
                if name is not None and not (name == "bias_hh" and biases < 2):
                    shapes[name] = (shapes.get(name, (0,))[0] + unit,)
        return shapes | {name: (self.width(name, hidden_size),) for name in self.params}

    def phase_width(self, phase: Phase, hidden_size: int) -> int:
        """Units of a phase's v blocks: those of the state it is named after, else `hidden_size`."""
        return (
            self.width(phase.gates[0], hidden_size)
            if phase.gates and phase.gates[0] in self.state
            else hidden_size
        )

    def rows(self, phase: Phase) -> tuple[int, int]:
        """The first block of the phase's weight that is the phase's own, and how many there are in
        all.
        """
        if phase.weight is None:
            return 0, len(phase.gates)
        sharers = [other for other in self.active_phases() if other.weight == phase.weight]
        gates = [other.gates for other in sharers]
        if phase.gates not in gates:
            raise ArgumentError(
                f"phase must be one of the cell's own, got one with gates {phase.gates}"
            )
        sizes = [len(each) for each in gates]
        return sum(sizes[: gates.index(phase.gates)]), sum(sizes)

    def lasting(self) -> tuple[str, ...]:
        """Names of the masks that last a whole sequence and so ride in the state."""
        return tuple(name for name, noise in self.noises().items() if noise.lasting)

    def state_type(self) -> Any:
        """The named tuple of this cell's state: its own values, then its lasting masks (None at
        evaluation).
        """
        return named_type("State", self.state + self.lasting())

    def gates_type(self) -> Any:
        """The named tuple of this cell's gates."""
        return named_type("Gates", self.gates)

    def project(self, weights: Weights, x: Tensor) -> Tensor:
        """The part of a step that needs no state, for all steps at once: u = x W_ih^T + b_ih.

        Args:
            weights: `weight_ih` (G*H, I) and, where there are biases, `bias_ih` (G*H,).
            x: (..., I).

        Returns:
            u (..., G*H) in blocks, in the order of `gates`.
        """
        bias = weights.get("bias_ih")
        if not self.input_norm:
            return F.linear(x, weights["weight_ih"], bias)
        u = F.linear(x, weights["weight_ih"])
        return row_norm(u, self.gates, self.input_norm, weights["gain_ih"], bias)

    def step(
        self, weights: Weights, u: Tensor, state: Any, noise: Values | None = None
    ) -> tuple[Any, Any]:
        """Advance the memory by one time step: run the phases.

        Args:
            weights: as `weights` names them.
            u: (B, G*H), this step's projected input.
            state: the state before, each value (B, width).
            noise: this step's random factors, each (B, width); None at evaluation.

        Returns:
            The next state, and the gates after their nonlinearities.
        """
        lasting = self.lasting()
        masks: Values = {
            name: getattr(state, name) for name in lasting if getattr(state, name) is not None
        }
        known = {name: getattr(state, name) for name in self.state} | {
            name: weights[name] for name in self.params
        }
        s = Known(known, (noise or {}) | masks)
        blocks = dict(zip(self.gates, u.chunk(len(self.gates), -1))) if self.gates else {}
        for phase in self.active_phases():
            s.new.values.update(
                check_returned(
                    phase, phase.pointwise(Pre(blocks, self._product(phase, weights, s)), s)
                )
            )
        new = s.new.values
        check_complete(self, new)
        values = [new[name] for name in self.state] + [masks.get(name) for name in lasting]
        return self.state_type()(*values), self.gates_type()(*(new[name] for name in self.gates))

    def _product(self, phase: Phase, weights: Weights, s: Known) -> Values:
        """The blocks of v: the phase's operand after its product, norm and bias."""
        if not phase.gates:
            return {}
        v = phase.operand(s)
        bias, gain = (weights.get(name or "") for name in phase.vectors[1:])
        if phase.weight:
            weight, (first, total) = weights[phase.weight], self.rows(phase)
            if len(phase.gates) < total:
                unit = weight.shape[0] // total
                rows = slice(first * unit, (first + len(phase.gates)) * unit)
                weight, gain, bias = weight[rows], rows_of(gain, rows), rows_of(bias, rows)
            v = F.linear(v, weight, None if phase.norm else bias)
        if phase.norm:
            v = row_norm(v, phase.gates, phase.norm, gain, bias)
        return dict(zip(phase.gates, v.chunk(len(phase.gates), -1)))


def draw(
    cell: Cell,
    shape: tuple[int, int],
    hidden_size: int,
    like: Tensor,
    generator: torch.Generator | None = None,
) -> Values:
    """Draw every random factor of a cell for one sequence, before the scan.

    Args:
        cell: the cell.
        shape: (T, B).
        hidden_size: H.
        like: gives dtype and device.
        generator: the source of randomness; torch's own if None.

    Returns:
        By name, (T, B, width) each, or (B, width) for a mask that lasts the sequence.
    """
    drawn = {}
    for name, noise in cell.noises().items():
        if noise.zero is not None:
            size = (*(shape[1:] if noise.lasting else shape), cell.width(noise.of, hidden_size))
            bits = torch.ops.aten.random(
                torch.empty(size, dtype=torch.int32, device=like.device), generator=generator
            )
            factor = (bits >= min(round(noise.zero * 2**31), 2**31 - 1)).to(
                like.dtype
            )  # bernoulli is twice as slow
            drawn[name] = factor if noise.value == 1 else factor.mul_(noise.value)
    return drawn
