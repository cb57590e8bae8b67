"""What equations read and return: values by name; a name that is not there is said with the line
that reads it.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from recurra.errors import EquationError, near_text

Weights = Mapping[str, Tensor]
Values = dict[str, Tensor]


class ByName(Protocol):
    """Values read as attributes: `gates.f`."""

    def __getattr__(self, name: str) -> Tensor: ...


class Block:
    """Values by name, read as attributes."""

    def __init__(self, label: str, values: Values) -> None:
        self.label, self.values = label, values

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):  # what Python itself looks for, to copy an object for example
            raise AttributeError(name)
        try:
            return self.values[name]
        except KeyError:
            raise _unknown(self.label, name, self.values) from None


class Pre:
    """Pre-activations by gate: `a.f` is u.f + v.f; the parts are `a.u.f` (input) and `a.v.f`
    (recurrent).
    """

    def __init__(self, u: Values, v: Values) -> None:
        self.u, self.v = Block("a.u", u), Block("a.v", v)

    def __getattr__(self, gate: str) -> Tensor:
        if gate.startswith("__"):
            raise AttributeError(gate)
        u, v = self.u.values.get(gate), self.v.values.get(gate)
        if u is None:
            if v is None:
                raise _unknown("a", gate, self.u.values | self.v.values)
            return v
        return u if v is None else u + v


class Known(Block):
    """What a phase may read: `s.h` the old state, `s.p_i` a parameter, `s.new.c` found in this
    step, `s.noise`.
    """

    def __init__(self, values: Values, noise: Values) -> None:
        super().__init__("s", values)
        self.new, self.noise = Block("s.new", {}), noise


def _unknown(label: str, name: str, names: Iterable[str]) -> EquationError:
    """The error of a name that is not there."""
    have = ", ".join(map(repr, names)) or "nothing"
    return EquationError(
        f"{label}.{name} must be one of {have}, got {name!r}{_reader()}{near_text(name, names)}"
    )


def _reader() -> str:
    """The line of a person's code that is reading."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return "" if frame is None else line_text(frame.f_code.co_filename, frame.f_lineno)


def line_text(file: str, line: int) -> str:
    """A line as an error names it.

    >>> line_text("nets/none.py", 7)
    ' in none.py, line 7'
    """
    text = linecache.getline(file, line).strip()
    return f" in {Path(file).name}, line {line}" + (f": {text}" if text else "")
