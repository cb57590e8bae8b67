"""A language model's cells by name, and its recurrent layers with what regularises them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from recurra import cells
from recurra.cells import Cell, Zoneout
from recurra.check import is_number
from recurra.errors import ArgumentError, choice_text
from recurra.layers import LockedDropout, Recurrent, Stack, WeightDropout

CELLS: dict[str, Any] = {
    "rnn": cells.Elman,
    "lstm": cells.LSTM,
    "gru": cells.GRU,
    "reset_before_gru": cells.ResetBeforeGRU,
    "peephole_lstm": cells.PeepholeLSTM,
    "layer_norm_lstm": cells.LayerNormLSTM,
    "layer_norm_gru": cells.LayerNormGRU,
    "min_gru": cells.MinGRU,
    "min_lstm": cells.MinLSTM,
}
"""The cells that have a name of their own; any other is given as a cell."""


def make_cell(cell: str | Cell, zoneout: Any = (0.0, 0.0)) -> Cell:
    """The cell of a name, or the cell itself, with zoneout around it where a rate is not zero.

    Args:
        cell: a name, or a cell.
        zoneout: the rates of h and c.

    Raises:
        ArgumentError: the name is unknown, a rate is outside [0, 1), or the cell has no c to keep.

    >>> make_cell("gru", (0.1, 0.0))
    Zoneout(cell=GRU(), h=0.1, c=0.0)
    """
    if isinstance(cell, Mapping) or (isinstance(cell, str) and ":" in cell):
        name = cell if isinstance(cell, str) else cell.get("class")
        raise ArgumentError(
            f"cell must be a name or a cell, got the text {name!r}; give the cell itself, or --cell"
            " on the command line"
        )
    if isinstance(cell, str) and cell not in CELLS:
        raise ArgumentError(choice_text("cell", cell, CELLS))
    made = CELLS[cell]() if isinstance(cell, str) else cell
    rates = list(zoneout) if isinstance(zoneout, Sequence) else []
    if len(rates) != 2 or not all(is_number(rate) and 0 <= rate < 1 for rate in rates):
        raise ArgumentError(f"zoneout must be two rates (h, c), each in [0, 1), got {zoneout!r}")
    h, c = rates
    if c and isinstance(made, Cell) and "c" not in made.state:
        raise ArgumentError(
            f"zoneout must be (h, 0) for {made!r}, whose state is {made.state}, got {zoneout!r}"
        )
    if not h and not c:
        return made  # type: ignore[no-any-return]
    wrapped = Zoneout(made, h, c)
    wrapped.noises()  # raises where the cell is zoned out already
    return wrapped


def make_stack(
    cell: Cell,
    widths: Sequence[int],
    dropout: float,
    input_dropout: float,
    weight_dropout: float,
    locked: bool,
    init: str,
) -> Stack:
    """Recurrent layers of one cell with dropout between them.

    Args:
        cell: of every layer.
        widths: of the input, then of each layer.
        dropout, input_dropout: rates of the dropout between layers, and before the first (none
            where it is 0).
        weight_dropout: rate of the dropout on `weight_hh`.
        locked: one mask for a sequence in place of fresh ones at each step.
        init: as for `Recurrent`.

    Raises:
        ArgumentError: the cell has no `weight_hh` for `weight_dropout`.

    >>> [
    ...     type(part).__name__
    ...     for part in make_stack(cells.GRU(), (3, 4, 4), 0.5, 0.0, 0.5, True, "torch").layers
    ... ]
    ['WeightDropout', 'LockedDropout', 'WeightDropout']
    """
    parts: list[nn.Module] = [drop(input_dropout, locked)] if input_dropout else []
    width = widths[0]
    for number, hidden in enumerate(widths[1:]):
        layer = Recurrent(cell, width, hidden, init=init)
        if weight_dropout and "weight_hh" not in layer.weights():
            raise ArgumentError(
                f"weight_dropout must be 0 for {cell!r}, which has no weight_hh, got"
                f" {weight_dropout!r}"
            )
        parts += [drop(dropout, locked)] if number else []
        parts.append(WeightDropout(layer, weight_dropout) if weight_dropout else layer)
        width = layer.output_size
    return Stack(parts)


def drop(rate: float, locked: bool) -> nn.Module:
    """Dropout with one mask for a sequence, or with fresh ones at each step.

    >>> drop(0.5, locked=True)
    LockedDropout(0.5)
    """
    return LockedDropout(rate) if locked else nn.Dropout(rate)
