"""A program as text that one can read beside the paper."""

from __future__ import annotations

from collections.abc import Iterable

from recurra.cells import Cell
from recurra.display import Text
from recurra.program.graph import Program
from recurra.program.trace import trace


def show(cell: Cell | Program, noise: Iterable[str] = ()) -> Text:
    """Give a cell's program as text: each phase's product and operations, then the derivative.

    Args:
        cell: a cell, or a program.
        noise: the random factors handed in, as for `trace`.

    Returns:
        The text, which a prompt and a notebook show as it is; `d(x)` is the gradient of x.

    Raises:
        ProgramError: the cell cannot be traced.

    >>> from recurra.cells import Elman
    >>> print(show(Elman()))
    Elman(nonlinearity='tanh')
    <BLANKLINE>
    step
      v = h @ weight_hh.T + bias_hh                    blocks h
      a.h = u.h + v.h
      h' = tanh(a.h)
    <BLANKLINE>
    derivative
      t1 = h' * h'
      t2 = 1 - t1
      d(a.h) = d(h') * t2
      d(operand) = d(a.h) @ weight_hh
      d(h) = d(operand)
    """
    return Text(cell if isinstance(cell, Program) else trace(cell, noise))
