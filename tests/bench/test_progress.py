"""What a person sees: a bar on a terminal, a line a stage elsewhere, nothing when silent."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from recurra.bench.progress import Display


def shown(terminal: bool, show: bool = True) -> str:
    out = StringIO()
    console = Console(force_terminal=terminal, force_interactive=terminal, file=out, width=110)
    with Display(show, console) as display:
        display.expect(4)
        display.stage("times, 2 threads")
        for row in ("cells lstm 5, 3, 4, 6, 1", "cells gru 5, 3, 4, 6, 1"):
            display.advance(row)
    return out.getvalue()


def test_a_bar_on_a_terminal_names_the_stage_and_the_row_done() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(True))
    assert (
        "times, 2 threads" in text
        and "━" in text
        and " 25%" in text
        and " 50%" in text
        and "cells gru 5, 3, 4, 6, 1" in text
    )


def test_a_line_a_stage_elsewhere() -> None:
    assert shown(False) == "times, 2 threads ...\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_silence(terminal: bool) -> None:
    assert shown(terminal, show=False) == ""


def test_no_thread_draws_while_a_row_is_timed() -> None:
    import threading

    with Display(True, Console(force_terminal=True, file=StringIO())):
        assert threading.active_count() == 1 or not any(
            "Refresh" in type(each).__name__ for each in threading.enumerate()
        )
