"""The names of a cell's values, and named tuples of them: one type for each list, picklable,
torch-pytree friendly.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from recurra.errors import ArgumentError
from recurra.names import fault_in_names, is_attribute

_TYPES: dict[tuple[str, tuple[str, ...]], type[tuple[Any, ...]]] = {}


def named_type(kind: str, fields: tuple[str, ...]) -> Any:
    """Return the named tuple type `kind` with these fields; the same one at each call.

    >>> named_type("State", ("h", "c"))(1, 2)
    State(h=1, c=2)
    """
    key = (kind, fields)
    if key not in _TYPES:
        make: Any = namedtuple
        plain = make(kind, fields)
        plain.__reduce__ = lambda self: (_rebuild, (kind, fields, tuple(self)))
        _TYPES[key] = plain
    return _TYPES[key]


def _rebuild(kind: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return named_type(kind, fields)(*values)


def check_names(cell: Any) -> None:
    """Raise unless each name of a cell, and of its weights, is an identifier of one meaning.

    Raises:
        ArgumentError: one is not; says which.
    """
    names = {
        "state": cell.state,
        "params": cell.params,
        "noise": cell.noises(),
        "gates": cell.gates,
    }
    if fault := fault_in_names(
        names, [phase for phase in cell.phases() if phase.gates], is_attribute
    ):
        raise ArgumentError(f"{cell!r}: {fault}")
