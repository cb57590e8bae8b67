"""A figure is held to its target, above or below, a tenth easier on one thread."""

from __future__ import annotations

import pytest

from recurra.bench.target import Target


@pytest.mark.parametrize(
    ("at_least", "got", "ok"),
    [(True, 1.5, True), (True, 1.49, False), (False, 1.5, True), (False, 1.51, False)],
)
def test_a_bound_is_kept_up_to_its_value(at_least: bool, got: float, ok: bool) -> None:
    assert Target(1.5, at_least).judge("ratio", got) == {
        "what": "ratio",
        "target": 1.5,
        "at_least": at_least,
        "got": got,
        "ok": ok,
    }


def test_not_a_number_reaches_nothing() -> None:
    assert (
        not Target(1.5).judge("ratio", float("nan"))["ok"]
        and not Target(1.5, at_least=False).judge("ratio", float("nan"))["ok"]
    )


def test_one_thread_may_fall_short_by_a_tenth() -> None:
    assert [Target(2.0).on(threads).value for threads in (1, 2, 8)] == [1.8, 2.0, 2.0]
    assert [Target(1.2, at_least=False).on(threads).value for threads in (1, 2)] == [1.32, 1.2]
