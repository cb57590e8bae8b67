"""What the losses of a run say: worse than the naive baseline, overfitting, underfitting."""

from __future__ import annotations

from recurra.inspection.performance import FALL, RISE, Course, Performance
from recurra.inspection.verdicts import Verdict


def judge_run(course: Course | None, performance: Performance) -> tuple[Verdict, ...]:
    """Every verdict on a run as a whole; none without a validation."""
    if course is None:
        return ()
    verdicts = [
        worse_than_naive(course, performance),
        overfitting(course),
        underfitting(course, performance),
    ]
    return tuple(verdict for verdict in verdicts if verdict)


def worse_than_naive(course: Course, performance: Performance) -> Verdict | None:
    """The best validation loss is no better than what needs no net."""
    if not performance.fails:
        return None
    evidence = (
        f"After {course.epochs[-1]} epochs {performance.text()}: the net has not learned what needs"
        " no net."
    )
    advice = (
        "a higher lr, more epochs, a wider net; then what the other verdicts say. Until it is"
        " better, its samples and scores say little"
    )
    return Verdict("worse than the naive baseline", "problem", evidence, advice)


def overfitting(course: Course) -> Verdict | None:
    """The validation loss ends above its best, while the training loss has fallen on."""
    best, last = course.best, len(course.validation) - 1
    low, high = course.validation[best], course.validation[last]
    if not high > (1 + RISE) * low or not course.training[last] < course.training[best]:
        return None
    evidence = (
        f"The validation loss rose from {low:.4g} (epoch {course.epochs[best]}) to {high:.4g}"
        f" (epoch {course.epochs[last]}), while the training loss fell from"
        f" {course.training[best]:.4g} to {course.training[last]:.4g}."
    )
    advice = (
        "more dropout, weight decay, a smaller net, more data; stop_after ends a run that gets no"
        " better. The best model is the one kept"
    )
    return Verdict("overfitting", "warning", evidence, advice)


def underfitting(course: Course, performance: Performance) -> Verdict | None:
    """The run ended while its validation loss was still falling, or its training loss is no better
    than the naive baseline.
    """
    last = len(course.validation) - 1
    low, training = course.validation[last], course.training[last]
    before = min(course.validation[:last], default=low)
    said = []
    if low < (1 - FALL) * before:
        said.append(
            f"the run ended while the validation loss was still falling: {before:.4g}, then"
            f" {low:.4g}"
        )
    if performance.naive is not None and training >= performance.naive:
        said.append(
            f"even the training loss, {training:.4g}, is no better than {performance.naive:.4g},"
            f" that of {performance.baseline}"
        )
    if not said:
        return None
    text = "; ".join(said)
    advice = (
        "more epochs (recurra resume RUN --epochs N goes on), a higher lr, a wider net, less"
        " dropout"
    )
    return Verdict("underfitting", "warning", f"{text[:1].upper()}{text[1:]}.", advice)
