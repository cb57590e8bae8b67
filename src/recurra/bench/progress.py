"""What a person sees while a benchmark goes on: a bar on a terminal, a line a stage elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Display:
    """Shows the course of a benchmark; it draws between rows only, never while one is timed.

    Args:
        show: False to be silent.
        console: where; the standard error stream if None.
    """

    def __init__(self, show: bool = True, console: Console | None = None) -> None:
        self.show = show
        self.console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.fields[stage]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[row]}"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(
            *columns,
            console=self.console,
            disable=not (show and self.console.is_terminal),
            auto_refresh=False,
        )
        self.task = self.bar.add_task("bench", total=None, stage="", row="")

    def __enter__(self) -> Display:
        if not self.bar.disable:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if not self.bar.disable:
            self.bar.stop()

    def expect(self, rows: int) -> None:
        """Say how many rows there will be, checks included."""
        self.bar.update(self.task, total=rows)

    def stage(self, text: str) -> None:
        """Name what follows."""
        self.bar.update(self.task, stage=text, row="", refresh=True)
        if self.show and self.bar.disable:
            self.console.print(f"{text} ...", highlight=False, soft_wrap=True)

    def advance(self, row: str) -> None:
        """One row is done."""
        self.bar.update(self.task, advance=1, row=row, refresh=True)
