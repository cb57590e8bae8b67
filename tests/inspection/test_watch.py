"""A watch looks within its share of the time, notes what it finds, and changes nothing of the
run.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import recurra
from recurra.errors import ArgumentError
from recurra.inspection import Watch, diagnose
from recurra.inspection import watch as module
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, read_history, resume
from tests.cells.zoo import assert_close


class Chunk(NamedTuple):
    """As `recurra.train.Chunk`."""

    x: Tensor
    y: Tensor
    resets: Tensor | None
    counted: int = 10
    carry: int = 10


class Course:
    """A run as far as a callback sees it; a chunk takes as long as it is told to."""

    def __init__(
        self, model: torch.nn.Module, window: int = 10, clip_norm: float | None = 1.0, rank: int = 0
    ) -> None:
        self.model, self.recipe = model, SimpleNamespace(window=window, clip_norm=clip_norm)
        self.team, self.run = SimpleNamespace(rank=rank), SimpleNamespace(stopped=False)
        self.rows: list[dict[str, Any]] = []

    def note(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        self.now, self.cost, self.parts, usual = 100.0, cost, [], module.diagnose  # type: ignore[var-annotated]
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(
            module,
            "diagnose",
            lambda *args, **options: self.spend(args, options) or usual(*args, **options),
        )

    def spend(self, args: Any, options: Any) -> None:
        self.now += self.cost
        self.parts.append((args[1], options))


def chunk(rows: int = 3, resets: bool = False) -> Chunk:
    starts = torch.zeros(10, rows, dtype=torch.bool) if resets else None
    return Chunk(torch.randint(5, (10, rows)), torch.randint(5, (10, rows)), starts)


def model() -> LanguageModel:
    return LanguageModel(5, 4, 6, 1, "lstm")


def drive(
    watch: Watch, clock: Clock, course: Course, chunks: int, chunk_s: float = 1.0, rows: int = 3
) -> None:
    watch.on_start(course)
    for step in range(1, chunks + 1):
        clock.now += chunk_s
        watch.on_chunk(
            course,
            {"kind": "train", "epoch": 1, "step": step, "grad_norm": 2.0, "loss": 1.0},
            chunk(rows),
        )


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("cost", [0.5, 5.0, 50.0])
def test_it_stays_within_its_share(
    monkeypatch: pytest.MonkeyPatch, share: float, cost: float
) -> None:
    clock, course, watch = Clock(monkeypatch, cost), Course(model()), Watch(every=10, share=share)
    chunks = 3000
    drive(watch, clock, course, chunks)
    spent = cost * len(watch.diagnoses)
    assert watch.elapsed_s == pytest.approx(spent)
    assert spent <= share * chunks  # of the time without it
    most = min(chunks // 10, int(share * chunks / cost))
    assert (
        len(watch.diagnoses) >= 0.6 * most >= 0.6
    )  # and makes use of it, once the first is affordable


def test_a_dear_first_look_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cost is a guess; what it costs over the share is saved before the next."""
    clock, course, watch = Clock(monkeypatch, 300.0), Course(model()), Watch(every=10)
    drive(watch, clock, course, 31_000)
    assert [step for step, _ in watch.diagnoses] == [500, 30_000]


def test_share_one_looks_at_every_so_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, course, watch = (
        Clock(monkeypatch, 1000.0),
        Course(model(), window=7),
        Watch(every=4, share=1, rows=2),
    )
    drive(watch, clock, course, 9, rows=5)
    assert [step for step, _ in watch.diagnoses] == [4, 8]
    for (part, options), (_, found) in zip(clock.parts, watch.diagnoses):
        assert part.x.shape == part.y.shape == (10, 2) and part.resets is None
        assert options["window"] == found.window == 7 and options["clip_norm"] == 1.0
    assert found.norms is not None and found.norms.steps == 8 and found.norms.clipped == 1.0


def test_a_short_run_is_looked_at_once_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, course, watch = Clock(monkeypatch, 50.0), Course(model()), Watch()
    drive(watch, clock, course, 499)
    assert not watch.diagnoses
    watch.on_end(course)
    assert [step for step, _ in watch.diagnoses] == [499] == [row["step"] for row in course.rows]
    assert watch.elapsed_s == course.rows[0]["elapsed_s"] == pytest.approx(50.0) and clock.parts[0][
        0
    ].x.shape == (10, 3)
    watch.on_end(course)
    assert len(watch.diagnoses) == 1


def test_a_run_that_was_looked_at_or_stopped_or_did_nothing_is_not_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for chunks, stopped, rank, seen in (
        (550, False, 0, [500]),
        (20, True, 0, []),
        (0, False, 0, []),
        (20, False, 1, []),
    ):
        with monkeypatch.context() as patch:
            clock, course, watch = Clock(patch, 1.0), Course(model(), rank=rank), Watch()
            drive(watch, clock, course, chunks)
            course.run.stopped = stopped
            watch.on_end(course)
            assert [step for step, _ in watch.diagnoses] == seen


def test_each_of_several_runs_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch, 1.0), Watch(every=10)
    for _ in range(2):
        course = Course(model())
        drive(watch, clock, course, 20)
        watch.on_end(course)
        assert [row["step"] for row in course.rows] == [step for step, _ in watch.diagnoses] == [20]
        assert watch.elapsed_s == pytest.approx(1.0) and watch.diagnoses[0][1].norms.steps == 20


def test_a_short_run_of_fit_holds_its_diagnosis_and_keeps_it(tmp_path: Path) -> None:
    corpus = from_text("the quick brown fox jumps over the lazy dog. " * 20)
    net = LanguageModel(len(corpus.vocabulary), 8, 12, 1, vocabulary=corpus.vocabulary)
    fit(
        net,
        corpus,
        Recipe(epochs=2, window=10, batch=4, device="cpu"),
        tmp_path / "run",
        show=False,
        callbacks=[Watch()],
    )
    kinds = [row["kind"] for row in read_history(tmp_path / "run")]
    assert kinds.count("diagnosis") == 1 and kinds[-1] == "diagnosis"
    with (tmp_path / "run" / "history.jsonl").open("a") as file:
        file.write('{"kind": "cut sho')
    resume(tmp_path / "run", corpus, show=False)
    assert [row["kind"] for row in read_history(tmp_path / "run")] == kinds
    assert (tmp_path / "run" / "history.jsonl").read_text().endswith("}\n")


def test_what_it_finds_is_noted_as_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    recurra.init.forget_bias(net, -4.0)
    clock, course, watch = Clock(monkeypatch, 2.0), Course(net), Watch(every=2, share=1)
    drive(watch, clock, course, 2)
    (row,) = course.rows
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (
        row["kind"] == "diagnosis"
        and row["step"] == 2
        and row["epoch"] == 1
        and row["elapsed_s"] == pytest.approx(2.0)
    )
    assert [verdict["name"] for verdict in row["verdicts"]] == [
        "vanishing gradient",
        "forget bias too low",
    ]
    assert row["memory_steps"] == [watch.diagnoses[0][1].layers[0].memory()]


def test_resets_of_the_rows_hold() -> None:
    course, watch, given = Course(model()), Watch(every=1, share=1, rows=2), chunk(4, resets=True)
    assert given.resets is not None
    given.resets[4, :2] = True
    watch.on_start(course)
    watch.on_chunk(course, {"kind": "train", "epoch": 1, "step": 1}, given)
    cut = Chunk(given.x[:, :2], given.y[:, :2], given.resets[:, :2])
    expected = diagnose(course.model, cut, window=10, clip_norm=1.0).to_dict()
    assert watch.diagnoses[0][1].to_dict() == expected
    assert (
        expected
        != diagnose(course.model, cut._replace(resets=None), window=10, clip_norm=1.0).to_dict()
    )


def test_the_first_process_alone_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, course, watch = Clock(monkeypatch, 0.1), Course(model(), rank=1), Watch(every=1, share=1)
    drive(watch, clock, course, 3)
    assert not watch.diagnoses and not course.rows


def test_a_run_is_the_same_with_and_without_it() -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 20
    corpus, recipe = from_text(text), Recipe(epochs=2, window=10, batch=4, device="cpu")
    first = LanguageModel(
        len(corpus.vocabulary), 8, 12, 2, dropout=0.5, vocabulary=corpus.vocabulary
    )
    second, watch = copy.deepcopy(first), Watch(every=5, share=1)
    fit(first, corpus, recipe, show=False)
    run = fit(second, corpus, recipe, show=False, callbacks=[watch])
    assert_close(dict(second.state_dict()), dict(first.state_dict()), 0)
    noted = [row for row in run.history if row["kind"] == "diagnosis"]
    assert len(noted) == len(watch.diagnoses) >= 8 and all(row["step"] % 5 == 0 for row in noted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be a positive whole number, got 0"),
        ({"rows": 0}, "rows must be a positive whole number, got 0"),
        ({"share": 0.0}, r"share must be a number in \(0, 1\], got 0.0"),
        ({"share": 1.5}, r"share must be a number in \(0, 1\], got 1.5"),
    ],
)
def test_options_outside_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        Watch(**options)
