"""The progress of making token files, on a terminal or in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from recurra.train.bars import progress_bar


class Building:
    """Shows how much text has been read, and leaves nothing behind.

    Args:
        total: bytes to read, in all passes.
        show: False to be silent.
        console: where; the standard error stream if None.
    """

    def __init__(self, total: int, show: bool, console: Console | None = None) -> None:
        self.done = 0
        self.bar = (
            progress_bar(
                console or Console(stderr=True), max(1, total), "reading text", transient=True
            )
            if show
            else None
        )

    def __enter__(self) -> Building:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.bar:
            self.bar.stop()

    def watch(self, blocks: Iterator[str], what: str) -> Iterator[str]:
        """Give the blocks on, and count them."""
        self._count(0, what)
        for block in blocks:
            yield block
            self._count(len(block), what)

    def _count(self, more: int, what: str) -> None:
        self.done += more
        if self.bar:
            self.bar.update(self.done, f"reading text: {what}")
