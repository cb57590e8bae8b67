"""What a figure is to reach, as data beside the row that it belongs to."""

from __future__ import annotations

from typing import Any, NamedTuple

ONE_THREAD = 0.1
"""On one thread a ratio may fall short of its target by this share."""


class Target(NamedTuple):
    """A bound that a figure is to keep.

    Attributes:
        value: the bound.
        at_least: whether the figure is to lie above it; else below.

    >>> Target(1.15, at_least=False).judge("time", 1.2)
    {'what': 'time', 'target': 1.15, 'at_least': False, 'got': 1.2, 'ok': False}
    """

    value: float
    at_least: bool = True

    def on(self, threads: int) -> Target:
        """The bound of a ratio on so many threads: what is asked for two or more, a tenth easier on
        one.
        """
        easier = 1 - ONE_THREAD if self.at_least else 1 + ONE_THREAD
        return self._replace(value=round(self.value * easier, 4)) if threads == 1 else self

    def judge(self, what: str, got: float) -> dict[str, Any]:
        """The verdict on a figure, as a row of the report."""
        ok = got >= self.value if self.at_least else got <= self.value
        return {
            "what": what,
            "target": self.value,
            "at_least": self.at_least,
            "got": got,
            "ok": bool(ok),
        }
