"""What differs from its reference is found and named, in values and in gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recurra.bench.agree import wrong
from recurra.bench.measure import cases
from recurra.bench.registry import PARTS, Case, cell_case, ragged_case, step_case, variant_case
from recurra.bench.shape import Shape
from recurra.engine import METHODS
from tests.bench.record import tiny

TIMED = list(cases(tiny()))
AT = Shape(6, 3, 4, 5, 1)


def spoil(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor], loop: bool = False
) -> None:
    """Change h as every method gives it; the loop only if said so."""
    for name, module in METHODS.items():
        if loop or name != "loop":
            plain = module.run
            monkeypatch.setattr(
                module,
                "run",
                lambda job, plain=plain: (done := plain(job))._replace(h=change(done.h)),
            )


def test_every_part_that_is_timed_is_checked() -> None:
    assert {case.part for case in TIMED} == set(PARTS) - {"memory", "flat"}
    assert all(case.references for case in TIMED)


@pytest.mark.parametrize("case", TIMED, ids=lambda case: f"{case.part}-{case.name}")
def test_as_it_is_nothing_differs(case: Case) -> None:
    assert wrong(case, 1) == []


@pytest.mark.parametrize(
    ("case", "line"),
    [
        (
            cell_case("cells", "gru", AT),
            "cells gru at 6, 3, 4, 5, 1 on 2 threads: the output is 0.01 (at most ",
        ),
        (cell_case("long", "lstm", AT), "long lstm at "),
        (ragged_case("rnn", AT), "ragged rnn at "),
        (step_case("lstm", AT), "step lstm at "),
        (variant_case("gru", AT), "variants Zoneout GRU at "),
    ],
    ids=lambda value: value.part if isinstance(value, Case) else "",
)
def test_a_wrong_value_is_named_with_its_row(
    case: Case, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.part == "step":  # one step may run by the loop: what differs is what `step` gives
        from recurra.layers import LSTM

        plain = LSTM.step
        monkeypatch.setattr(
            LSTM,
            "step",
            lambda self, x, state: ((done := plain(self, x, state))[0] + 1e-2, done[1]),
        )
    else:
        spoil(monkeypatch, lambda h: h + 1e-2)
    found = wrong(case, 2)
    assert any(each.startswith(line) and "the output" in each for each in found)
    assert all(
        each.endswith("from the loop" if case.part == "variants" else "from torch.nn")
        for each in found
    )


def test_a_wrong_gradient_is_named_where_every_value_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, lambda h: h + 0.01 * (h - h.detach()))
    (line,) = wrong(cell_case("cells", "lstm", AT), 1)
    assert "on 1 thread: the gradient of x is" in line


def test_a_result_that_is_not_a_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda h: h * torch.nan)
    (line,) = wrong(cell_case("cells", "rnn", AT), 1)
    assert "the output is nan" in line


def test_a_loop_gone_wrong_with_the_rest_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda h: h * (1 + 1e-3), loop=True)
    (line,) = wrong(cell_case("cells", "rnn", AT), 1)
    assert "the output of the loop in float64" in line
