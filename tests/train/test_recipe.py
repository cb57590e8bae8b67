"""A recipe holds only what can be run, and says everything that is wrong at once."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from recurra.errors import ArgumentError
from recurra.train import Recipe

PASSES = "a positive whole number of passes"
STEPS = "a positive whole number of steps"
NEEDS = {
    "epochs": (PASSES, [0, -1, 1.0, True, "3", None, float("nan")]),
    "window": (STEPS, [0, 2.5, True, None]),
    "stride": (STEPS + ", or None for the window's", [0, -2, 1.0, True, "1"]),
    "batch": ("a positive whole number of rows", [0, 1.5, True, None]),
    "lr": ("positive", [0, -1e-3, float("nan"), float("inf"), float("-inf"), True, "1e-3", None]),
    "schedule": ("one of 'constant', 'cosine'", ["cosin", None, 1, ["cosine"]]),
    "clip_norm": ("positive, or None to switch clipping off", [0, -1.0, float("nan"), float("inf"), True, "1"]),
    "seed": ("a whole number in 0..2**64 - 1", [-1, 1.0, True, None, 2**64]),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, (_, values) in NEEDS.items() for value in values], ids=str)
def test_a_field_outside_its_range(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(f'{name} must be {NEEDS[name][0]}, got {value!r}')}$"):
        Recipe(**{name: value})
    with pytest.raises(ArgumentError, match=f"^{name} must be"):
        Recipe.of({name: value})


def test_the_edges_are_inside() -> None:
    Recipe(epochs=1, window=1, stride=1, batch=1, lr=1e-300, clip_norm=1, seed=2**64 - 1, schedule="cosine")
    Recipe(window=5, stride=5, clip_norm=None, seed=0)


def test_all_errors_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        Recipe(epochs=0, window=4, stride=9, lr=-1, schedule="x", seed=-1)
    assert str(caught.value).splitlines() == [
        f"epochs must be {PASSES}, got 0",
        "lr must be positive, got -1",
        "schedule must be one of 'constant', 'cosine', got 'x'",
        "seed must be a whole number in 0..2**64 - 1, got -1",
        "stride must be at most window = 4, got 9; a longer one would skip steps",
    ]
    with pytest.raises(ArgumentError) as caught:
        Recipe.of({"epoch": 3, "colour": 1, "lr": 0, "batch": 0})
    assert str(caught.value).splitlines() == [
        "epoch must be a field of Recipe, got an unknown one; did you mean 'epochs'?",
        "colour must be a field of Recipe, got an unknown one",
        "batch must be a positive whole number of rows, got 0",
        "lr must be positive, got 0",
    ]


def test_a_record_makes_the_same_recipe() -> None:
    recipe = Recipe(epochs=3, window=7, stride=2, batch=5, lr=0.01, schedule="cosine", clip_norm=None, seed=4)
    assert Recipe.of(dataclasses.asdict(recipe)) == recipe and Recipe.of({}) == Recipe()


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 3.0  # type: ignore[misc]
