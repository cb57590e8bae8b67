"""Ways run in turn, so that what disturbs one disturbs the other."""

from __future__ import annotations

import time

from recurra.bench.timing import in_turn, medians


def test_ways_run_in_turn_after_one_run_to_warm_up() -> None:
    order: list[str] = []
    seconds = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert "".join(order) == "ab" + "ababab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_past_its_time_no_round_begins_once_there_are_enough() -> None:
    runs = []
    seconds = in_turn(
        {"a": lambda: runs.append(time.sleep(0.001))}, rounds=9, least=2, limit_s=1e-9
    )
    assert len(seconds["a"]) == 2 and len(runs) == 3


def test_short_runs_go_on_for_the_time_asked_for_and_no_longer_than_allowed() -> None:
    def way() -> None:
        time.sleep(0.001)

    assert 5 <= len(in_turn({"a": way}, rounds=2, span_s=0.02)["a"]) <= 20
    assert len(in_turn({"a": way}, rounds=2, span_s=60.0, limit_s=0.005)["a"]) <= 5


def test_what_is_timed_is_the_way_alone() -> None:
    seconds = in_turn({"a": lambda: time.sleep(0.02), "b": int}, rounds=3)
    assert all(each >= 0.02 for each in seconds["a"]) and len(seconds["b"]) == 3


def test_medians_are_by_name() -> None:
    assert medians({"a": [3.0, 1.0, 2.0], "b": [5.0]}) == {"a": 2.0, "b": 5.0}
