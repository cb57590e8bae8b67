"""Words as tokens: ordered by frequency, with their unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError
from recurra.vocabulary.levels import from_record, learn_vocabulary
from recurra.vocabulary.words import Words

TEXT = "b a a c\na b\n\n d  <unk> e\n"


def test_the_most_frequent_words_come_first_then_the_alphabet() -> None:
    assert Words.of([TEXT]).words == ("<eos>", "a", "b", "<unk>", "c", "d", "e")
    assert Words.of([TEXT], 4).words == (
        "<eos>",
        "<unk>",
        "a",
        "b",
    ), "<unk> is worth c, d, e and itself: 4, as <eos> is"
    assert Words.of(["b a a", " c\na b\n", "\n d  <unk> e\n"]).words == Words.of([TEXT]).words


def test_lines_end_and_what_is_unknown_is_counted() -> None:
    words = Words.of([TEXT], 4)
    tokens = words.encode("a z b\nz\n")
    assert [words.words[token] for token in tokens] == [
        "a",
        "<unk>",
        "b",
        "<eos>",
        "<unk>",
        "<eos>",
    ]
    assert words.unknown(tokens) == 2 and words.decode(tokens) == "a <unk> b\n<unk>\n"
    assert words.encode("").tolist() == [] and words.opening == "\n"


@given(st.lists(st.sampled_from(["a", "b", "c", "\n"]), max_size=12))
def test_what_is_decoded_encodes_again(parts: list[str]) -> None:
    words = Words.of([TEXT])
    tokens = words.encode(" ".join(parts))
    assert words.encode(words.decode(tokens)).tolist() == tokens.tolist()


def test_a_record_comes_back() -> None:
    words = Words.of([TEXT])
    assert from_record(words.record()) == words and len(words) == 7


@pytest.mark.parametrize(
    "words",
    [("a", "a", "<unk>", "<eos>"), ("a b", "<unk>", "<eos>"), ("", "<unk>", "<eos>"), ("a",)],
)
def test_words_that_are_none(words: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError, match="^words must "):
        Words(words)


def test_bad_sizes_and_tokens() -> None:
    for size in (1, 0, 2.5, True):
        with pytest.raises(
            ArgumentError,
            match="^vocab_size must be a whole number, 2 or more, got .*; <unk> and <eos> are",
        ):
            learn_vocabulary([TEXT], "word", size)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^tokens must be in 0\.\.6, got 7$"):
        Words.of([TEXT]).decode([7])
    with pytest.raises(
        ArgumentError,
        match=(
            "^vocab_size must be left out at character level, whose symbols are those of the text,"
            " got 9$"
        ),
    ):
        learn_vocabulary([TEXT], "character", 9)
