"""Characters and bytes as tokens."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError
from recurra.models import Vocabulary

ODD = "a\u0301 \U0001f600\u00e9\n\U0001f600\t\u0000z"
"""A combining accent, a character beyond 16 bits twice, a composed one, controls."""


@pytest.mark.parametrize("level", ["character", "byte"])
def test_decode_undoes_encode(level: str) -> None:
    vocabulary = Vocabulary.of(ODD, level)
    tokens = vocabulary.encode(ODD)
    assert tokens.dtype == np.int64 and vocabulary.decode(tokens) == ODD
    assert vocabulary.decode(vocabulary.encode("")) == "" and vocabulary.encode("").dtype == np.int64


@given(st.text(min_size=1))
def test_characters_are_code_points_in_order(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    assert vocabulary.symbols == "".join(sorted(set(text))) and len(vocabulary) == len(set(text))
    assert vocabulary.encode(text).tolist() == [vocabulary.symbols.index(letter) for letter in text]


def test_symbols_need_not_be_sorted() -> None:
    vocabulary = Vocabulary("character", "zab")
    assert vocabulary.encode("abz").tolist() == [1, 2, 0] and vocabulary.decode([0, 1]) == "za"


def test_a_combining_accent_is_its_own_token() -> None:
    assert Vocabulary.of("e\u0301").symbols == "e\u0301" and len(Vocabulary.of("\u00e9")) == 1


def test_bytes_are_utf8() -> None:
    vocabulary = Vocabulary.of("any text", "byte")
    assert len(vocabulary) == 256 and vocabulary == Vocabulary("byte")
    assert vocabulary.encode("\u00e9\U0001f600").tolist() == [0xC3, 0xA9, 0xF0, 0x9F, 0x98, 0x80]


def test_one_symbol_is_enough() -> None:
    vocabulary = Vocabulary.of("aaaa")
    assert len(vocabulary) == 1 and vocabulary.encode("aa").tolist() == [0, 0] and vocabulary.decode([0]) == "a"


def test_bytes_that_are_not_utf8_become_the_replacement_character() -> None:
    assert Vocabulary("byte").decode([0x61, 0xFF, 0x62, 0xC3]) == "a\ufffdb\ufffd"


def test_an_unknown_character_is_named_with_its_place() -> None:
    text = re.escape(
        "text must hold only the model's 3 characters, got '\u00e9' at character 4 (2 unknown in all); "
        "train on text that has it, or at byte level"
    )
    with pytest.raises(DataError, match=f"^{text}$"):
        Vocabulary("character", "a\U0001f600b").encode("\U0001f600ab\u00e9!")


def test_a_character_above_all_known_is_unknown() -> None:
    with pytest.raises(DataError, match="got 'z' at character 1"):
        Vocabulary.of("abc").encode("z")


def test_lone_surrogates() -> None:
    assert Vocabulary.of("a\ud800").encode("\ud800a").tolist() == [1, 0]
    with pytest.raises(DataError, match=r"text must hold only characters that UTF-8 has, got '\\ud800' at character 3"):
        Vocabulary("byte").encode("ab\ud800")


@pytest.mark.parametrize(("level", "size"), [("character", 3), ("byte", 256)])
@pytest.mark.parametrize("above", [False, True])
def test_a_token_outside_is_refused(level: str, size: int, above: bool) -> None:
    vocabulary = Vocabulary.of("abc", level)
    token = size if above else -1
    with pytest.raises(DataError, match=re.escape(f"tokens must be in 0..{size - 1}, got {token}")):
        vocabulary.decode([0, token])


def test_level_and_symbols_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"level must be one of 'byte', 'character', got 'bytes'; did you mean 'byte'\?"):
        Vocabulary("bytes")
    with pytest.raises(ArgumentError, match="level must be one of"):
        Vocabulary.of("abc", "word")
    for symbols in ("", "aba"):
        with pytest.raises(ArgumentError, match=f"symbols must be distinct characters, at least one, got {symbols!r}"):
            Vocabulary("character", symbols)
    with pytest.raises(ArgumentError, match="symbols must be empty at byte level, whose 256 values are fixed, got 'abc'"):
        Vocabulary("byte", "abc")
