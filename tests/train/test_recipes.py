"""Each published recipe parses, says where it comes from, builds its model and trains."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.models import LanguageModel
from recurra.train import Corpus, configure, fit, from_text, read_configuration

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.toml"))
TEXT = "the quick brown fox jumps over the lazy dog and packs five dozen jugs\n" * 60


def shrunk(options: dict[str, Any], data: Corpus) -> dict[str, Any]:
    """The model with a fiftieth of its units, and cutoffs that fit the small vocabulary; all else
    as it is.
    """
    hidden = options["hidden"]
    small = (
        [max(4, width // 50) for width in hidden]
        if isinstance(hidden, list)
        else max(4, hidden // 50)
    )
    found = options | {"hidden": small, "embed": max(4, options["embed"] // 50)}
    return found | ({"adaptive": [3, 6], "div_value": 1.5} if options.get("adaptive") else {})


def test_there_are_recipes() -> None:
    named = {
        "characters",
        "zaremba-small",
        "wikitext2-200",
        "wikitext2-adaptive",
        "awd-lstm-wikitext2",
        "zoneout-ptb-character",
    }
    assert named <= set(RECIPES)


def test_the_table_has_them_all() -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == RECIPES
    headings = {
        line.lstrip("# ").lower().replace(",", "").replace(" ", "-")
        for line in lines
        if line.startswith("###")
    }
    assert {
        line.rpartition("(#")[2].removesuffix(") |") for line in lines if line.startswith("| `")
    } == headings


class Ten:
    """Ends the run after ten updates."""

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        course.ended = row["step"] == 10


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains(name: str) -> None:
    config = configure(read_configuration(FOLDER / f"{name}.toml"))
    assert all(
        isinstance(config.about.get(key), str) and config.about[key]
        for key in ("source", "corpus", "expected", "cost")
    )
    data = from_text(TEXT, config.data["level"], 0.2, config.data.get("vocab_size"))
    torch.manual_seed(0)
    model = LanguageModel(
        len(data.vocabulary), **shrunk(config.model, data), vocabulary=data.vocabulary
    )
    for key, value in config.model.items():
        if key not in ("hidden", "embed", "adaptive", "div_value"):
            assert model.options[key] == value
    recipe = replace(
        config.recipe, window=min(config.recipe.window, 7), batch=min(config.recipe.batch, 5)
    )
    run = fit(model, data, recipe, show=False, callbacks=[Ten()])
    rows = [row for row in run.history if row["kind"] == "train"]
    assert len(rows) == 10 and all(math.isfinite(row["loss"]) for row in rows)
