"""A text continued by drawn tokens: what the tokens are drawn after, and the space between
words.
"""

from __future__ import annotations

import pytest

from recurra.errors import DataError
from recurra.vocabulary import Characters, Vocabulary, Words, continued

WORDS = Words(("<unk>", "<eos>", "to", "be"))
LETTERS = Characters("abc\n")


def test_the_tokens_are_drawn_after_those_of_the_prompt() -> None:
    assert continued(LETTERS, "ab", lambda tokens: tokens[::-1]) == "ba"
    assert continued(LETTERS, "", lambda tokens: tokens) == LETTERS.opening


@pytest.mark.parametrize(
    ("vocabulary", "prompt", "drawn", "text"),
    [
        (WORDS, "to", [3], " be"),
        (WORDS, "to ", [3], "be"),
        (WORDS, "", [3], "be"),
        (WORDS, "to", [1, 2], "\nto"),
        (LETTERS, "a", [1], "b"),
    ],
)
def test_a_space_stands_between_words_only(
    vocabulary: Vocabulary, prompt: str, drawn: list[int], text: str
) -> None:
    assert continued(vocabulary, prompt, lambda tokens: drawn) == text


def test_a_prompt_of_unknown_characters_is_refused_before_anything_is_drawn() -> None:
    def draw(tokens: list[int]) -> list[int]:
        raise AssertionError("nothing may be drawn")

    with pytest.raises(DataError, match="^prompt must "):
        continued(LETTERS, "az", draw)


def test_a_byte_order_mark_is_no_part_of_a_prompt() -> None:
    seen: list[list[int]] = []
    continued(LETTERS, "\ufeffab", lambda tokens: seen.append(tokens) or [0])  # type: ignore[func-returns-value]
    continued(LETTERS, "ab", lambda tokens: seen.append(tokens) or [0])  # type: ignore[func-returns-value]
    assert seen[0] == seen[1]
