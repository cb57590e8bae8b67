"""Measure: first whether the numbers agree, then how quickly they come."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch

from recurra.bench import rows
from recurra.bench.agree import Disagreement, wrong
from recurra.bench.machine import describe
from recurra.bench.neighbour import busy_neighbour
from recurra.bench.peak import fma_peak
from recurra.bench.plan import Plan
from recurra.bench.progress import Display
from recurra.bench.registry import VARIANTS, Case, cell_case, ragged_case, step_case, variant_case
from recurra.bench.timing import in_turn
from recurra.engine import forcing
from recurra.wording import count_text


def measure(plan: Plan | None = None, display: Display | None = None) -> dict[str, Any]:
    """Measure this machine against torch.nn: float32, forward and backward, sides in turn.

    Args:
        plan: what to measure; all of it if None.
        display: shows the course; silent if None.

    Returns:
        A record that JSON can hold: "machine", "plan", "peak" (GFLOP/s by threads), "rows" with all
            raw times and
        the verdicts, "summaries".

    Raises:
        Disagreement: values or gradients of a row are not torch.nn's, or the loop's; nothing was
            timed then.
        MethodUnavailable: the method of the plan cannot run a row.

    >>> from recurra.bench import Shape
    >>> record = measure(
    ...     Plan(
    ...         cells=("rnn",),
    ...         parts=("cells",),
    ...         shapes=(Shape(3, 2, 4, 5),),
    ...         threads=(1,),
    ...         rounds=3,
    ...         span_s=0.0,
    ...     )
    ... )
    >>> record["rows"][0]["name"], len(record["rows"][0]["seconds"]["torch"])
    ('rnn', 3)
    """
    plan = plan or Plan()
    display = display or Display(show=False)
    before = torch.get_num_threads()
    random = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        # asking for "auto" forces nothing: `step` is to run as it does for anybody
        with (
            nullcontext() if plan.method == "auto" else forcing(plan.method),
            display,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            return _measure(plan, display)
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(random)


def _measure(plan: Plan, display: Display) -> dict[str, Any]:
    listed = list(cases(plan))
    beside = [case for case in listed if case.part == "cells"] if plan.busy else []
    display.expect(len(plan.threads) * (2 * len(listed) + len(beside)))
    record: dict[str, Any] = {
        "machine": describe(),
        "plan": _described(plan),
        "peak": {},
        "rows": [],
    }
    if "flat" in plan.parts:  # first, while there is no freed memory in which growth would not show
        display.stage(f"memory over {count_text(plan.calls, 'call')}")
        record["rows"] += [rows.flat(name, plan.flat, plan.calls) for name in plan.cells]
    _check(plan, listed, display)
    for threads in plan.threads:
        torch.set_num_threads(threads)
        peaks = [fma_peak(plan.peak_s)]
        timed = _time(plan, listed, threads, False, display)
        peaks.append(fma_peak(plan.peak_s))
        with busy_neighbour(bool(beside)):
            timed += _time(plan, beside, threads, True, display)
        known = [peak for peak in peaks if peak is not None]
        record["peak"][str(threads)] = peak = max(known) if known else None
        record["rows"] += [
            row
            for case, busy, seconds in timed
            for row in rows.timed(case, seconds, threads, busy, peak)
        ]
    if "memory" in plan.parts:
        display.stage("memory held for backward")
        record["rows"] += [
            rows.held(name, shape) for name in plan.cells for shape in _single(plan.shapes)
        ]
    record["summaries"] = rows.summaries(record["rows"])
    return record


def cases(plan: Plan) -> Iterator[Case]:
    """What is timed, in order."""
    for part in plan.parts:
        if part == "cells":
            yield from (
                cell_case(part, name, shape) for name in plan.cells for shape in plan.shapes
            )
        elif part == "variants":
            yield from (
                variant_case(name, shape)
                for name in plan.cells
                if name in VARIANTS
                for shape in _single(plan.shapes)
            )
        elif part == "ragged":
            yield from (ragged_case(name, plan.ragged) for name in plan.cells)
        elif part == "long":
            yield from (cell_case(part, name, plan.long) for name in plan.cells)
        elif part == "step":
            yield from (step_case(name, shape) for name in plan.cells for shape in plan.steps)


def _check(plan: Plan, listed: list[Case], display: Display) -> None:
    """Raise, with every row that is wrong, before anything is timed."""
    found = []
    for threads in plan.threads:
        torch.set_num_threads(threads)
        display.stage(f"values and gradients, {count_text(threads, 'thread')}")
        for case in listed:
            found += wrong(case, threads)
            display.advance(f"{case.part} {case.name} {case.shape}")
    if found:
        raise Disagreement("\n".join([*found, "no speed is given while the numbers differ"]))


def _time(
    plan: Plan, listed: list[Case], threads: int, busy: bool, display: Display
) -> list[tuple[Case, bool, dict[str, list[float]]]]:
    if listed:
        display.stage(
            f"times, {count_text(threads, 'thread')}{', beside a busy process' if busy else ''}"
        )
    timed = []
    for case in listed:
        x = torch.randn(*case.shape[:3], dtype=torch.float32)
        ways = {name: side.way(x) for name, side in case.sides(case.shape).items()}
        timed.append(
            (case, busy, in_turn(ways, plan.rounds, plan.least, plan.limit_s, plan.span_s))
        )
        display.advance(f"{case.part} {case.name} {case.shape}")
    return timed


def _single(shapes: tuple[Any, ...]) -> list[Any]:
    """The shapes with one layer each, every one once."""
    return list(dict.fromkeys(shape.one_layer() for shape in shapes))


def _described(plan: Plan) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in vars(plan).items()
    }
