"""Progress in a notebook: one output of the cell, drawn anew in its place, without widgets."""

from __future__ import annotations

import time
from typing import Any

from recurra.display.elements import Html, card, note, safe

OFTEN = 0.25
"""Seconds from one drawing to the next: what a reader can follow, and little for a notebook's
server to pass on.
"""


class NotebookBar:
    """A bar, with lines under it that stay.

    Args:
        total: what is to be done.
        name: stands before the bar.
        transient: show nothing for the first moment, and leave nothing behind.
    """

    def __init__(self, total: int, name: str, transient: bool = False) -> None:
        self.total, self.name, self.transient = total, name, transient
        self.done, self.figures, self.lines = 0, "", [""][:0]
        self.drawn_at = time.monotonic()
        self.handle: Any = None

    def start(self) -> None:
        """Show it."""
        if not self.transient:
            self.draw()

    def update(self, done: int, name: str, figures: str = "") -> None:
        """Say how much is done, and what stands before and after the bar."""
        self.done, self.name, self.figures = done, name, figures
        if time.monotonic() - self.drawn_at >= OFTEN:
            self.draw()

    def say(self, text: str) -> None:
        """Add a line that stays."""
        self.lines.append(text)
        self.draw()

    def stop(self) -> None:
        """Draw it for the last time."""
        if self.handle or not self.transient:
            self.draw(ended=True)

    def draw(self, ended: bool = False) -> None:
        """Put what is known in the place of what was shown."""
        from IPython.display import display

        shown = (
            {"text/plain": "", "text/html": ""}
            if ended and self.transient
            else {"text/plain": str(self), "text/html": self.html()}
        )
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)
        self.drawn_at = time.monotonic()

    def __str__(self) -> str:
        line = f"{self.name}  {self.percentage:.0f}%  {self.figures}".rstrip()
        return "\n".join([line, *self.lines])

    def html(self) -> str:
        """The bar, and its lines under it."""
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>'
        words = f"{safe(self.name)}{bar}{self.percentage:.0f}% &ensp;{safe(self.figures)}"
        return card("", Html(f"<div>{words}</div>"), *(note(line) for line in self.lines))

    @property
    def percentage(self) -> float:
        """Of the whole."""
        return 100 * self.done / self.total if self.total else 100.0
