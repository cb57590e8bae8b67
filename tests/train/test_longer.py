"""A run that is done goes on to more epochs, and ends as one that had so many from the start; what
differs is said.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recurra.errors import ArgumentError, RunError
from recurra.train import Recipe, fit, read_config, read_history, resume
from recurra.train.checkpoint import read_newest
from tests.train.test_resume import CASES, DATA, at, made, same

LONGER = {
    name: case
    for name, case in CASES.items()
    if case[0].validate_every is None and case[0].schedule != "cosine"
}
LONGER["averaged each pass"] = (
    Recipe(epochs=5, window=30, batch=4, optimizer="asgd", lr=20.0, average_after=1),
    DATA,
    {},
)
LONGER["plateau each pass"] = (
    Recipe(epochs=5, window=30, batch=4, lr=0.3, schedule="plateau"),
    DATA,
    {},
)
SHORT = Recipe(epochs=2, window=30, batch=4, lr=0.01)


@pytest.mark.parametrize("case", LONGER)
def test_a_run_that_is_done_goes_on_as_a_longer_one(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe, data, options = LONGER[case]
    fit(made(data, **options), data, recipe, tmp_path / "whole", show=False)
    fit(made(data, **options), data, replace(recipe, epochs=1), tmp_path / "longer", show=False)
    done = resume(tmp_path / "longer", data, epochs=recipe.epochs)
    same(tmp_path / "whole", tmp_path / "longer")
    assert read_config(tmp_path / "longer") == read_config(tmp_path / "whole") and not done.stopped
    assert "not bit for bit" not in capfd.readouterr().err


def test_a_run_that_was_killed_may_be_longer_or_shorter(tmp_path: Path) -> None:
    for epochs in (2, 4):
        fit(
            made(DATA), DATA, replace(SHORT, epochs=epochs), tmp_path / f"whole{epochs}", show=False
        )
        with pytest.raises(SystemExit):
            fit(
                made(DATA),
                DATA,
                replace(SHORT, epochs=3),
                tmp_path / f"cut{epochs}",
                show=False,
                callbacks=[at(7)],
            )
        resume(tmp_path / f"cut{epochs}", DATA, epochs=epochs, show=False)
        same(tmp_path / f"whole{epochs}", tmp_path / f"cut{epochs}")


def test_a_longer_run_that_is_killed_goes_on_to_its_new_end(tmp_path: Path) -> None:
    fit(made(DATA), DATA, replace(SHORT, epochs=4), tmp_path / "whole", show=False)
    fit(made(DATA), DATA, SHORT, tmp_path / "cut", show=False)
    with pytest.raises(SystemExit):
        resume(tmp_path / "cut", DATA, epochs=4, show=False, callbacks=[at(12)])
    resume(tmp_path / "cut", DATA, show=False)
    same(tmp_path / "whole", tmp_path / "cut")


def test_one_killed_before_its_recipe_is_written_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(made(DATA), DATA, SHORT, tmp_path, show=False)
    rows = len(read_history(tmp_path))

    def killed(*given: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("recurra.train.folder.Folder.configure", killed)
        resume(tmp_path, DATA, epochs=3, show=False)
    resume(tmp_path, DATA, show=False)
    assert len(read_history(tmp_path)) == rows
    resume(tmp_path, DATA, epochs=3, show=False)
    assert max(row["epoch"] for row in read_history(tmp_path)) == 3


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_rate_that_depends_on_the_length_is_the_new_lengths_from_there_on(
    schedule: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rates = {}
    for epochs in (2, 5):
        recipe = replace(SHORT, epochs=epochs, schedule=schedule)
        fit(made(DATA), DATA, recipe, tmp_path / str(epochs), show=False)
        rates[epochs] = [
            row["lr"] for row in read_history(tmp_path / str(epochs)) if row["kind"] == "train"
        ]
    capfd.readouterr()
    resume(tmp_path / "2", DATA, epochs=5)
    cut = len(rates[2])
    assert [row["lr"] for row in read_history(tmp_path / "2") if row["kind"] == "train"] == rates[
        2
    ] + rates[5][cut:]
    notes = [
        json.loads(line)["text"] for line in capfd.readouterr().err.splitlines() if '"note"' in line
    ]
    was = {"cosine": "0", "one_cycle": "4e-08"}[schedule]
    assert (
        f"not bit for bit: the {schedule} schedule is from here on that of 5 epochs: the rate was"
        f" {was}, is {rates[5][cut]:.2g}" in notes
    )


def test_a_validation_at_the_former_end_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit(made(DATA), DATA, replace(SHORT, validate_every=4), tmp_path, show=False)
    capfd.readouterr()
    resume(tmp_path, DATA, epochs=3)
    assert (
        "not bit for bit: the validation after epoch 2 was the run's last, and counts"
        in capfd.readouterr().err
    )


def test_fewer_epochs_than_are_done_or_begun(tmp_path: Path) -> None:
    fit(made(DATA), DATA, SHORT, tmp_path / "done", show=False)
    before = {path: path.read_bytes() for path in (tmp_path / "done").rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"^epochs must be at least 2, as many as are done, got 1$"):
        resume(tmp_path / "done", DATA, epochs=1, show=False)
    with pytest.raises(
        ArgumentError, match=r"^epochs must be a positive whole number of passes, got 0$"
    ):
        resume(tmp_path / "done", DATA, epochs=0, show=False)
    resume(tmp_path / "done", DATA, epochs=2, show=False)
    assert {
        path: path.read_bytes() for path in (tmp_path / "done").rglob("*") if path.is_file()
    } == before
    with pytest.raises(SystemExit):
        fit(
            made(DATA),
            DATA,
            replace(SHORT, epochs=3, checkpoint_s=0),
            tmp_path / "cut",
            show=False,
            callbacks=[at(7)],
        )
    assert read_newest(tmp_path / "cut" / "last").record["epoch"] == 2
    with pytest.raises(RunError, match=r"^epochs must be at least 2, as many as are begun, got 1$"):
        resume(tmp_path / "cut", DATA, epochs=1, show=False)


def test_a_run_that_was_ended_early_has_no_more_epochs(tmp_path: Path) -> None:
    recipe = replace(SHORT, epochs=6, lr=2.0, stop_after=1)
    fit(made(DATA), DATA, recipe, tmp_path / "a", show=False)
    assert max(row["epoch"] for row in read_history(tmp_path / "a")) < 6

    class End:
        def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
            course.ended = row["step"] == 3

    fit(made(DATA), DATA, SHORT, tmp_path / "b", show=False, callbacks=[End()])
    for folder, why in (("a", "stop_after = 1 ended it"), ("b", "it was ended")):
        with pytest.raises(
            RunError,
            match=(
                rf"^run must have gone through its \d epochs to go on to others, got one .*: {why}$"
            ),
        ):
            resume(tmp_path / folder, DATA, epochs=8, show=False)
        assert read_config(tmp_path / folder)["recipe"]["epochs"] != 8
