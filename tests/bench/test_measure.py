"""One run: checks first, then times, then a record that JSON can hold."""

from __future__ import annotations

import importlib
import json
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from benchmarks import kernels
from recurra import bench
from recurra.bench import Disagreement, measure, report
from recurra.bench.plan import Plan
from recurra.bench.progress import Display
from recurra.bench.registry import CONTENDERS, PARTS, VARIANTS
from recurra.engine import METHODS, listening
from recurra.errors import MethodUnavailable
from tests.bench.record import tiny

measuring = importlib.import_module("recurra.bench.measure")


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return measure(tiny(busy=True))


def test_every_row_of_the_registry_is_measured(record: dict[str, Any]) -> None:
    names: dict[str, set[str]] = {
        part: {row["name"] for row in record["rows"] if row["part"] == part} for part in PARTS
    }
    variants = {name for group in VARIANTS.values() for name in group}
    assert names == {part: set(CONTENDERS) for part in PARTS} | {"variants": variants}
    settings = {(row["threads"], row["busy"]) for row in record["rows"] if row["part"] == "cells"}
    assert settings == {(1, False), (1, True)} and len(record["summaries"]) == 6
    assert not any(row.get("busy") for row in record["rows"] if row["part"] != "cells")


def test_the_record_is_json_with_machine_plan_and_all_raw_times(record: dict[str, Any]) -> None:
    again = json.loads(json.dumps(record))
    assert again["machine"]["torch"] == torch.__version__ and again["plan"]["shapes"] == [
        [5, 3, 4, 6, 2]
    ]
    assert set(again["peak"]) == {"1"} and again["plan"]["cells"] == list(CONTENDERS)
    timed = [row for row in again["rows"] if "seconds" in row]
    assert timed and all(len(values) == 2 for row in timed for values in row["seconds"].values())
    assert all(value > 0 for row in timed for values in row["seconds"].values() for value in values)
    assert report(again) == report(record)


def test_threads_and_random_numbers_are_as_before() -> None:
    before = torch.get_num_threads(), torch.get_rng_state()
    measure(tiny(parts=("cells",), cells=("rnn",), threads=(2,)))
    assert torch.get_num_threads() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_each_setting_runs_on_its_threads_and_beside_its_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, inside = [], [False]

    @contextmanager
    def neighbour(wanted: bool = True) -> Any:
        inside[0] = wanted
        yield
        inside[0] = False

    monkeypatch.setattr(measuring, "busy_neighbour", neighbour)
    plain = measuring.in_turn
    monkeypatch.setattr(
        measuring,
        "in_turn",
        lambda *args: seen.append((torch.get_num_threads(), inside[0])) or plain(*args),
    )
    measure(tiny(parts=("cells", "long"), cells=("rnn",), threads=(2, 1), busy=True))
    assert seen == [(2, False), (2, False), (2, True), (1, False), (1, False), (1, True)]
    seen.clear()
    measure(tiny(parts=("cells",), cells=("rnn",), threads=(1,)))
    assert seen == [(1, False)]


def test_the_peak_is_the_higher_of_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([100.0, 120.0, None, None])
    monkeypatch.setattr(measuring, "fma_peak", lambda seconds: next(figures))
    record = measure(tiny(parts=("cells",), cells=("rnn",), threads=(1, 2)))
    assert record["peak"] == {"1": 120.0, "2": None}
    first, second = record["rows"]
    assert (
        first["share"] == pytest.approx(first["gflops"]["ours"] / 120) and second["share"] is None
    )


def test_while_numbers_differ_nothing_is_timed_and_every_wrong_row_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, module in METHODS.items():
        if name != "loop":
            plain = module.run
            monkeypatch.setattr(
                module,
                "run",
                lambda job, plain=plain: (done := plain(job))._replace(h=done.h + 1e-2),
            )
    monkeypatch.setattr(measuring, "in_turn", lambda *args: pytest.fail("it was timed"))
    with pytest.raises(Disagreement) as failed:
        measure(tiny(parts=("cells", "ragged"), cells=("gru", "rnn")))
    lines = str(failed.value).splitlines()
    assert [line.split(" at ")[0] for line in lines[:-1]] == [
        "cells gru",
        "cells rnn",
        "ragged gru",
        "ragged rnn",
    ]
    assert lines[-1] == "no speed is given while the numbers differ"


def test_growth_is_looked_for_before_anything_large_was_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    monkeypatch.setattr(
        measuring.rows, "flat", lambda *args: order.append("flat") or {"part": "flat"}
    )
    monkeypatch.setattr(measuring, "wrong", lambda *args: order.append("check") or [])
    measure(tiny(parts=("cells", "flat"), cells=("rnn",)))
    assert order == ["flat", "check"]


def test_nothing_is_forced_on_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    from recurra.engine import context

    forced: list[list[str]] = []
    monkeypatch.setattr(
        measuring, "_measure", lambda *args: forced.append(list(context._forced)) or {}
    )
    measure(tiny())
    measure(tiny(method="fused"))
    assert forced == [[], ["fused"]]


def test_our_side_runs_by_the_method_asked_for() -> None:
    chosen = set()
    with listening(lambda job, choice: chosen.add(choice.method)):
        measure(tiny(parts=("cells",), cells=("lstm",), method="loop"))
    assert chosen == {"loop"}
    with pytest.raises(MethodUnavailable, match="method 'parallel' cannot run this"):
        measure(tiny(parts=("cells",), cells=("lstm",), method="parallel"))


def test_the_display_counts_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display(show=False)
    measure(tiny(parts=("cells", "long"), cells=("rnn",), threads=(1,), busy=True), display)
    (task,) = display.bar.tasks
    assert task.total == task.completed == 5


def test_rounds_and_limits_of_the_plan_are_kept() -> None:
    options = dict(parts=("cells",), cells=("rnn",))
    assert [
        len(measure(tiny(**options, **given))["rows"][0]["seconds"]["ours"])
        for given in (  # type: ignore[arg-type]
            {"rounds": 4},
            {"rounds": 4, "least": 3, "limit_s": 1e-9},
            {"rounds": 4, "least": 1, "limit_s": 1e-9},
        )
    ] == [4, 3, 1]


def test_benchmarks_measure_the_same_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []
    monkeypatch.setattr(bench, "measure", lambda plan, display: plans.append(plan) or {"rows": []})
    assert kernels.measure() == {"rows": []} and plans == [None]
    monkeypatch.undo()
    text = kernels.text(kernels.measure(tiny(parts=("cells",), cells=("gru",))))
    assert "gru, 1 thread" in text and isinstance(Plan(), bench.Plan)
