"""A run's figures for TensorBoard."""

from __future__ import annotations

from os import PathLike
from typing import Any

from recurra.errors import MissingDependency


class TensorBoard:
    """Writes each row's figures as TensorBoard events: a callback of `fit`.

    Args:
        folder: where; the run's own folder is a good place.
        every: training rows from one that is written to the next.

    Raises:
        MissingDependency: tensorboard is not installed.
    """

    def __init__(self, folder: str | PathLike[str], every: int = 10) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingDependency(
                'TensorBoard needs a package; install it with: pip install "recurra[tensorboard]"'
            ) from None
        self.every, self.folder = every, folder
        self.make: Any = SummaryWriter

    def on_start(self, course: Any) -> None:
        """Open the events."""
        self.writer = self.make(str(self.folder), purge_step=course.step + 1)

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        """Write a training row's figures."""
        if row["step"] % self.every == 0:
            for name in ("loss", "grad_norm", "lr", "tokens_per_s"):
                self.writer.add_scalar(f"train/{name}", row[name], row["step"])

    def on_validation(self, course: Any, row: dict[str, Any]) -> None:
        """Write a validation's figures."""
        self.writer.add_scalar("validation/loss", row["validation_loss"], row["step"])
        self.writer.flush()

    def on_end(self, course: Any) -> None:
        """Close the events."""
        self.writer.close()
