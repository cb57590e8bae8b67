"""Progress in a notebook: one output of the cell, drawn anew in its place, without widgets."""

from __future__ import annotations

import time
from typing import Any

from recurra.display.elements import Html, card, note, safe

OFTEN = 0.25
"""Seconds from one drawing to the next: what a reader can follow, and little for a notebook's server to pass on."""


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
        self.began = self.drawn_at = time.monotonic()
        self.first: int | None = None
        self.handle: Any = None

    def start(self) -> None:
        """Show it."""
        if not self.transient:
            self.draw()

    def update(self, done: int, name: str, figures: str = "") -> None:
        """Say how much is done, and what stands before and after the bar."""
        if self.first is None:  # a run that goes on has done some already; what it is done with first came just now
            self.first = max(0, done - 1)
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

        shown = {"text/plain": "", "text/html": ""} if ended and self.transient else {"text/plain": str(self), "text/html": self.html()}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)
        self.drawn_at = time.monotonic()

    def __str__(self) -> str:
        line = f"{self.name}  {self.percentage:.0f}%  {self.figures}  {self.clock()}"
        return "\n".join([line, *self.lines])

    def html(self) -> str:
        """The bar, and its lines under it."""
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>'
        words = f"{safe(self.name)}{bar}{self.percentage:.0f}% &ensp;{safe(self.figures)}&ensp; {self.clock()}"
        return card("", Html(f"<div>{words}</div>"), *(note(line) for line in self.lines))

    @property
    def percentage(self) -> float:
        """Of the whole."""
        return 100 * self.done / self.total if self.total else 100.0

    def clock(self) -> str:
        """The time left by the pace so far, or the time it took."""
        elapsed = time.monotonic() - self.began
        if self.done >= self.total:
            return _clock(elapsed)
        made = self.done - (self.first or 0)
        return f"{_clock(elapsed / made * (self.total - self.done))} left" if made > 0 else ""


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _clock(3725.4), _clock(59.6)
    ('1:02:05', '0:01:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
