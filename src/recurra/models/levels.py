"""Every level of vocabulary: how one is learnt from a text, and read back from a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recurra.errors import ArgumentError, DataError, choice_text
from recurra.models.pieces import Pieces
from recurra.models.vocabulary import Vocabulary
from recurra.models.words import Words

LEVELS = ("character", "byte", "word", "bpe")
AnyVocabulary = Vocabulary | Words | Pieces


def learn_vocabulary(texts: Iterable[str], level: str, size: int | None = None) -> AnyVocabulary:
    """The vocabulary of a text that comes in pieces; between words, for words and pieces of them.

    Args:
        texts: the pieces; not read at byte level.
        level: "character", "byte", "word" or "bpe".
        size: most words or pieces; all words and 8000 pieces if None.

    Raises:
        ArgumentError: `level` or `size` is outside its range.
        DataError: there is no text.

    >>> learn_vocabulary(["ab", "ca"], "character").symbols
    'abc'
    """
    if level not in LEVELS:
        raise ArgumentError(choice_text("level", level, LEVELS))
    if size is not None and level in ("character", "byte"):
        raise ArgumentError(f"vocab_size must be left out at {level} level, whose symbols are those of the text, got {size}")
    if level == "word":
        return Words.of(texts, size)
    if level == "bpe":
        return Pieces.of(texts, size)
    if level == "byte":
        return Vocabulary("byte")
    symbols: set[str] = set()
    for text in texts:
        symbols |= set(text)
    if not symbols:
        raise DataError("text must not be empty, got no characters")
    return Vocabulary("character", "".join(sorted(symbols)))


def from_record(record: Mapping[str, Any]) -> AnyVocabulary:
    """The vocabulary that gave a record.

    Raises:
        KeyError, ArgumentError: it is no record of one.

    >>> from_record(Vocabulary("byte").record())
    Vocabulary(level='byte', symbols='')
    """
    if record["level"] == "word":
        return Words(tuple(record["words"]))
    if record["level"] == "bpe":
        return Pieces(record["form"])
    return Vocabulary(record["level"], record["symbols"])
