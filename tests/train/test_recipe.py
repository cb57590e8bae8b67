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
    "vary_window": ("True or False", [1, None, "true"]),
    "accumulate": ("a positive whole number of parts", [0, 1.0, True, None]),
    "optimizer": ("one of 'adam', 'adamw', 'sgd', 'asgd'", ["Nesterov", None]),
    "betas": (
        "two numbers in [0, 1)",
        [0.9, (0.9,), (0.9, 1.0), (0.9, float("nan")), (-0.1, 0.5), None],
    ),
    "momentum": ("in [0, 1)", [1, -0.1, True, None]),
    "weight_decay": ("0 or positive", [-1e-3, float("inf"), None]),
    "average_after": ("a positive whole number of validations", [0, 1.5, None]),
    "schedule": (
        "one of 'constant', 'cosine', 'one_cycle', 'decay', 'plateau'",
        ["linear", None, 1],
    ),
    "warmup": ("a whole number of updates, 0 or more", [-1, 1.0, True, None]),
    "decay": ("in (0, 1)", [0, 1, float("nan"), None]),
    "decay_after": (
        "a positive whole number, of passes for 'decay', of validations for 'plateau'",
        [0, 1.0, None],
    ),
    "clip_norm": (
        "positive, or None to switch clipping off",
        [0, -1.0, float("nan"), float("inf"), True, "1"],
    ),
    "clip_value": ("positive, or None to switch clipping off", [0, -1.0, float("inf"), True, "1"]),
    "activation_penalty": ("0 or positive", [-1, float("nan"), None]),
    "temporal_penalty": ("0 or positive", [-1, float("nan"), None]),
    "precision": ("one of 'float32', 'bfloat16'", ["double", None]),
    "validate_every": (
        "a positive whole number of updates, or None for once a pass",
        [0, 1.0, True],
    ),
    "stop_after": (
        "a positive whole number of validations, or None to go on to the end",
        [0, 1.0, True],
    ),
    "checkpoint_s": ("a number of seconds, 0 or more", [-1, float("inf"), None]),
    "device": ("one of 'auto', 'cpu'", ["cuda:7", None]),
    "seed": ("a whole number in 0..2**64 - 1", [-1, 1.0, True, None, 2**64]),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (_, values) in NEEDS.items() for value in values],
    ids=str,
)
def test_a_field_outside_its_range(name: str, value: Any) -> None:
    with pytest.raises(
        ArgumentError, match=f"^{re.escape(f'{name} must be {NEEDS[name][0]}, got {value!r}')}$"
    ):
        Recipe(**{name: value})
    with pytest.raises(ArgumentError, match=f"^{name} must be"):
        Recipe.of({name: value})


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("optimizer", "Adam", "adam"),
        ("schedule", "cosin", "cosine"),
        ("precision", "float16", "bfloat16"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_one(name: str, value: Any, near: str) -> None:
    with pytest.raises(
        ArgumentError,
        match=f"^{name} must be one of .*, got {re.escape(repr(value))}; did you mean {near!r}\\?$",
    ):
        Recipe(**{name: value})


def test_the_edges_are_inside() -> None:
    Recipe(
        epochs=1,
        window=1,
        stride=1,
        batch=1,
        lr=1e-300,
        clip_norm=1,
        seed=2**64 - 1,
        schedule="cosine",
    )
    Recipe(window=5, stride=5, clip_norm=None, seed=0)


def test_all_errors_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        Recipe(epochs=0, window=4, stride=9, lr=-1, schedule="x", seed=-1)
    assert str(caught.value).splitlines() == [
        f"epochs must be {PASSES}, got 0",
        "lr must be positive, got -1",
        "schedule must be one of 'constant', 'cosine', 'one_cycle', 'decay', 'plateau', got 'x'",
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stride": 3, "vary_window": True},
            (
                "stride must be None where the window varies, got 3; a chunk then begins where the"
                " last one ended"
            ),
        ),
        ({"batch": 10, "accumulate": 4}, "batch must be a multiple of accumulate = 4, got 10"),
        (
            {"clip_value": 0.5},
            "clip_value must be None while clip_norm = 1.0 clips, got 0.5; set one of them to None",
        ),
        (
            {"schedule": "one_cycle", "warmup": 3},
            "warmup must be 0 for schedule 'one_cycle', which begins with its own, got 3",
        ),
        (
            {"momentum": 0.9},
            "momentum must be left at 0.0 for optimizer 'adam', which does not read it, got 0.9",
        ),
        (
            {"optimizer": "sgd", "betas": (0.5, 0.9)},
            (
                "betas must be left at (0.9, 0.999) for optimizer 'sgd', which does not read it,"
                " got (0.5, 0.9)"
            ),
        ),
        (
            {"optimizer": "sgd", "average_after": 3},
            "average_after must be left at 5 for optimizer 'sgd', which does not read it, got 3",
        ),
        (
            {"decay": 0.9},
            "decay must be left at 0.5 for schedule 'constant', which does not read it, got 0.9",
        ),
        (
            {"schedule": "cosine", "decay_after": 3},
            "decay_after must be left at 1 for schedule 'cosine', which does not read it, got 3",
        ),
    ],
)
def test_fields_that_contradict_one_another(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        Recipe(**fields)


def test_a_field_out_of_range_contradicts_nothing() -> None:
    with pytest.raises(
        ArgumentError, match=r"^window must be a positive whole number of steps, got 0$"
    ):
        Recipe(window=0, stride=200)


def test_a_record_makes_the_same_recipe() -> None:
    recipe = Recipe(
        epochs=3, window=7, stride=2, batch=5, lr=0.01, schedule="cosine", clip_norm=None, seed=4
    )
    assert (
        Recipe.of(dataclasses.asdict(recipe)) == recipe == Recipe.of(recipe.record())
        and Recipe.of({}) == Recipe()
    )
    adam = Recipe(betas=(0.7, 0.8))
    assert Recipe.of(adam.record()) == adam and adam.record()["betas"] == [0.7, 0.8]


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 3.0  # type: ignore[misc]
