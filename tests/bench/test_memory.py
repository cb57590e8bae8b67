"""What is held for backward is counted once, with output, input and weights apart."""

from __future__ import annotations

import mmap

import pytest
import torch
from torch import Tensor, nn

from recurra.bench import rows
from recurra.bench.memory import held_for_backward, resident_mib
from recurra.bench.shape import Shape


def test_each_storage_is_counted_once_and_kinds_are_told_apart() -> None:
    module = nn.Linear(3, 4)
    x = torch.randn(5, 2, 3, dtype=torch.float64)

    def call(x: Tensor) -> tuple[Tensor, None]:
        middle = module(x).tanh()  # kept by tanh and, as a view, by the product
        return (middle.flatten() * middle.flatten()).sin().view(5, 2, 4).exp(), None

    counted = held_for_backward(module, x, call)
    # doubles count twice: middle and what sin took; exp keeps the output; the product of module
    # keeps x and its weight
    assert counted == {"held": 2 * (40 + 40), "output": 2 * 40, "input": 2 * 30, "weights": 2 * 12}


def test_without_a_backward_nothing_is_held() -> None:
    module = nn.Linear(3, 4)
    with torch.no_grad():
        assert set(
            held_for_backward(module, torch.randn(5, 2, 3), lambda x: (module(x), None)).values()
        ) == {0.0}


def test_units_are_floats_a_step_row_and_unit_and_what_does_not_grow_is_apart() -> None:
    row = rows.held("rnn", Shape(30, 7, 5, 6))
    each, module = 7 * 6, nn.RNN(5, 6, dtype=torch.float32)
    at = {
        steps: held_for_backward(module, torch.randn(steps, 7, 5, dtype=torch.float32), module)
        for steps in (30, 60)
    }
    units = row["units"]["torch"]
    slope = (at[60]["held"] - at[30]["held"]) / 30
    assert units["held"] == pytest.approx(slope / each) and units["start"] == pytest.approx(
        (at[30]["held"] - 30 * slope) / each
    )
    assert {
        kind: units[kind] * 30 * each for kind in ("output", "input", "weights")
    } == pytest.approx({kind: at[30][kind] for kind in ("output", "input", "weights")})
    assert units["input"] == pytest.approx(5 / 6) and row["verdicts"] == []


def test_an_lstm_is_held_to_its_target_and_recompute_to_its_own() -> None:
    row = rows.held("lstm", Shape(30, 7, 5, 6))
    units = row["units"]
    assert [(judged["what"], judged["target"], judged["got"]) for judged in row["verdicts"]] == [
        (side, target, round(units[side]["held"], 3))
        for side, target in (("ours", 5.0), ("ours, recompute", 2.0))
    ]
    assert 0 < units["ours, recompute"]["held"] < units["ours"]["held"]
    assert list(units) == ["ours", "ours, recompute", "torch"]


def test_growth_is_what_the_process_grew_by_in_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([100.0, 102.5])
    monkeypatch.setattr(rows, "resident_mib", lambda: next(sizes))
    row = rows.flat("gru", Shape(3, 2, 2, 3), calls=12)
    assert row["grown_mib"] == 2.5 and row["calls"] == 12 and not row["verdicts"][0]["ok"]


def test_where_the_system_does_not_say_there_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "resident_mib", lambda: None)
    row = rows.flat("gru", Shape(3, 2, 2, 3), calls=2)
    assert row["grown_mib"] is None and row["verdicts"] == []


def test_the_process_is_seen_to_grow(linux: None) -> None:
    before = resident_mib()
    kept = mmap.mmap(-1, 64 * 2**20)  # fresh pages: an array might get what others have given back
    for _ in range(64):
        kept.write(bytes([1]) * 2**20)
    after = resident_mib()
    assert before is not None and after is not None and kept[0] == 1
    assert 32 < after - before < 128


@pytest.fixture
def linux() -> None:
    import sys

    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
