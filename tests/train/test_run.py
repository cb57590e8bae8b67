"""A run is a line at a prompt, and the course of its loss in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recurra.models import LanguageModel
from recurra.strict_json import dumps
from recurra.train.folder import HISTORY
from recurra.train.run import Run
from tests.display.markup import Markup


def row(step: int, loss: float | None) -> dict[str, Any]:
    return {"kind": "train", "epoch": 1, "step": step, "loss": loss}


def validation(epoch: int, loss: float | None) -> dict[str, Any]:
    return {
        "kind": "validation",
        "epoch": epoch,
        "step": 2 * epoch,
        "train_loss": 2.5,
        "validation_loss": loss,
    }


ROWS = [row(1, 3.0), row(2, 2.5), validation(1, 2.25), row(3, 2.0), row(4, 2.1), validation(2, 2.4)]


@pytest.fixture
def run() -> Run:
    made = Run(LanguageModel(5, embed=2, hidden=3))
    made.rows, made.best_loss = list(ROWS), 2.25
    return made


def test_a_run_is_a_line(run: Run, tmp_path: Path) -> None:
    assert repr(run) == str(run) == "Run(best validation loss 2.25 nats)"
    run.stopped, run.folder = True, Path("runs") / "a\nb"
    assert repr(run) == "Run(best validation loss 2.25 nats, stopped, in 'runs/a b')"
    assert repr(Run(run.model)) == "Run(not validated yet)"


def test_a_run_is_a_chart_and_its_best_validation(run: Run) -> None:
    seen = Markup(run._repr_html_())
    assert (
        seen.tags.count("polyline") == 2
        and seen.tags.count("circle") == 2
        and "training, each chunk" in seen.words
    )
    assert seen.cells == [
        ["validation", "epoch", "step", "train loss", "validation loss"],
        ["best", "1", "2", "2.5000", "2.2500"],
        ["last", "2", "4", "2.5000", "2.4000"],
    ]


def test_a_run_on_disk_shows_what_its_folder_holds(run: Run, tmp_path: Path) -> None:
    run.rows, run.folder = [], tmp_path
    (tmp_path / HISTORY).write_text("".join(dumps(each) + "\n" for each in ROWS))
    assert Markup(run._repr_html_()).cells[1][:2] == ["best", "1"]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_run_whose_folder_is_gone_or_damaged_says_so(
    run: Run, tmp_path: Path, damaged: bool
) -> None:
    run.folder = tmp_path / "<b>"
    if damaged:
        run.folder.mkdir()
        (run.folder / HISTORY).write_text("no json\n")
    assert (
        "history must" in Markup(run._repr_html_()).words
        or "which holds no history" in Markup(run._repr_html_()).words
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "train", "step": "<b>", "loss": 1.0},
        {"kind": "train", "step": 5, "loss": "<b>"},
        {"kind": "validation", "step": 9},
        {},
        3,
    ],
)
def test_a_history_that_somebody_wrote_on_is_shown_all_the_same(run: Run, broken: Any) -> None:
    run.rows.append(broken)
    seen = Markup(run._repr_html_())
    assert (
        seen.cells[1] == ["best", "1", "2", "2.5000", "2.2500"] and seen.tags.count("polyline") == 2
    )


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(1, None)],
        [validation(1, None)],
        [row(1, float("inf")), validation(1, float("nan"))],
    ],
    ids=str,
)
def test_a_run_without_figures_is_shown(run: Run, rows: list[dict[str, Any]]) -> None:
    run.rows = rows
    assert "no figure that can be drawn" in Markup(run._repr_html_()).words
