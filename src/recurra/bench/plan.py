"""What one run of the benchmark covers."""

from __future__ import annotations

from dataclasses import dataclass

from recurra.bench.machine import cores
from recurra.bench.registry import (
    CONTENDERS,
    FLAT,
    FLAT_CALLS,
    LONG,
    PARTS,
    QUICK_SHAPES,
    RAGGED,
    SHAPES,
    STEPS,
)
from recurra.bench.shape import Shape
from recurra.check import check_number, check_whole
from recurra.engine import METHODS
from recurra.errors import ArgumentError, choice_text


@dataclass(frozen=True)
class Plan:
    """What to measure, and how thoroughly.

    Attributes:
        cells: of "lstm", "gru", "rnn".
        shapes: T, B, I, H, layers of the parts "cells", "variants" (one layer each) and "memory".
        threads: numbers of threads, one after another.
        busy: measure the cells also beside a busy process.
        parts: of "cells", "variants", "ragged", "long", "memory", "flat", "step".
        method: how our side runs, as for `recurra.engine.scan`.
        rounds: how often each side is timed, at least.
        least: rounds that are run whatever they take.
        limit_s: seconds after which a row begins no further round, once it has had the least.
        span_s: seconds that a row of short runs goes on for.
        peak_s: seconds that a measurement of the FMA peak takes.
        ragged, long, flat, steps, calls: sizes of those parts.

    Raises:
        ArgumentError: a name is unknown, a number is not positive, or nothing is to be measured.

    >>> Plan(threads=(1,), cells=("gru",)).parts
    ('cells', 'variants', 'ragged', 'long', 'memory', 'flat', 'step')
    """

    cells: tuple[str, ...] = tuple(CONTENDERS)
    shapes: tuple[Shape, ...] = SHAPES
    threads: tuple[int, ...] = (1, 2) if cores() > 1 else (1,)
    busy: bool = False
    parts: tuple[str, ...] = PARTS
    method: str = "auto"
    rounds: int = 9
    least: int = 3
    limit_s: float = 20.0
    span_s: float = 1.0
    peak_s: float = 0.5
    ragged: Shape = RAGGED
    long: Shape = LONG
    flat: Shape = FLAT
    steps: tuple[Shape, ...] = STEPS
    calls: int = FLAT_CALLS

    def __post_init__(self) -> None:
        for argument, values, choices in (
            ("cells", self.cells, CONTENDERS),
            ("parts", self.parts, PARTS),
        ):
            for value in values:
                if value not in choices:
                    raise ArgumentError(choice_text(argument, value, choices))
        if self.method not in ("auto", *METHODS):
            raise ArgumentError(choice_text("method", self.method, ("auto", *METHODS)))
        for argument in ("cells", "shapes", "threads", "parts", "steps"):
            if not getattr(self, argument):
                raise ArgumentError(f"{argument} must not be empty, got none")
        for number in self.threads:
            check_whole("threads", number)
        for argument in ("rounds", "least", "calls"):
            check_whole(argument, getattr(self, argument))
        for argument in ("limit_s", "peak_s"):
            check_number(argument, getattr(self, argument), ends="()")
        check_number("span_s", self.span_s)


QUICK = dict(
    shapes=QUICK_SHAPES,
    rounds=3,
    least=1,
    limit_s=0.5,
    span_s=0.0,
    peak_s=0.1,
    calls=200,
    threads=(min(2, cores()),),
    steps=(STEPS[1]._replace(steps=50),),
)
"""What is different in a quick look: under 20 seconds on a quiet machine with two cores."""
