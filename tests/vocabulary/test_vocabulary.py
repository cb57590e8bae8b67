"""What holds for every vocabulary."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from recurra.errors import ArgumentError, DataError
from recurra.models import Bytes, Characters, Pieces, Vocabulary, Words, learn_vocabulary
from recurra.vocabulary.levels import LEVELS, from_record

TEXT = "low lower lowest\nnew newer newest\n" * 20
KINDS = {"character": Characters, "byte": Bytes, "word": Words, "bpe": Pieces}
SIZES = {"bpe": 280}


def learnt(level: str) -> Vocabulary:
    return learn_vocabulary([TEXT[:340], TEXT[340:]], level, SIZES.get(level))


def test_it_is_one_of_four() -> None:
    assert tuple(KINDS) == LEVELS
    with pytest.raises(TypeError, match="abstract"):
        Vocabulary()  # type: ignore[abstract]


@pytest.mark.parametrize("level", LEVELS)
def test_decode_undoes_encode(level: str) -> None:
    vocabulary = learnt(level)
    tokens = vocabulary.encode(TEXT)
    assert (
        type(vocabulary) is KINDS[level]
        and isinstance(vocabulary, Vocabulary)
        and vocabulary.level == level
    )
    assert (
        tokens.dtype == np.int64
        and int(tokens.max()) < len(vocabulary)
        and vocabulary.decode(tokens) == TEXT
    )
    assert (
        vocabulary.decode(vocabulary.encode("")) == "" and vocabulary.encode("").dtype == np.int64
    )
    assert vocabulary.opening == "\n" and vocabulary.unknown(tokens) == 0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("above", [False, True])
def test_a_token_outside_is_refused(level: str, above: bool) -> None:
    vocabulary = learnt(level)
    token = len(vocabulary) if above else -1
    with pytest.raises(
        DataError,
        match=f"^{re.escape(f'tokens must be in 0..{len(vocabulary) - 1}, got {token}')}$",
    ):
        vocabulary.decode([0, token])


RECORDS = [
    (Characters("ba"), {"level": "character", "symbols": "ba"}),
    (Bytes(), {"level": "byte", "symbols": ""}),
    (Words(("<eos>", "a", "<unk>")), {"level": "word", "words": ["<eos>", "a", "<unk>"]}),
]


@pytest.mark.parametrize(
    ("vocabulary", "record"), RECORDS, ids=lambda value: getattr(value, "level", "")
)
def test_a_record_is_as_files_hold_it(vocabulary: Vocabulary, record: dict[str, object]) -> None:
    assert vocabulary.record() == record and from_record(record) == vocabulary


@pytest.mark.parametrize("level", LEVELS)
def test_a_record_comes_back(level: str) -> None:
    vocabulary = learnt(level)
    found = from_record(json.loads(json.dumps(vocabulary.record())))
    assert (
        found == vocabulary
        and hash(found) == hash(vocabulary)
        and vocabulary.record()["level"] == level
    )


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"level": "character"},
        {"level": "character", "symbols": 5},
        {"level": "character", "symbols": ["a"]},
        {"level": "word"},
        {"level": "word", "words": [1, 2]},
        {"level": "bpe"},
    ],
)
def test_a_record_that_is_none_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(
        DataError,
        match=r"^vocabulary must be a record that can be read, got another \(\w+Error: .*\)$",
    ):
        from_record(record)


def test_unknown_levels() -> None:
    message = (
        r"^level must be one of 'bpe', 'byte', 'character', 'word', got 'bytes'; did you mean"
        r" 'byte'\?$"
    )
    with pytest.raises(ArgumentError, match=message):
        learn_vocabulary([TEXT], "bytes")
    with pytest.raises(ArgumentError, match=message):
        from_record({"level": "bytes"})


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_a_line_however_many_there_are(level: str) -> None:
    vocabulary = learnt(level)
    assert repr(vocabulary) == f"{KINDS[level].__name__}({len(vocabulary)} tokens)"


@pytest.mark.parametrize(
    ("vocabulary", "text", "spans", "known"),
    [
        (Characters("\nab"), "xaby\nz", [(0, 1), (3, 4), (5, 6)], "ab\n"),
        (Characters("ab"), "abba", [], "abba"),
        (
            Words(("<unk>", "<eos>", "to", "be")),
            "to sea  be\n<unk> xx",
            [(3, 6), (17, 19)],
            "to   be\n<unk> ",
        ),
        (Bytes(), "h\u00e9\ufeff", [], "h\u00e9\ufeff"),
        (Characters("a"), "", [], ""),
    ],
)
def test_what_has_no_token_is_found_and_dropped(
    vocabulary: Vocabulary, text: str, spans: list[tuple[int, int]], known: str
) -> None:
    assert vocabulary.find_unknown(text) == spans and vocabulary.drop_unknown(text) == (
        known,
        len(spans),
    )
    assert vocabulary.find_unknown(known) == []
    vocabulary.encode(known)


def test_line_ends_are_as_the_vocabulary_has_them() -> None:
    for vocabulary in (Characters("a\n"), Words(("<unk>", "<eos>", "a"))):
        assert (
            vocabulary.encode(vocabulary.fit_breaks("a\r\na\r\n")).tolist()
            == vocabulary.encode("a\na\n").tolist()
        )
    for vocabulary in (Characters("a\r\n"), Bytes()):
        assert vocabulary.fit_breaks("a\r\n") == "a\r\n"
