"""What a run did."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recurra.display import Html, Line, card, chart, note, one_line, table
from recurra.errors import DataError, RunError
from recurra.models import LanguageModel
from recurra.train.folder import read_history

Row = dict[str, Any]


class Run:
    """What a run did so far, or in all; a notebook shows the course of its loss.

    Attributes:
        model: the model; when the run has ended, with the weights of its best validation.
        best_loss: the best validation loss, in nats a token.
        stopped: whether it was interrupted.
        folder: where it is on disk, or None.
    """

    def __init__(self, model: LanguageModel, folder: Path | None = None) -> None:
        self.model, self.folder = model, folder
        self.best_loss, self.stopped = math.inf, False
        self.rows: list[Row] = []

    def __repr__(self) -> str:
        said = [
            (
                f"best validation loss {self.best_loss:.4g} nats"
                if math.isfinite(self.best_loss)
                else "not validated yet"
            )
        ]
        said += ["stopped"] * self.stopped + (
            [f"in {one_line(self.folder)!r}"] if self.folder else []
        )
        return f"Run({', '.join(said)})"

    def _repr_html_(self) -> str:
        try:
            rows = self.history
        except (RunError, DataError) as error:
            return card(repr(self), note(error))
        return card(repr(self), *loss_pieces(rows))

    @property
    def history(self) -> list[Row]:
        """Rows as plain records: one a chunk (kind "train"), one a validation; read from the folder
        where there is one.
        """
        return self.rows if self.folder is None else read_history(self.folder)


def loss_pieces(history: list[Row]) -> list[Html]:
    """The loss of a run as a chart, and its best and last validations as a table.

    Args:
        history: its rows.
    """
    counted = [row for row in history if isinstance(row, dict) and isinstance(row.get("step"), int)]
    train = [row for row in counted if row.get("kind") == "train"]
    validations = [row for row in counted if row.get("kind") == "validation"]
    lines = [
        _line("training, each chunk", train, "loss"),
        _line("validation", validations, "validation_loss", dots=True),
    ]
    best = min(validations, key=_loss, default=None)
    shown = {"best": best, "last": validations[-1] if validations else None}
    cells = [
        [
            name,
            row.get("epoch"),
            row["step"],
            *(f"{_figure(row.get(loss)):.4f}" for loss in ("train_loss", "validation_loss")),
        ]
        for name, row in shown.items()
        if row
    ]
    heads = ["validation", "epoch", "step", "train loss", "validation loss"]
    return [
        chart([line for line in lines if line.x], "training step", "loss, nats a token"),
        table(heads, cells),
    ]


def _line(name: str, rows: list[Row], figure: str, dots: bool = False) -> Line:
    return Line(
        name, [row["step"] for row in rows], [_figure(row.get(figure)) for row in rows], dots
    )


def _loss(row: Row) -> float:
    return _figure(row.get("validation_loss"))


def _figure(value: Any) -> float:
    """A figure of a row; one that was not finite is null in the history, and never the best, and so
    is what is no number.
    """
    return value if isinstance(value, (int, float)) and not math.isnan(value) else math.inf
