"""What a run did."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recurra.models import LanguageModel
from recurra.train.folder import read_history

Row = dict[str, Any]


class Run:
    """What a run did so far, or in all.

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

    @property
    def history(self) -> list[Row]:
        """Rows as plain records: one a chunk (kind "train"), one a validation; read from the folder where there is one."""
        return self.rows if self.folder is None else read_history(self.folder)
