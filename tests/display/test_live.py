"""A notebook's bar is one output, drawn anew in its place and not too often."""

from __future__ import annotations

from typing import Any

import pytest

from recurra.display import NotebookBar, live
from tests.display.markup import Markup


class Output:
    """Stands for IPython: what a cell's outputs would hold."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.drawn = 0

    def display(self, shown: dict[str, str], raw: bool, display_id: bool) -> Output:
        assert raw and display_id
        self.shown.append(shown)
        return self

    def update(self, shown: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown[-1], self.drawn = shown, self.drawn + 1


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    made = Output()
    monkeypatch.setattr("IPython.display.display", made.display)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def words(shown: dict[str, str]) -> str:
    return " ".join(Markup(shown["text/html"]).words.split())


def test_a_bar_is_one_output(output: Output, clock: list[float]) -> None:
    bar = NotebookBar(4, "pass 1/2")
    bar.start()
    for done in range(1, 5):
        clock[0] += 1.0
        bar.update(done, f"pass {1 + done // 3}/2", "loss <1>")
        bar.say(f"line {done}")
    bar.stop()
    (shown,) = output.shown
    assert 'value="4" max="4"' in shown["text/html"] and words(shown).startswith(
        "pass 2/2100% loss <1>line 1line 2"
    )
    assert shown["text/plain"] == "pass 2/2  100%  loss <1>\nline 1\nline 2\nline 3\nline 4"


def test_it_is_drawn_four_times_a_second_at_most(output: Output, clock: list[float]) -> None:
    bar = NotebookBar(1000, "pass 1/1")
    bar.start()
    for done in range(1, 1001):
        clock[0] += 0.001
        bar.update(done, "pass 1/1")
    assert 3 <= output.drawn <= 4
    bar.stop()
    assert words(output.shown[0]).startswith("pass 1/1100%")


def test_a_short_work_shows_nothing_and_a_long_one_leaves_nothing(
    output: Output, clock: list[float]
) -> None:
    bar = NotebookBar(10, "reading text", transient=True)
    bar.start()
    bar.update(10, "reading text")
    bar.stop()
    assert output.shown == []
    bar = NotebookBar(10, "reading text", transient=True)
    bar.start()
    clock[0] += 1.0
    bar.update(5, "reading text")
    assert "50%" in words(output.shown[0])
    bar.stop()
    assert output.shown == [{"text/plain": "", "text/html": ""}]


def test_nothing_to_do_is_all_done(output: Output) -> None:
    assert NotebookBar(0, "a").percentage == 100.0


def test_a_stopped_run_shows_how_far_it_came(output: Output, clock: list[float]) -> None:
    bar: Any = NotebookBar(10, "pass 1/1")
    bar.start()
    bar.update(4, "pass 1/1", "loss 1")
    bar.stop()
    assert "40% loss 1" in words(output.shown[0])
