"""A plan names what there is, and refuses the rest in one line."""

from __future__ import annotations

import re
from typing import Any

import pytest

from recurra.bench import Plan
from recurra.bench.plan import QUICK
from recurra.bench.registry import SHAPES
from recurra.errors import ArgumentError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cells": ("lstn",)},
            "cells must be one of 'gru', 'lstm', 'rnn', got 'lstn'; did you mean 'lstm'?",
        ),
        ({"parts": ("cell",)}, "got 'cell'; did you mean 'cells'?"),
        ({"method": "fussed"}, "got 'fussed'; did you mean 'fused'?"),
        ({"threads": (2, 0)}, "threads must be a positive whole number, got 0"),
        ({"shapes": ()}, "shapes must not be empty, got none"),
        ({"rounds": 0}, "rounds must be a positive whole number, got 0"),
        ({"least": 0}, "least must be a positive whole number, got 0"),
        ({"calls": -1}, "calls must be a positive whole number, got -1"),
        ({"limit_s": 0.0}, "limit_s must be a positive number, got 0.0"),
        ({"peak_s": 0.0}, "peak_s must be a positive number, got 0.0"),
        ({"span_s": -0.1}, "span_s must be a number, 0 or more, got -0.1"),
    ],
)
def test_a_wrong_plan_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Plan(**options)


def test_a_quick_look_takes_less_of_everything() -> None:
    whole, quick = Plan(), Plan(**QUICK)
    assert (
        set(quick.shapes) < set(SHAPES) == set(whole.shapes)
        and quick.parts == whole.parts
        and quick.cells == whole.cells
    )
    assert (
        quick.rounds < whole.rounds
        and quick.calls < whole.calls
        and len(quick.threads) == 1
        and quick.limit_s < whole.limit_s
    )
