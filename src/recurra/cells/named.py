"""Named tuples for states and gates: one type for each list of names, picklable, torch-pytree friendly."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

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
