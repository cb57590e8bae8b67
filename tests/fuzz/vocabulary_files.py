"""Vocabularies as JSON, which `.rcr` files, models' files and token files hold: what is read turns
text into tokens and back.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from recurra.errors import DataError, RecurraError
from recurra.vocabulary import Bytes, Characters, Pieces, Words, from_record
from tests.fuzz.mutation import WORDS, bend, change

READERS = (
    "vocabulary/levels.py",
    "vocabulary/characters.py",
    "vocabulary/words.py",
    "vocabulary/pieces.py",
    "vocabulary/bytes.py",
    "vocabulary/vocabulary.py",
    "vocabulary/continuation.py",
)
COUNT = 300
TEXT = "the cat\nsat on ab é \U0001f600"


@cache
def seeds() -> tuple[Any, ...]:
    """A vocabulary of each level; that of pieces as records within its text, too, so that they can
    be changed.
    """
    text = "low lower lowest the cat sat\n" * 9
    made = (
        Characters("abc \n"),
        Bytes(),
        Words.of([text], 9),
        Words(("<unk>", "<eos>")),
        Pieces.of([text], 262),
    )
    return tuple(vocabulary.record() for vocabulary in made)


def forge(draws: Random) -> bytes:
    """The JSON of a vocabulary of which something is changed; in two of three files that of pieces,
    whose record another library reads.
    """
    record = draws.choice((*seeds(), *seeds()[-1:] * 8))
    if record["level"] == "bpe" and draws.random() < 0.9:
        form = change(json.loads(record["form"]), draws)
        return json.dumps({"level": "bpe", "form": json.dumps(form)}).encode()
    text = json.dumps(change(record, draws)).encode()
    return bend(text, draws) if draws.random() < 0.1 else text


def read(data: bytes, folder: Path) -> None:
    """Read a vocabulary, and use all of it."""
    try:
        record = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:  # whoever holds a vocabulary has read it as JSON
        raise DataError(f"no JSON ({type(error).__name__})") from None
    vocabulary = from_record(record)
    repr(vocabulary)
    for text in (TEXT, "", *WORDS[:4]):
        try:
            tokens = vocabulary.encode(vocabulary.fit_breaks(text))
            assert all(0 <= token < len(vocabulary) for token in tokens.tolist()), (
                "a token outside the vocabulary"
            )
            vocabulary.decode(tokens)
            vocabulary.unknown(tokens)
        except RecurraError:
            vocabulary.drop_unknown(text)
    try:
        vocabulary.decode(range(min(len(vocabulary), 300)))
        vocabulary.decode([len(vocabulary)])
    except DataError:
        pass
    assert from_record(json.loads(json.dumps(vocabulary.record()))).record() == vocabulary.record()
