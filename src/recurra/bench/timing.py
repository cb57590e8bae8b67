"""Two or more ways of one job, timed in turn: A B A B."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def in_turn(
    ways: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    least: int = 3,
    limit_s: float = float("inf"),
    span_s: float = 0.0,
) -> dict[str, list[float]]:
    """Run every way once to warm up, then all in turn, round by round.

    Args:
        ways: what is run, by name.
        rounds: how often, or oftener where that takes less than `span_s`.
        least: rounds that are run whatever they take.
        limit_s: no new round begins after so many seconds, once there are `least`.
        span_s: short runs go on for so many seconds: what disturbs a machine lasts longer than they
            do.

    Returns:
        The seconds of every round, by name.

    >>> {name: len(seconds) for name, seconds in in_turn({"a": int, "b": str}, rounds=5).items()}
    {'a': 5, 'b': 5}
    """
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    started, done, past = time.perf_counter(), 0, 0.0
    while (done < rounds or past < span_s) and (done < least or past <= limit_s):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
        done, past = done + 1, time.perf_counter() - started
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in seconds.items()}
