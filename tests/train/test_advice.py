"""How long a run will take, said once; and what is quicker, where that is long for its text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recurra.cli.flags import read
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, read_configuration
from recurra.train.advice import LONG_S, SMALL, SMALL_TEXT, Advice, advice

LARGE: dict[str, Any] = {"hidden": 512, "layers": 2}
DATA = from_text("the cat sat on the mat and the rat sat on the cat; " * 20)


def test_a_long_run_on_a_small_text_is_told_of_a_smaller_model() -> None:
    text = advice(3 * LONG_S, 10**6, LARGE, Recipe())
    assert text.startswith(
        "about 1 h 0 min left, for 10 epochs; a smaller model is quicker"
    ) and text.endswith(SMALL)
    assert (
        advice(3 * LONG_S, SMALL_TEXT + 1, LARGE, Recipe()) == "about 1 h 0 min left, for 10 epochs"
    )
    assert SMALL in advice(3 * LONG_S, 10**6, {"hidden": [300, 100]}, Recipe())


def test_a_small_model_is_told_of_fewer_epochs() -> None:
    assert (
        advice(2 * LONG_S, 10**6, {"hidden": 192}, Recipe())
        == "about 40 min left, for 10 epochs; fewer take less: --epochs 5"
    )
    assert (
        advice(2 * LONG_S, 10**6, {"hidden": 192}, Recipe(epochs=1))
        == "about 40 min left, for 1 epoch"
    )


def test_a_shorter_run_is_told_its_time_and_a_short_one_nothing() -> None:
    assert (
        advice(LONG_S, 10**6, LARGE, Recipe()) == "about 20 min left, for 10 epochs"
        and advice(50, 10**6, LARGE, Recipe()) == ""
    )


def test_the_small_recipe_is_what_the_flags_say() -> None:
    file = read_configuration(Path(__file__).parents[2] / "recipes" / "small.toml")
    flags = {name: read(value) for name, value in re.findall(r"--(\w+) (\S+)", SMALL)}
    assert flags == {
        name: value for name, value in (file["model"] | file["recipe"]).items() if name != "cell"
    }


def test_it_is_said_once_when_it_is_known(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    class Slow:
        def on_chunk(self, course: Any, row: Any, chunk: Any) -> None:
            clock[0] += 100.0

    for module in ("advice", "progress"):
        monkeypatch.setattr(
            f"recurra.train.{module}.time", SimpleNamespace(monotonic=lambda: clock[0])
        )
    model = LanguageModel(len(DATA.vocabulary), 4, 5, 1, vocabulary=DATA.vocabulary)
    fit(model, DATA, Recipe(epochs=2, window=10, batch=4), callbacks=[Slow(), Advice(seconds=1000)])
    notes = [
        json.loads(line)["text"] for line in capfd.readouterr().err.splitlines() if '"note"' in line
    ]
    assert len(notes) == 1 and re.fullmatch(r"about .* left, for 2 epochs.*", notes[0])
