"""Every level of vocabulary: how one is learnt from a text, and read back from a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recurra.errors import ArgumentError, DataError, choice_text
from recurra.vocabulary.bytes import Bytes
from recurra.vocabulary.characters import Characters
from recurra.vocabulary.pieces import Pieces
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.vocabulary.words import Words

LEVELS = ("character", "byte", "word", "bpe")


def learn_vocabulary(texts: Iterable[str], level: str, size: int | None = None) -> Vocabulary:
    """The vocabulary of a text that comes in pieces; between words, for words and pieces of them.

    Args:
        texts: the pieces; not read at byte level.
        level: "character", "byte", "word" or "bpe".
        size: most words or pieces; all words and 8000 pieces if None.

    Raises:
        ArgumentError: `level` or `size` is outside its range.
        DataError: there is no text.

    >>> learn_vocabulary(["ab", "ca"], "character")
    Characters(3 tokens)
    """
    _check_level(level)
    if size is not None and level in ("character", "byte"):
        raise ArgumentError(
            f"vocab_size must be left out at {level} level, whose symbols are those of the text,"
            f" got {size}"
        )
    if level == "word":
        return Words.of(texts, size)
    if level == "bpe":
        return Pieces.of(texts, size)
    return Bytes() if level == "byte" else Characters.of(texts)


def from_record(record: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that gave a record.

    Raises:
        ArgumentError: its level is none.
        DataError: it lacks something, or holds something else.

    >>> from_record(Characters("abc").record())
    Characters(3 tokens)
    """
    try:
        level = record["level"]
        _check_level(level)
        if level == "word":
            return Words(tuple(record["words"]))
        if level == "bpe":
            return Pieces(record["form"])
        if level == "character" and not isinstance(record["symbols"], str):
            raise TypeError(f"symbols are {type(record['symbols']).__name__}")
        return Bytes() if level == "byte" else Characters(record["symbols"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"vocabulary must be a record that can be read, got another ({type(error).__name__}:"
            f" {error})"
        ) from None


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise ArgumentError(choice_text("level", level, LEVELS))
