"""What a cell's equations read of their products, and whether they return what they must: found by
running them once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recurra.cells.values import Known, Pre, Values, line_text
from recurra.compiling import constant
from recurra.errors import EquationError, near_text

if TYPE_CHECKING:
    from recurra.cells.cell import Cell, Phase

ROWS, HIDDEN = 1, 2
"""Of the tensors of zeros on which equations are run."""


class _Watched(dict[str, Tensor]):
    """Values that note which of them were read."""

    def __init__(self, values: Values) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


@constant
def gates_read(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """For each phase, the gates whose recurrent product its equations read; none where they read
    none of a norm's.

    Raises:
        EquationError: a name is read that is not there, or one is missing or unknown in what is
            returned; says in which line.

    >>> from recurra.cells import GRU
    >>> gates_read(GRU())
    (('r', 'z', 'n'),)
    """
    try:
        return _remembered(cell)
    except TypeError:  # a cell without a hash
        return _find(cell)


def check_returned(phase: Phase, values: Any) -> Values:
    """What a phase returned, after looking that it is values by name.

    Raises:
        EquationError: it is not.
    """
    if not isinstance(values, dict):
        raise EquationError(
            f"pointwise must return a dict by name, got {type(values).__name__}{_defined(phase)}"
        )
    return values


def check_complete(cell: Cell, values: Values) -> None:
    """Raise unless each state and gate is there after a step.

    Raises:
        EquationError: one is missing; says which names there are in its place.
    """
    wanted = (*cell.state, *cell.gates)
    for name in wanted:
        if name not in values:
            have = ", ".join(map(repr, values)) or "nothing"
            near = near_text(name, [other for other in values if other not in wanted])
            raise EquationError(
                f"pointwise must return {name!r}, got only {have}{_defined(*cell.phases())}{near}"
            )


@functools.lru_cache(maxsize=512)
def _remembered(cell: Cell) -> tuple[tuple[str, ...], ...]:
    return _find(cell)


def _find(cell: Cell) -> tuple[tuple[str, ...], ...]:
    phases = cell.phases()
    try:
        # as in `recurra.program.trace`, nothing of this is to be seen by torch.export
        with torch._C.DisableTorchFunction(), torch.no_grad():
            return _run(cell, phases)
    except EquationError as error:
        raise EquationError(f"{cell!r}: {error}") from None
    except Exception:
        # they fit no tiny tensors, or are not there: what runs the cell says so, with everything
        # multiplied
        return tuple(phase.gates for phase in phases)


def _run(cell: Cell, phases: tuple[Phase, ...]) -> tuple[tuple[str, ...], ...]:
    """Run a step on zeros."""

    def zeros(width: int) -> Tensor:
        return torch.zeros(ROWS, width, device="cpu")

    known = {name: zeros(cell.width(name, HIDDEN)) for name in cell.state} | {
        name: zeros(HIDDEN)[0] for name in cell.params
    }
    s, u, needed, new = (
        Known(known, {}),
        {gate: zeros(HIDDEN) for gate in cell.gates},
        [],
        _Watched({}),
    )
    s.new.values = new
    returned: dict[str, Phase] = {}
    for phase in phases:
        v = _Watched({gate: zeros(cell.phase_width(phase, HIDDEN)) for gate in phase.gates})
        if phase.gates:
            phase.operand(s)
        found = check_returned(phase, phase.pointwise(Pre(u, v), s))
        new.update(found)
        returned |= dict.fromkeys(found, phase)
        all_or_none = phase.norm or phase.weight is None
        needed.append(
            phase.gates
            if all_or_none and v.read
            else tuple(gate for gate in phase.gates if gate in v.read)
        )
    check_complete(cell, new)
    _check_known(cell, returned, new.read)
    return tuple(needed)


def _check_known(cell: Cell, returned: dict[str, Phase], read: Iterable[str]) -> None:
    """Raise if a phase returned a value that is no state and no gate, and that no later phase
    reads.
    """
    wanted = (*cell.state, *cell.gates)
    for name, phase in returned.items():
        if name not in wanted and name not in read:
            have = ", ".join(map(repr, dict.fromkeys(wanted)))
            text = f"pointwise must return only {have}, and what a later phase reads, got {name!r}"
            raise EquationError(f"{text}{_defined(phase)}{near_text(name, wanted)}")


def _defined(*phases: Phase) -> str:
    """Where the last of some phases that has lines of its own says its equations."""
    for phase in reversed(phases):
        code = getattr(getattr(phase.pointwise, "__func__", phase.pointwise), "__code__", None)
        if code is not None and not code.co_filename.endswith("wrappers.py"):
            return line_text(code.co_filename, code.co_firstlineno)
    return ""
