"""Counts in the right number, sizes, and text of files that cannot steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.wording import count_text, printable, size_text


@pytest.mark.parametrize("noun", ["row", "pass", "process", "time step", "batch", "loss"])
def test_only_one_is_singular(noun: str) -> None:
    plural = {"pass": "passes", "process": "processes", "batch": "batches", "loss": "losses"}.get(
        noun, f"{noun}s"
    )
    assert [count_text(count, noun) for count in (0, 1, 2, 1000)] == [
        f"0 {plural}",
        f"1 {noun}",
        f"2 {plural}",
        f"1,000 {plural}",
    ]


def test_sizes_are_in_three_figures() -> None:
    assert [size_text(size) for size in (0, 1, 999, 1000, 123_456, 10**9)] == [
        "0 bytes",
        "1 byte",
        "999 bytes",
        "1 kB",
        "123 kB",
        "1 GB",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\rb\x00\x7f\x9b", "a\\rb\\x00\\x7f\\x9b"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
        ("a\n\tb", "a\n\tb"),
        (
            "na\u00efve \u05e9\u05dc \U0001f468\u200d\U0001f469",
            "na\u00efve \u05e9\u05dc \U0001f468\u200d\U0001f469",
        ),
        ("back\\slash 'quote' \"two\"", "back\\slash 'quote' \"two\""),
    ],
)
def test_what_steers_a_terminal_is_escaped_and_the_rest_is_not(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    assert all(
        letter.isprintable() or letter in "\u200c\u200d" or not letter.strip() or letter > "\u0377"
        for letter in printable(text, "")
    )
    assert "\x1b" not in printable(text) and "\n" not in printable(text, keep="")
