"""How large a program may be: far more than any cell's, and little enough to be looked at in no
time.
"""

from __future__ import annotations

from recurra.errors import ProgramError
from recurra.program.graph import Program

MOST_PHASES, MOST_NAMES, MOST_NODES = 16, 1000, 50_000
"""Phases, as the native module takes them; states, gates, parameters and noise, each; nodes, those
of the derivative too.
"""


def check_size(program: Program) -> None:
    """Raise where a program is larger than one that is read.

    Raises:
        ProgramError: it is; says in what.

    >>> from recurra.cells import GRU
    >>> from recurra.program import trace
    >>> check_size(trace(GRU()))
    """
    sizes = {
        "phases": (len(program.bodies), MOST_PHASES),
        "nodes": (len(program.nodes), MOST_NODES),
    }
    sizes |= {
        name: (len(getattr(program, name)), MOST_NAMES)
        for name in ("state", "gates", "params", "noise", "widths")
    }
    for name, (size, most) in sizes.items():
        if size > most:
            raise ProgramError(f"program must have at most {most:,} {name}, got {size:,}")
