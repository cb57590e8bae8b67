"""A diagnosis now and then while a model trains, for at most a fiftieth of the time."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from recurra.check import check_number, check_whole
from recurra.inspection.diagnosis import Diagnosis, diagnose

FIRST_GUESS = 10.0
"""Chunks that a first diagnosis is taken to cost, before one was measured: 3 are usual at 32 rows,
more at fewer.
"""
HISTORY = 1000
"""Training rows that are kept for the norms."""


class Watch:
    """Diagnoses the model on a few rows of the chunk at hand: a callback of `fit`, which writes
    nothing by itself.

    It keeps the time: a diagnosis is made only when all of them together, the next one reckoned at
    the cost of the dearest so far, stay within the share of the run's time. Each is noted in the
    history as a row of kind "diagnosis", with the verdicts, each layer's memory in steps (null:
    longer than the chunk) and the seconds it took. States start at zero. Of several processes the
    first alone watches. At 2 % the first comes after 500 chunks; a run that ends before it has been
    looked at is looked at once, at its end, whatever that costs; one that is stopped is not.

    Args:
        every: chunks, at least, from one diagnosis to the next.
        share: of the time that the run takes without it, in (0, 1]; 1 diagnoses at every `every`
            chunks.
        rows: of the chunk, at most.

    Attributes:
        diagnoses: pairs of a step and its diagnosis, in order, of the last run.
        elapsed_s: seconds spent on them.

    Raises:
        ArgumentError: an argument is outside its range.

    >>> Watch(every=50).share
    0.02
    """

    def __init__(self, every: int = 100, share: float = 0.02, rows: int = 8) -> None:
        self.every, self.rows = check_whole("every", every), check_whole("rows", rows)
        self.share = check_number("share", share, 0, 1, "(]")
        self.diagnoses: list[tuple[int, Diagnosis]] = []
        self.elapsed_s = 0.0
        self.began = time.perf_counter()
        self.dearest = self.chunks = 0.0
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self.last: tuple[dict[str, Any], Any] | None = None  # row and chunk

    def on_start(self, course: Any) -> None:
        """Start the clock; what was found in a run before is forgotten."""
        self.diagnoses, self.elapsed_s, self.last = [], 0.0, None
        self.history.clear()
        self.began, self.chunks = time.perf_counter(), 0

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        """Diagnose, if it is time and there is time."""
        self.chunks += 1
        self.last = row, chunk
        self.history.append(row)
        if (
            self.chunks % self.every == 0
            and self._affordable(time.perf_counter())
            and _first(course)
        ):
            self._look(course, row, chunk)

    def on_end(self, course: Any) -> None:
        """Diagnose on the last chunk, if it never was time."""
        if self.last and not self.diagnoses and not course.run.stopped and _first(course):
            self._look(course, *self.last)
        self.last = None

    def _affordable(self, now: float) -> bool:
        """Whether the next diagnosis fits into the share of the time that the run took without
        them.
        """
        without = now - self.began - self.elapsed_s
        next_s = self.dearest or FIRST_GUESS * without / self.chunks
        return self.share == 1 or self.elapsed_s + next_s <= self.share * without

    def _look(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        """Diagnose, and note what was found and what it took."""
        began = time.perf_counter()
        self._diagnose(course, row, chunk)
        took = time.perf_counter() - began
        self.dearest, self.elapsed_s = max(self.dearest, took), self.elapsed_s + took
        course.note(self._row(row, took))

    def _diagnose(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        part = chunk._replace(
            x=chunk.x[:, : self.rows],
            y=chunk.y[:, : self.rows],
            resets=None if chunk.resets is None else chunk.resets[:, : self.rows],
        )
        recipe = course.recipe
        found = diagnose(
            course.model,
            part,
            history=self.history,
            clip_norm=recipe.clip_norm,
            window=recipe.window,
        )
        self.diagnoses.append((row["step"], found))

    def _row(self, row: dict[str, Any], took: float) -> dict[str, Any]:
        step, found = self.diagnoses[-1]
        record = found.to_dict()
        return {
            "kind": "diagnosis",
            "epoch": row["epoch"],
            "step": step,
            "verdicts": record["verdicts"],
            "elapsed_s": took,
            "memory_steps": [layer["memory_steps"] for layer in record["layers"]],
        }


def _first(course: Any) -> bool:
    """Whether this is the run's first process, or its only one."""
    return not getattr(getattr(course, "team", None), "rank", 0)
