"""What an argument must be: every need, every kind of number, and every message."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import recurra
from recurra import cells
from recurra.check import check_flag, check_number, check_whole, is_number, is_whole, plain
from recurra.errors import ArgumentError
from recurra.models import LanguageModel, generate
from recurra.train import Recipe
from recurra.train.corpus import from_text

WHOLES = [
    3,
    *(kind(3) for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64)),
]
FLOATS = [0.5, *(kind(0.5) for kind in (np.float16, np.float32, np.float64, np.longdouble))]
NEITHER = [True, False, np.True_, np.False_, "3", None, [3], np.array([3]), 3j, np.timedelta64(3)]


@pytest.mark.parametrize("value", WHOLES, ids=repr)
def test_every_whole_number_is_taken_and_comes_back_as_pythons(value: Any) -> None:
    assert is_whole(value) and is_number(value)
    for made in (check_whole("n", value), plain(value)):
        assert type(made) is int and made == 3
    assert type(check_number("n", value)) is float


@pytest.mark.parametrize("value", FLOATS, ids=repr)
def test_every_float_is_a_number_and_comes_back_as_pythons(value: Any) -> None:
    assert not is_whole(value) and is_number(value)
    for made in (check_number("n", value, 0, 1), plain(value)):
        assert type(made) is float and made == 0.5


@pytest.mark.parametrize("value", NEITHER, ids=repr)
def test_what_is_no_number_is_refused(value: Any) -> None:
    assert not is_whole(value) and not is_number(value) and plain(value) is value
    got = re.escape(repr(value))
    with pytest.raises(ArgumentError, match=f"^n must be a positive whole number, got {got}$"):
        check_whole("n", value)
    with pytest.raises(ArgumentError, match=f"^n must be a number, 0 or more, got {got}$"):
        check_number("n", value)


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: check_whole("n", 0), "a positive whole number, got 0"),
    (lambda: check_whole("n", 2.0), "a positive whole number, got 2.0"),
    (lambda: check_whole("n", -1, 0), "a whole number, 0 or more, got -1"),
    (lambda: check_whole("n", 1, 2), "a whole number, 2 or more, got 1"),
    (lambda: check_whole("n", 0, 1, 8), "a whole number in 1..8, got 0"),
    (lambda: check_whole("n", 9, 1, 8), "a whole number in 1..8, got 9"),
    (lambda: check_whole("n", 0, advice="take 1"), "a positive whole number, got 0; take 1"),
    (lambda: check_number("n", -0.1, 0, 1), "a number in [0, 1), got -0.1"),
    (lambda: check_number("n", 1, 0, 1), "a number in [0, 1), got 1"),
    (lambda: check_number("n", 1.5, 0, 1, "[]"), "a number in [0, 1], got 1.5"),
    (lambda: check_number("n", 0, 0, 1, "(]"), "a number in (0, 1], got 0"),
    (lambda: check_number("n", 0.5, 0, 0.5, "()"), "a number in (0, 0.5), got 0.5"),
    (lambda: check_number("n", 0, ends="()"), "a positive number, got 0"),
    (lambda: check_number("n", 2, 2, ends="()"), "a number above 2, got 2"),
    (lambda: check_number("n", 0.5, 1), "a number, 1 or more, got 0.5"),
    (lambda: check_number("n", math.nan), "a number, 0 or more, got nan"),
    (lambda: check_number("n", math.inf), "a number, 0 or more, got inf"),
    (lambda: check_number("n", 10**400), "a number, 0 or more, got 1000"),
    (lambda: check_number("n", -(10**5000)), "a number, 0 or more, got a number of more than 4300"),
    (lambda: check_number("n", -1, advice="take 0"), "a number, 0 or more, got -1; take 0"),
    (lambda: check_flag("n", 1), "True or False, got 1"),
    (lambda: check_flag("n", "no"), "True or False, got 'no'"),
    (lambda: check_flag("n", None), "True or False, got None"),
]


@pytest.mark.parametrize(("call", "need"), REFUSED, ids=[need for _, need in REFUSED])
def test_the_message_says_need_value_and_advice(call: Callable[[], object], need: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value).startswith(f"n must be {need}")


def test_ends_that_belong_to_the_range_are_taken() -> None:
    assert [check_whole("n", value, 0, 8) for value in (0, 8)] == [0, 8]
    assert [check_number("n", value, 0, 1, "[]") for value in (0, 1)] == [0.0, 1.0]
    assert check_number("n", 1, 0, 1, "(]") == 1 and check_number("n", 5e-324, ends="()") > 0
    check_flag("n", True)
    check_flag("n", False)


def test_layers_made_of_numpys_numbers_are_those_made_of_pythons() -> None:
    five, half = np.int64(5), np.float32(0.5)
    two: Any = np.uint8(2)
    options = dict(num_layers=two, dropout=half, proj_size=two)
    given = recurra.LSTM(3, five, **options)  # type: ignore[arg-type]
    assert repr(given) == repr(recurra.LSTM(3, 5, num_layers=2, dropout=0.5, proj_size=2))
    assert type(given.hidden_size) is int and type(given.dropout) is float
    layer = recurra.Recurrent(cells.GRU(), 3, five, biases=two)  # type: ignore[arg-type]
    assert repr(layer) == repr(recurra.Recurrent(cells.GRU(), 3, 5, biases=2))
    assert repr(cells.Zoneout(cells.GRU(), h=half)) == repr(cells.Zoneout(cells.GRU(), h=0.5))  # type: ignore[arg-type]
    assert recurra.Stream(given, batch=two).push(torch.zeros(2, 3)).shape == (2, 2)


def test_a_model_and_a_recipe_of_numpys_numbers_go_into_json() -> None:
    five: Any = np.int64(5)
    model = LanguageModel(five, five, [five, five], dropout=np.float64(0.5), init=np.float32(0.25))  # type: ignore[arg-type]
    same = LanguageModel(5, 5, [5, 5], dropout=0.5, init=0.25)
    assert json.dumps(model.options) == json.dumps(same.options)
    assert len(list(generate(model, [0], five, top_k=five, top_p=np.float32(0.5)))) == 5  # type: ignore[arg-type]
    recipe = Recipe(epochs=five, lr=np.float32(0.5), betas=(np.float32(0.5), 0.75))  # type: ignore[arg-type]
    assert recipe == Recipe(epochs=5, lr=0.5, betas=(0.5, 0.75))
    assert json.dumps(recipe.record()) == json.dumps(Recipe(**recipe.record()).record())


def test_true_is_no_share_and_no_temperature() -> None:
    with pytest.raises(ArgumentError, match="^validation must be a number in .*, got True"):
        from_text("abc" * 10, validation=True)
    with pytest.raises(ArgumentError, match="^temperature must be a number, 0 or more, got True"):
        list(generate(LanguageModel(5, 4, 4), [0], 1, temperature=True))
    with pytest.raises(ArgumentError, match="^h must be a number in .*, got True$"):
        cells.Zoneout(cells.GRU(), h=True)
