"""Text as tokens, with its vocabulary and its parts for training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurra.check import check_number, plain
from recurra.display import card, table
from recurra.errors import DataError, quoted
from recurra.text_blocks import Paths, listed_paths
from recurra.train.token_file import TokenFile, token_file
from recurra.vocabulary.levels import learn_vocabulary
from recurra.vocabulary.vocabulary import MARK, Vocabulary
from recurra.wording import count_text

SHARE = "it is the share held out"


class Part(NamedTuple):
    """Tokens (N,), where documents begin in them, and how many stand for words outside the
    vocabulary.
    """

    tokens: Any
    starts: Sequence[int] = ()
    unknown: int = 0

    @property
    def documents(self) -> int:
        """How many there are; the first may have begun in another part."""
        return len({0, *self.starts})

    def __repr__(self) -> str:
        return (
            f"Part({count_text(len(self.tokens), 'token')} in"
            f" {count_text(self.documents, 'document')})"
        )


class Corpus(NamedTuple):
    """What `fit` trains a language model on.

    Attributes:
        train, validation: the two parts.
        vocabulary: what the tokens stand for.
        test: a third part, or None.
        source: how to make it again with `from_source`, None for one made in memory.
    """

    train: Part
    validation: Part
    vocabulary: Vocabulary
    test: Part | None = None
    source: dict[str, Any] | None = None

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that there are, by name."""
        return {"train": self.train, "validation": self.validation} | (
            {"test": self.test} if self.test else {}
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(part.tokens):,}" for name, part in self.parts.items())
        return (
            f"Corpus({sizes} tokens; {self.vocabulary.level} level, vocabulary of"
            f" {len(self.vocabulary):,})"
        )

    def _repr_html_(self) -> str:
        lines = [
            [name, f"{len(p.tokens):,}", f"{p.documents:,}", f"{p.unknown:,}"]
            for name, p in self.parts.items()
        ]
        facts = [["vocabulary", f"{len(self.vocabulary):,}"], ["level", self.vocabulary.level]]
        facts += [["from", "\n".join(self.source["train"])]] if self.source else []
        return card(
            "Corpus", table(["part", "tokens", "documents", "unknown"], lines), table([], facts)
        )


def from_text(
    texts: str | Sequence[str],
    level: str = "character",
    validation: float = 0.1,
    vocab_size: int | None = None,
) -> Corpus:
    """Make a corpus of one text, or of several documents; the last share of it is for validation.

    Args:
        texts: the text, or the documents in order; a byte-order mark before one is left out.
        level: "character", "byte", "word" or "bpe".
        validation: the share of tokens held out at the end, in (0, 1).
        vocab_size: most words or pieces; all words and 8000 pieces if None.

    Returns:
        The corpus. Its vocabulary covers both parts.

    Raises:
        DataError: there is too little text.
        ArgumentError: `validation`, `level` or `vocab_size` is outside its range.

    >>> corpus = from_text("to be or not to be, that is the question", validation=0.25)
    >>> len(corpus.train.tokens), len(corpus.validation.tokens), len(corpus.vocabulary)
    (30, 10, 14)
    """
    documents = [text.removeprefix(MARK) for text in ([texts] if isinstance(texts, str) else texts)]
    validation = check_number("validation", validation, 0, 1, "()", SHARE)
    if not any(documents):
        raise DataError("text must not be empty, got no characters")
    vocabulary = learn_vocabulary(documents, level, vocab_size)
    parts = [vocabulary.encode(document) for document in documents if document]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return Corpus(
        *_split(np.concatenate(parts), [int(start) for start in starts], validation, vocabulary),
        vocabulary,
    )


def from_files(
    train: Paths,
    validation: float | Paths = 0.1,
    test: Paths | None = None,
    *,
    level: str = "character",
    vocab_size: int | None = None,
    cache: str | PathLike[str] | None = None,
    show: bool = True,
) -> Corpus:
    """Make a corpus of text files, mapped into memory: it may be larger than memory.

    Each file is a document. Files of tokens are made once and kept, and made again when a text or
    an option changes.

    Args:
        train: UTF-8 text, .gz too.
        validation: the share of tokens held out at the end, in (0, 1), or files.
        test: files, or None.
        level: "character", "byte", "word" or "bpe".
        vocab_size: most words or pieces; all words and 8000 pieces if None.
        cache: where token files are kept; RECURRA_CACHE, or recurra in XDG_CACHE_HOME (~/.cache) if
            None.
        show: show a progress bar, on a terminal or in a notebook.

    Returns:
        The corpus. The vocabulary is that of the training files.

    Raises:
        DataError: a file is missing, empty, binary, cut short or not UTF-8, holds a character that
            training has not, or is too short; or the cache cannot be written.
        ArgumentError: `validation`, `level` or `vocab_size` is outside its range.
    """
    place, listed = _cache(cache), listed_paths(train)
    validation, vocab_size = plain(validation), plain(vocab_size)
    if isinstance(validation, (int, float)):
        validation = check_number("validation", validation, 0, 1, "()", SHARE)
    whole = token_file(listed, level, vocab_size, None, place, show)
    parts: dict[str, TokenFile] = {}
    for name, given in (("validation", validation), ("test", test)):
        if given is not None and not isinstance(given, (int, float)):
            parts[name] = token_file(
                listed_paths(given), level, None, whole.vocabulary, place, show
            )
    source: dict[str, Any] = {
        "train": [str(path.resolve()) for path in listed],
        "level": level,
        "cache": str(place.resolve()),
        "validation": (
            validation
            if isinstance(validation, (int, float))
            else [str(path.resolve()) for path in listed_paths(validation)]
        ),
        "digests": [whole.digest, *(part.digest for part in parts.values())],
    } | ({"test": [str(path.resolve()) for path in listed_paths(test)]} if test is not None else {})
    source |= {"vocab_size": vocab_size} if vocab_size is not None else {}
    if isinstance(validation, (int, float)):
        first, held = _split(whole.tokens, whole.starts, validation, whole.vocabulary)
    else:
        first, held = _part(whole), _part(parts["validation"])
    return Corpus(
        first, held, whole.vocabulary, _part(parts["test"]) if "test" in parts else None, source
    )


def from_source(source: Mapping[str, Any]) -> Corpus:
    """Make a corpus again from where it came from.

    Args:
        source: of the corpus as it was.

    Raises:
        DataError: a file is missing or not as it was, or `source` is no corpus's.
    """
    for name, (needed, fits) in SOURCE.items():
        if not (fits(source[name]) if name in source else not needed):
            raise DataError(
                f"data must hold {name} as the run wrote it, got {quoted(source.get(name))}"
            )
    options = {name: source[name] for name in ("level", "vocab_size", "cache") if name in source}
    found = from_files(source["train"], source["validation"], source.get("test"), **options)
    if found.source is None or found.source["digests"] != list(source["digests"]):
        held = [] if isinstance(source["validation"], float) else source["validation"]
        names = ", ".join(map(repr, [*source["train"], *held, *source.get("test", ())]))
        raise DataError(
            f"text must be as it was, got other contents in {names}; put back what was there"
        )
    return found


def _texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, str) and "\0" not in each for each in value)
    )


SOURCE: dict[str, tuple[bool, Callable[[Any], bool]]] = {
    "train": (True, _texts),
    "validation": (True, lambda v: isinstance(v, float) or _texts(v)),
    "digests": (True, _texts),
    "level": (True, lambda v: isinstance(v, str)),
    "cache": (False, lambda v: _texts([v])),
    "test": (False, _texts),
    "vocab_size": (False, lambda v: isinstance(v, int)),
}
"""Of a source: whether each part must be there, and what it is."""


def _split(
    tokens: Any, starts: Sequence[int], validation: float, vocabulary: Vocabulary
) -> tuple[Part, Part]:
    """The first tokens, and the last share of them."""
    cut = len(tokens) - int(len(tokens) * validation)
    if cut < 2 or len(tokens) - cut < 2:
        raise DataError(
            "text must be long enough for both parts, two tokens each, got"
            f" {count_text(len(tokens), 'token')} of which {validation:.0%} for validation; give"
            " more text"
        )
    first, held = tokens[:cut], tokens[cut:]
    train = Part(first, tuple(start for start in starts if start < cut), vocabulary.unknown(first))
    return train, Part(
        held, tuple(start - cut for start in starts if start > cut), vocabulary.unknown(held)
    )


def _part(file: TokenFile) -> Part:
    return Part(file.tokens, file.starts, file.unknown)


def _cache(cache: str | PathLike[str] | None) -> Path:
    if cache is not None:
        return Path(cache)
    if "RECURRA_CACHE" in os.environ:
        return Path(os.environ["RECURRA_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recurra"
