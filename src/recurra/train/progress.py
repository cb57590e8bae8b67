"""What a person sees while a run goes on: a bar on a terminal and in a notebook; elsewhere a record
a validation, for machines.
"""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console

from recurra.strict_json import dumps
from recurra.train.bars import progress_bar
from recurra.wording import time_text

FEW = 5
"""Chunks after which one may say how long the rest will take."""


class Display:
    """Shows the course of a run.

    Args:
        epochs: passes in all.
        chunks: chunks of a pass.
        show: False to be silent.
        level: of the tokens; bits are shown for characters and bytes, perplexity for words and
            pieces.
        console: where; the standard error stream if None.
    """

    def __init__(
        self,
        epochs: int,
        chunks: int,
        show: bool,
        level: str = "character",
        console: Console | None = None,
    ) -> None:
        self.epochs, self.show, self.level = epochs, show, level
        self.console = console or Console(stderr=True)
        self.chunks = epochs * chunks
        self.bar = progress_bar(self.console, self.chunks, f"pass 1/{epochs}") if show else None
        self.began: tuple[float, int] | None = (
            None  # when the first chunk shown was done, and how many were by then
        )
        self.last, self.entered, self.shown = (0.0, 0), 0.0, ("", "")

    def __enter__(self) -> Display:
        self.entered = time.monotonic()
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if not self.bar:
            return
        if self.began:
            name, figures = self.shown
            verb = "took" if self.last[1] >= self.chunks else "stopped after"
            self.bar.update(
                self.last[1],
                name,
                f"{figures}  {verb} {time_text(time.monotonic() - self.entered)}",
            )
        self.bar.stop()

    def chunk(self, row: dict[str, Any], done: int) -> None:
        """Show a training row.

        Args:
            row: the row.
            done: chunks of the whole run that are done.
        """
        self.last = time.monotonic(), done
        self.began = self.began or self.last
        if self.bar:
            cost = f"loss {row['loss']:.3f} nats, {custom(row['loss'], self.level)}"
            figures = (
                f"{cost}  {_thousands(row['tokens_per_s'])} tokens/s  |g| {row['grad_norm']:.2g} "
                f" lr {row['lr']:.1e}"
            )
            self.shown = f"pass {row['epoch']}/{self.epochs}", figures
            self.bar.update(done, self.shown[0], f"{figures}  {left_text(self.left_s())}".rstrip())

    def left_s(self) -> float | None:
        """Seconds to the end of the run, at the pace of the chunks so far; None before there are a
        few.
        """
        if self.began is None or self.last[1] - self.began[1] < FEW:
            return None
        (now, done), (then, first) = self.last, self.began
        return (now - then) / (done - first) * (self.chunks - done)

    def validation(self, row: dict[str, Any]) -> None:
        """Show a validation row, in a line that stays: a sentence where there is a bar, JSON
        elsewhere.
        """
        costs = (
            f"train {row['train_loss']:.4f}, validation {row['validation_loss']:.4f} nats"
            f" ({custom(row['validation_loss'], self.level)})"
        )
        best = "  best so far" if row["best"] else ""
        self._line(
            f"pass {row['epoch']}/{self.epochs}: {costs}, {_thousands(row['tokens_per_s'])}"
            f" tokens/s{best}",
            row,
        )

    def say(self, text: str) -> None:
        """Show a sentence that stays."""
        self._line(text, {"kind": "note", "text": text})

    def _line(self, text: str, record: dict[str, Any]) -> None:
        if self.bar:
            self.bar.say(text)
        elif self.show:
            self.console.file.write(dumps(record) + "\n")
            self.console.file.flush()


def left_text(seconds: float | None) -> str:
    """How long a run still takes, in words.

    >>> left_text(700.0), left_text(None)
    ('about 12 min left', '')
    """
    return "" if not seconds else f"about {time_text(seconds)} left"


def custom(nats: float, level: str) -> str:
    """A loss in the unit that is the custom: bits for characters and bytes, perplexity for words
    and pieces.

    >>> custom(1.3863, "character"), custom(4.6052, "word")
    ('2.000 bits', 'perplexity 100.0')
    """
    if level in ("character", "byte"):
        return f"{nats / math.log(2):.3f} bits"
    return f"perplexity {math.exp(nats):.1f}" if nats < 700 else "perplexity inf"


def _thousands(count: float) -> str:
    """A rate in three figures.

    >>> _thousands(123456.0), _thousands(930.0)
    ('123k', '930')
    """
    return (
        f"{count / 1000:.0f}k"
        if count >= 10_000
        else f"{count / 1000:.1f}k"
        if count >= 1000
        else f"{count:.0f}"
    )
