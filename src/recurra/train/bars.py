"""Progress bars: on a terminal, in a notebook, or none where nobody would see one."""

from __future__ import annotations

from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from recurra.display import NotebookBar
from recurra.wording import printable


@final
class TerminalBar:
    """A bar on a terminal, with lines above it that stay.

    Args:
        console: the terminal.
        total: what is to be done.
        name: stands before the bar.
        transient: leave nothing behind.
    """

    def __init__(self, console: Console, total: int, name: str, transient: bool = False) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
        )
        self.progress = Progress(
            *columns, console=console, transient=transient, refresh_per_second=4
        )
        self.task = self.progress.add_task(name, total=total, figures="")

    def start(self) -> None:
        """Show it."""
        self.progress.start()

    def update(self, done: int, name: str, figures: str = "") -> None:
        """Say how much is done, and what stands before and after the bar."""
        self.progress.update(self.task, completed=done, description=name, figures=figures)

    def say(self, text: str) -> None:
        """Add a line that stays."""
        self.progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Draw it for the last time."""
        self.progress.stop()


def progress_bar(
    console: Console, total: int, name: str, transient: bool = False
) -> TerminalBar | NotebookBar | None:
    """The bar that suits a console; None where it is a file or a pipe.

    Args:
        console: where.
        total: what is to be done.
        name: stands before the bar.
        transient: leave nothing behind.
    """
    if console.is_jupyter:
        return NotebookBar(total, name, transient)
    return TerminalBar(console, total, name, transient) if console.is_terminal else None
