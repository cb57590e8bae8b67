"""Recipes, TOML files of tables for data, model and training: what is configured makes a recipe and
a model.
"""

from __future__ import annotations

import contextlib
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tomli_w

from recurra.errors import RecurraError
from recurra.models import LanguageModel
from recurra.train import Recipe
from recurra.train.configuration import configure, read_configuration
from tests.fuzz.mutation import bend, bend_text, change, depth

READERS = ("train/configuration.py", "train/recipe.py", "train/ranges.py", "regular_file.py")
COUNT = 400
DEEPEST = 12
"""Of what the writer of TOML is given: its time doubles with each level."""
LARGEST = 256
"""Units of a layer that is made."""
ROOT = Path(__file__).parents[2]


@cache
def seeds() -> tuple[Any, ...]:
    """The published recipes, and one with every field of the model and of the training."""
    import tomllib

    published = [
        tomllib.loads(path.read_text()) for path in sorted((ROOT / "recipes").glob("*.toml"))
    ]
    model = {
        "embed": 8,
        "hidden": [8, 4],
        "layers": 2,
        "cell": "gru",
        "dropout": 0.1,
        "tied": False,
        "locked": True,
        "zoneout": [0.1, 0.0],
    }
    every = {
        "data": {"level": "word", "vocab_size": 100, "validation": 0.1},
        "model": model,
        "recipe": Recipe().record(),
    }
    return (*published, every)


def forge(draws: Random) -> bytes:
    """TOML of which something is changed: its tables, or its text."""
    record = change(draws.choice(seeds()), draws)
    try:
        text = tomli_w.dumps(record) if depth(record) < DEEPEST else None
    except (TypeError, ValueError, AttributeError, RecursionError):  # what TOML does not hold
        text = None
    if text is None:
        text = (
            "\n".join(f"{key} = {json.dumps(value)}" for key, value in record.items())
            if isinstance(record, dict)
            else json.dumps(record)
        )
    if draws.random() < 0.3:
        text = bend_text(text, draws)
    raw = text.encode("utf-8", "surrogatepass")
    return bend(raw, draws) if draws.random() < 0.1 else raw


def read(data: bytes, folder: Path) -> None:
    """Read a recipe and what it makes."""
    path = folder / "forged.toml"
    path.write_bytes(data)
    found = configure(read_configuration(path))
    assert Recipe.of(found.recipe.record()) == found.recipe
    hidden = found.model.get("hidden", 512)
    sizes = [
        found.model.get("embed", 256),
        found.model.get("layers", 2),
        *(hidden if isinstance(hidden, list) else [hidden]),
    ]
    if any(isinstance(size, int) and LARGEST < size < 1 << 40 for size in sizes) or sizes[
        1
    ] in range(9, 1000):  # what a recipe asks for it may take
        return
    with contextlib.suppress(RecurraError):
        LanguageModel(50, **found.model)
