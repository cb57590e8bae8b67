"""Bytes as tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.models import Bytes


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_they_are_utf8(text: str) -> None:
    assert (
        Bytes().encode(text).tolist() == list(text.encode())
        and Bytes().decode(Bytes().encode(text)) == text
    )


def test_there_are_256_whatever_the_text() -> None:
    assert len(Bytes()) == 256 and Bytes() == Bytes()
    assert Bytes().encode("\u00e9\U0001f600").tolist() == [0xC3, 0xA9, 0xF0, 0x9F, 0x98, 0x80]


def test_those_that_are_not_utf8_become_the_replacement_character() -> None:
    assert Bytes().decode([0x61, 0xFF, 0x62, 0xC3]) == "a\ufffdb\ufffd"


def test_a_lone_surrogate_has_none() -> None:
    with pytest.raises(
        DataError,
        match=r"^text must hold only characters that UTF-8 has, got '\\ud800' at character 3$",
    ):
        Bytes().encode("ab\ud800")
