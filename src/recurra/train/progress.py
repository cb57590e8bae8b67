"""What a person sees while a run goes on: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """Shows the course of a run.

    Args:
        epochs: passes in all.
        chunks: chunks of a pass.
        show: False to be silent.
        console: where; the standard error stream if None.
    """

    def __init__(self, epochs: int, chunks: int, show: bool, console: Console | None = None) -> None:
        self.epochs, self.show = epochs, show
        self.console = console or Console(stderr=True)
        columns = (
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"), TimeRemainingColumn(),
        )  # fmt: skip
        live = show and self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, disable=not live, refresh_per_second=4)
        self.task = self.bar.add_task("train", total=epochs * chunks, epoch=f"1/{epochs}", figures="")

    def __enter__(self) -> Display:
        if not self.bar.disable:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if not self.bar.disable:
            self.bar.stop()

    def chunk(self, row: dict[str, Any]) -> None:
        """Show a training row."""
        figures = f"loss {row['loss']:.3f} nats  {_thousands(row['tokens_per_s'])} tokens/s  |g| {row['grad_norm']:.2f}"
        self.bar.update(self.task, advance=1, epoch=f"{row['epoch']}/{self.epochs}", figures=figures)

    def epoch(self, row: dict[str, Any]) -> None:
        """Show a validation row, in a line that stays."""
        if self.show:
            best = "  best so far" if row["best"] else ""
            text = f"epoch {row['epoch']}/{self.epochs}: train {row['train_loss']:.4f}, validation {row['validation_loss']:.4f} nats"
            self.bar.console.print(f"{text}, {_thousands(row['tokens_per_s'])} tokens/s{best}", highlight=False, soft_wrap=True)


def _thousands(count: float) -> str:
    """A rate in three figures.

    >>> _thousands(123456.0), _thousands(930.0)
    ('123k', '930')
    """
    return f"{count / 1000:.0f}k" if count >= 10_000 else f"{count / 1000:.1f}k" if count >= 1000 else f"{count:.0f}"
