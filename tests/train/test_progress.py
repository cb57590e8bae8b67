"""What a person sees: a bar on a terminal, a line an epoch elsewhere, nothing when silent."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from recurra.train.progress import Display, _thousands

TRAIN = {"kind": "train", "epoch": 2, "loss": 1.23456, "tokens_per_s": 12345.6, "grad_norm": 0.789}
VALIDATION = {"kind": "validation", "epoch": 2, "train_loss": 1.5, "validation_loss": 1.75, "tokens_per_s": 950.2, "best": True}
LINE = "epoch 2/3: train 1.5000, validation 1.7500 nats, 950 tokens/s"


def shown(terminal: bool, show: bool = True, **changes: Any) -> str:
    out = StringIO()
    console = Console(force_terminal=terminal, force_interactive=terminal, file=out, width=110)
    with Display(3, 4, show, console) as display:
        for _ in range(4):
            display.chunk(TRAIN)
        display.epoch(VALIDATION | changes)
    return out.getvalue()


def test_a_bar_on_a_terminal() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(True))
    assert "epoch 1/3" in text and "epoch 2/3" in text and "━" in text and " 33%" in text
    assert "loss 1.235 nats  12k tokens/s  |g| 0.79" in text and f"{LINE}  best so far" in text


@pytest.mark.parametrize("best", [True, False])
def test_a_line_an_epoch_elsewhere(best: bool) -> None:
    assert shown(False, best=best) == LINE + ("  best so far" if best else "") + "\n"


def test_a_long_line_is_not_broken() -> None:
    assert shown(False, validation_loss=10.0**120).count("\n") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_silence(terminal: bool) -> None:
    assert shown(terminal, show=False) == ""


def test_an_error_puts_the_terminal_back() -> None:
    out = StringIO()
    with pytest.raises(KeyboardInterrupt), Display(1, 1, True, Console(force_terminal=True, file=out)):
        raise KeyboardInterrupt
    text = out.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


def test_rates_in_three_figures() -> None:
    assert [_thousands(rate) for rate in (0.4, 999.4, 1000, 9949, 10_000, 123_456)] == ["0", "999", "1.0k", "9.9k", "10k", "123k"]
