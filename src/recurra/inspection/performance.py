"""How well a net does, beside an answer that needs no net, and what the course of its losses
says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recurra.check import is_number
from recurra.inspection.loss import Cost

BEATS = 0.98
"""A loss beats the naive baseline from 2 % below it: what a batch of some hundred labels says of a
loss is no surer.
"""
TRAINED = 100
"""Training steps after which a net knows at least how often each label comes: Adam moves each
weight by its lr at every step.
"""
RISE = 0.02
"""Of its best, how far a validation loss must have risen at the end of a run that overfits; its
noise is smaller.
"""
FALL = 0.01
"""Of a validation loss, what its last validation must have brought in a run that ended too
early.
"""


class Performance(NamedTuple):
    """A loss and the naive baseline's on the same targets.

    Attributes:
        loss: of the run's best validation where its history tells of one, else of the batch; None
            without a target.
        naive: the naive baseline's; None where there is none.
        baseline: what the naive baseline answers with, or its name.
        unit: of both.
        trained: whether the net has been trained for a hundred steps; None where nobody said.
    """

    loss: float | None = None
    naive: float | None = None
    baseline: str = "the naive baseline"
    unit: str = ""
    trained: bool | None = None

    @property
    def beats(self) -> bool:
        """Whether the loss is better than the naive baseline's."""
        return self.loss is not None and self.naive is not None and self.loss < BEATS * self.naive

    @property
    def fails(self) -> bool:
        """Whether it is known to be no better."""
        return self.loss is not None and self.naive is not None and not self.beats

    def text(self) -> str:
        """Both in a sentence without an end; empty without a loss.

        >>> Performance(1.9, 1.58, "a 5-gram", "nats a token").text()
        'the loss is 1.9 nats a token, that of a 5-gram 1.58'
        """
        if self.loss is None:
            return ""
        unit = f" {self.unit}" if self.unit and self.unit != "mean squared error" else ""
        kind = "mean squared error" if self.unit == "mean squared error" else "loss"
        beside = "" if self.naive is None else f", that of {self.baseline} {self.naive:.4g}"
        return f"the {kind} is {self.loss:.4g}{unit}{beside}"


class Course(NamedTuple):
    """The losses of a run, validation by validation.

    Attributes:
        epochs: of each validation.
        training, validation: the losses.
    """

    epochs: Sequence[int]
    training: Sequence[float]
    validation: Sequence[float]

    @property
    def best(self) -> int:
        """The number of the best validation."""
        return min(range(len(self.validation)), key=self.validation.__getitem__)


def course_of(history: Iterable[Mapping[str, Any]]) -> Course | None:
    """The losses of a run's history; None before its first validation."""
    names = ("epoch", "train_loss", "validation_loss")
    rows = [
        row
        for row in history
        if row.get("kind") == "validation" and all(is_number(row.get(name)) for name in names)
    ]
    return Course(*([row[name] for row in rows] for name in names)) if rows else None


def performance_of(
    cost: Cost, history: Sequence[Mapping[str, Any]] | None, baseline: float | None
) -> Performance:
    """Compare a loss with the naive baseline.

    Args:
        cost: of the batch.
        history: the rows of a run. One of kind "baseline" has a `loss` and a `name`; validations
            have theirs.
        baseline: the loss of a naive baseline, in place of all others.
    """
    rows = [
        row
        for row in history or ()
        if row.get("kind") == "baseline" and is_number(row.get("loss")) and row.get("name")
    ]
    trained = (
        None if history is None else sum(row.get("kind") == "train" for row in history) >= TRAINED
    )
    naive, name = (baseline, "the naive baseline") if baseline is not None else (None, "")
    if naive is None and rows:
        naive, name = rows[-1]["loss"], str(rows[-1]["name"])
    course = course_of(history or ())
    if naive is None:
        return Performance(cost.figure, cost.naive, cost.baseline, cost.unit, trained)
    if course is None:
        return Performance(cost.figure, naive, name, cost.unit, trained)
    unit = str(rows[-1].get("unit", cost.unit)) if rows else cost.unit
    return Performance(course.validation[course.best], naive, name, unit, trained)
