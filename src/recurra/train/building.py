"""The progress of making token files, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Building:
    """Shows how much text has been read, and leaves nothing behind.

    Args:
        total: bytes to read, in all passes.
        show: False to be silent.
        console: where; the standard error stream if None.
    """

    def __init__(self, total: int, show: bool, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
        live = show and console.is_terminal
        self.bar = Progress(*columns, console=console, disable=not live, transient=True, refresh_per_second=4)
        self.task = self.bar.add_task("reading text", total=max(1, total))

    def __enter__(self) -> Building:
        self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()

    def watch(self, blocks: Iterator[str], what: str) -> Iterator[str]:
        """Give the blocks on, and count them."""
        self.bar.update(self.task, description=f"reading text: {what}")
        for block in blocks:
            yield block
            self.bar.advance(self.task, len(block))
