"""Pieces of words: nothing is unknown, and the vocabulary is its own record."""

from __future__ import annotations

import builtins
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError, MissingDependency
from recurra.vocabulary import pieces
from recurra.vocabulary.levels import from_record, learn_vocabulary
from recurra.vocabulary.pieces import Pieces

TEXT = "low lower lowest\nnew newer newest\n" * 20
PIECES = Pieces.of([TEXT], 280)
ENCODED = PIECES.encode(TEXT)


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=30))
def test_every_text_comes_back(text: str) -> None:
    assert PIECES.decode(PIECES.encode(text)) == text


def test_frequent_words_are_few_pieces() -> None:
    assert (
        256 < len(PIECES) <= 280
        and len(PIECES.encode("lowest\n")) < 5
        and PIECES.unknown(PIECES.encode("xyz")) == 0
    )


def test_learning_is_the_same_twice_and_in_blocks() -> None:
    assert Pieces.of([TEXT[:340], TEXT[340:]], 280) == PIECES == from_record(PIECES.record())
    assert learn_vocabulary([TEXT], "bpe").level == "bpe" and PIECES.opening == "\n"


def test_what_is_refused() -> None:
    for size in (255, 3.5, True):
        with pytest.raises(
            ArgumentError,
            match="^vocab_size must be a whole number, 256 or more, got .*; each byte is a piece$",
        ):
            Pieces.of([TEXT], size)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="^form must be a tokenizer's JSON, got "):
        Pieces("{")
    with pytest.raises(DataError, match=rf"^tokens must be in 0\.\.{len(PIECES) - 1}, got -1$"):
        PIECES.decode([-1])


def test_without_the_library_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "tokenizers":
            raise ImportError("none")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingDependency,
        match=r'^level "bpe" needs tokenizers; install it with: pip install "recurra\[text\]"$',
    ):
        Pieces.of([TEXT], 280)


def test_a_word_without_end_is_learnt_from_in_parts_and_only_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "MOST_LONG", 5000)
    endless = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 20_000)))
    parts = list(pieces._for_training([f"the {endless} cat\n", "the end\n"]))
    assert (
        max(map(len, parts)) <= 1000 + len("the  cat\n")
        and 4000 < sum(map(len, parts)) < 6000
        and parts[-1] == "the end\n"
    )


def test_a_word_without_end_comes_back_however_it_is_cut() -> None:
    text = f"low {'newer' * 700}\tlowest {'x' * 1001}\nlow"
    whole = PIECES.encode(text)
    assert PIECES.decode(whole) == text
    cut = text.index("newer") + 2000
    assert np.array_equal(
        np.concatenate([PIECES.encode(text[:cut]), PIECES.encode(text[cut:])]), whole
    )


@given(st.integers(1, 300))
def test_batches_change_nothing(size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BATCH", size)
        assert np.array_equal(PIECES.encode(TEXT), ENCODED)


REGEX = {"Regex": "(a+)+$"}
FOREIGN: dict[str, Any] = {
    "normalizer": {"type": "Replace", "pattern": REGEX, "content": "b" * 1000},
    "padding": {"strategy": {"Fixed": 10**9}},
    "pre_tokenizer": {"type": "Split", "pattern": REGEX},
    "truncation": {"max_length": 1},
    "model": {"type": "WordPiece"},
    "decoder": None,
    "post_processor": {"type": "TemplateProcessing"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_form_whose_work_has_no_bound_is_refused(name: str) -> None:
    record = json.loads(PIECES.form) | {name: FOREIGN[name]}
    with pytest.raises(
        ArgumentError, match=f"^form must hold {name} .*, got .*; its pieces are of bytes$"
    ):
        Pieces(json.dumps(record))


@pytest.mark.parametrize("form", ["", "[]", "1", "{", "[" * 100_000, "{}", None])
def test_a_form_that_is_none_is_refused(form: Any) -> None:
    with pytest.raises(ArgumentError, match="^form must "):
        Pieces(form)


def test_pieces_must_be_numbered_from_zero() -> None:
    record = json.loads(PIECES.form)
    first = next(iter(record["model"]["vocab"]))
    record["model"]["vocab"][first] = 10**6
    with pytest.raises(
        ArgumentError, match=r"^form must number its \d+ pieces from 0, each once, got others$"
    ):
        Pieces(json.dumps(record))


def test_a_panic_of_the_library_is_said_in_our_words(capfd: pytest.CaptureFixture[str]) -> None:
    record = json.loads(PIECES.form)
    record["model"]["merges"][0], record["model"]["continuing_subword_prefix"] = (
        ["l", "o"],
        "long prefix",
    )
    with pytest.raises(ArgumentError, match="^form must hold a model without prefixes"):
        Pieces(json.dumps(record))

    class Panic(BaseException):
        """As a library in Rust raises it."""

    def panics(*_: Any) -> Any:
        raise Panic("range end index 6 out of range")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_library", panics)
        with pytest.raises(
            ArgumentError,
            match="^form must be a tokenizer's JSON, got .* \\(range end index 6 out of range\\)$",
        ):
            Pieces(PIECES.form)
