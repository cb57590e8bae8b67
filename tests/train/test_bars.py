"""The bar suits where it is shown; in a notebook it is the same words in one output."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from recurra.display import NotebookBar
from recurra.train.bars import TerminalBar, progress_bar
from recurra.train.building import Building
from recurra.train.progress import Display
from tests.train.test_progress import TRAIN, VALIDATION

PLACES = {
    "terminal": (True, False, TerminalBar),
    "notebook": (False, True, NotebookBar),
    "file": (False, False, type(None)),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_bar_suits_the_place(place: str) -> None:
    terminal, jupyter, kind = PLACES[place]
    console = Console(force_terminal=terminal, force_jupyter=jupyter, file=StringIO())
    assert type(progress_bar(console, 10, "reading text")) is kind
    assert (
        type(Display(1, 1, True, console=console).bar) is kind
        and Display(1, 1, False, console=console).bar is None
    )
    building = Building(10, True, console)
    assert (
        type(building.bar) is kind
        and getattr(building.bar, "transient", True)
        and Building(10, False, console).bar is None
    )


def test_a_notebook_shows_what_a_terminal_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            shown[-1] = data

    def display(data: dict[str, str], **options: Any) -> Handle:
        shown.append(data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    out = StringIO()
    with Display(3, 4, True, "word", Console(force_jupyter=True, file=out)) as progress:
        for done in range(1, 5):
            progress.chunk(TRAIN, done)
        progress.validation(VALIDATION)
        progress.say("going on")
    bar, first, second = shown[0]["text/plain"].splitlines()
    assert bar.startswith(
        "pass 2/3  33%  loss 1.235 nats, perplexity 3.4  12k tokens/s  |g| 0.79  lr 3.0e-03 "
        " stopped after "
    )
    assert (
        first
        == "pass 2/3: train 1.5000, validation 1.7500 nats (perplexity 5.8), 950 tokens/s  best"
        " so far"
        and second == "going on"
    )
    assert len(shown) == 1 and out.getvalue() == ""
