"""Two or more ways of one job, timed in turn: A B A B."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def in_turn(
    ways: Mapping[str, Callable[[], object]], rounds: int = 9, least: int = 3, limit_s: float = float("inf")
) -> dict[str, list[float]]:
    """Run every way once to warm up, then all in turn, round by round.

    Args:
        ways: what is run, by name.
        rounds: how often.
        least: rounds that are run whatever they take.
        limit_s: no new round begins after so many seconds, once there are `least`.

    Returns:
        The seconds of every round, by name.

    >>> {name: len(seconds) for name, seconds in in_turn({"a": int, "b": str}, rounds=5).items()}
    {'a': 5, 'b': 5}
    """
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    started = time.perf_counter()
    for done in range(rounds):
        if done >= least and time.perf_counter() - started > limit_s:
            break
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in seconds.items()}
