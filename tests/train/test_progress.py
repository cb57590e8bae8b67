"""What a person sees: a bar on a terminal, a record a validation elsewhere, nothing when silent."""

from __future__ import annotations

import json
import re
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from recurra.train.progress import FEW, Display, _thousands, custom

TRAIN = {
    "kind": "train",
    "epoch": 2,
    "loss": 1.23456,
    "tokens_per_s": 12345.6,
    "grad_norm": 0.789,
    "lr": 3e-3,
}
VALIDATION = {
    "kind": "validation",
    "epoch": 2,
    "train_loss": 1.5,
    "validation_loss": 1.75,
    "tokens_per_s": 950.2,
    "best": True,
}


def shown(terminal: bool, show: bool = True, level: str = "character", **changes: Any) -> str:
    out = StringIO()
    console = Console(force_terminal=terminal, force_interactive=terminal, file=out, width=130)
    with Display(3, 4, show, level, console) as display:
        for done in range(1, 5):
            display.chunk(TRAIN, done)
        display.validation(VALIDATION | changes)
        display.say("going on")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_a_bar_on_a_terminal() -> None:
    text = shown(True)
    assert "pass 1/3" in text and "pass 2/3" in text and "━" in text and " 33%" in text
    assert "loss 1.235 nats, 1.781 bits  12k tokens/s  |g| 0.79  lr 3.0e-03" in text
    assert (
        "pass 2/3: train 1.5000, validation 1.7500 nats (2.525 bits), 950 tokens/s  best so far\n"
        in text
        and "going on\n" in text
    )
    assert "best so far" not in shown(True, best=False)


def test_words_have_a_perplexity() -> None:
    text = shown(True, level="word")
    assert (
        "loss 1.235 nats, perplexity 3.4 " in text
        and "validation 1.7500 nats (perplexity 5.8)" in text
    )
    assert custom(1e4, "bpe") == "perplexity inf" and custom(0.0, "byte") == "0.000 bits"


def test_a_record_a_validation_elsewhere() -> None:
    first, second = map(json.loads, shown(False).splitlines())
    assert first == VALIDATION and second == {"kind": "note", "text": "going on"}
    assert (
        json.loads(shown(False, validation_loss=float("nan")).splitlines()[0])["validation_loss"]
        is None
    )


def test_a_long_line_is_not_broken() -> None:
    assert re.search(
        r"validation \d{120}\.\d+ nats .*tokens/s  best so far\n",
        shown(True, level="word", validation_loss=10.0**120),
    )


def timed(total: int, done: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is on a terminal after so many chunks of a hundred seconds each."""
    out, clock = StringIO(), [0.0]
    monkeypatch.setattr("recurra.train.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with Display(
        1, total, True, console=Console(force_terminal=True, file=out, width=160)
    ) as display:
        for chunk in range(1, done + 1):
            clock[0] += 100.0
            display.chunk(TRAIN, chunk)
            assert (display.left_s() is None) == (chunk <= FEW) and (
                chunk <= FEW or display.left_s() == 100.0 * (total - chunk)
            )
        display.bar.progress.refresh()  # type: ignore[union-attr]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_the_time_has_a_label_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    text = timed(20, 8, monkeypatch)
    assert (
        "about 20 min left" in text
        and text.rstrip().endswith("stopped after 13 min")
        and ":" not in text.rpartition("lr ")[2]
    )
    assert timed(9, 9, monkeypatch).rstrip().endswith("took 15 min")
    assert "left" not in timed(20, 5, monkeypatch)


def test_a_run_gone_on_with_counts_from_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("recurra.train.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    display = Display(2, 100, False)
    for done in range(150, 161):
        clock[0] += 2.0
        display.chunk(TRAIN, done)
    assert display.left_s() == 80.0


def test_what_is_said_is_text_and_steers_nothing() -> None:
    out = StringIO()
    with Display(1, 1, True, console=Console(force_terminal=True, file=out, width=80)) as display:
        display.say("in runs/[bold]a[/bold] \x1b[2J")
    assert "in runs/[bold]a[/bold] \\x1b[2J" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_silence(terminal: bool) -> None:
    assert shown(terminal, show=False) == ""


def test_an_error_puts_the_terminal_back() -> None:
    out = StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        Display(1, 1, True, console=Console(force_terminal=True, file=out)),
    ):
        raise KeyboardInterrupt
    text = out.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_rates_in_three_figures() -> None:
    assert [_thousands(rate) for rate in (0.4, 999.4, 1000, 9949, 10_000, 123_456)] == [
        "0",
        "999",
        "1.0k",
        "9.9k",
        "10k",
        "123k",
    ]
