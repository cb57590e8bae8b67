"""Characters as tokens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError
from recurra.models import Characters

ODD = "a\u0301 \U0001f600\u00e9\n\U0001f600\t\u0000z"
"""A combining accent, a character beyond 16 bits twice, a composed one, controls."""


def test_odd_ones_come_back() -> None:
    assert Characters.of(ODD).decode(Characters.of(ODD).encode(ODD)) == ODD


@given(st.text(min_size=1))
def test_they_are_code_points_in_order(text: str) -> None:
    vocabulary = Characters.of(text)
    assert vocabulary.symbols == "".join(sorted(set(text))) and len(vocabulary) == len(set(text))
    assert vocabulary.encode(text).tolist() == [vocabulary.symbols.index(letter) for letter in text]
    assert Characters.of([text[:2], text[2:]]) == vocabulary


def test_symbols_need_not_be_sorted() -> None:
    vocabulary = Characters("zab")
    assert vocabulary.encode("abz").tolist() == [1, 2, 0] and vocabulary.decode([0, 1]) == "za"
    assert vocabulary.opening == "z"


def test_a_combining_accent_is_its_own_token() -> None:
    assert Characters.of("e\u0301").symbols == "e\u0301" and len(Characters.of("\u00e9")) == 1


def test_one_symbol_is_enough() -> None:
    vocabulary = Characters.of("aaaa")
    assert (
        len(vocabulary) == 1
        and vocabulary.encode("aa").tolist() == [0, 0]
        and vocabulary.decode([0]) == "a"
    )


def test_an_unknown_one_is_named_with_its_place() -> None:
    text = re.escape(
        "text must hold only the model's 3 characters, got '\u00e9' at character 4 (2 unknown in"
        " all); train on text that has it, or at byte level"
    )
    with pytest.raises(DataError, match=f"^{text}$"):
        Characters("a\U0001f600b").encode("\U0001f600ab\u00e9!")


def test_one_above_all_known_is_unknown() -> None:
    with pytest.raises(DataError, match="got 'z' at character 1"):
        Characters.of("abc").encode("z")


def test_a_lone_surrogate_is_one() -> None:
    assert Characters.of("a\ud800").encode("\ud800a").tolist() == [1, 0]


def test_what_is_refused() -> None:
    for symbols in ("", "aba"):
        with pytest.raises(
            ArgumentError,
            match=f"^symbols must be distinct characters, at least one, got {symbols!r}$",
        ):
            Characters(symbols)
    for texts in ("", [], [""]):
        with pytest.raises(DataError, match="^text must not be empty, got no characters$"):
            Characters.of(texts)
