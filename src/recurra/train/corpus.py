"""Text as tokens, with its vocabulary and its parts for training and validation."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recurra.errors import ArgumentError, DataError
from recurra.models import Vocabulary

Tokens = np.ndarray[Any, np.dtype[np.int64]]


class Part(NamedTuple):
    """Tokens (N,), and where documents begin in them."""

    tokens: Tokens
    starts: tuple[int, ...] = ()


class Corpus(NamedTuple):
    """What `fit` trains a language model on.

    Attributes:
        train, validation: the two parts.
        vocabulary: what the tokens stand for.
    """

    train: Part
    validation: Part
    vocabulary: Vocabulary


def from_text(texts: str | Sequence[str], level: str = "character", validation: float = 0.1) -> Corpus:
    """Make a corpus of one text, or of several documents; the last share of it is for validation.

    Args:
        texts: the text, or the documents in order.
        level: "character" or "byte".
        validation: the share of tokens held out at the end, in (0, 1).

    Returns:
        The corpus. Its vocabulary covers both parts.

    Raises:
        DataError: there is too little text.
        ArgumentError: `validation` or `level` is outside its range.

    >>> corpus = from_text("to be or not to be, that is the question", validation=0.25)
    >>> len(corpus.train.tokens), len(corpus.validation.tokens), len(corpus.vocabulary)
    (30, 10, 14)
    """
    documents = [texts] if isinstance(texts, str) else list(texts)
    if not 0 < validation < 1:
        raise ArgumentError(f"validation must be in (0, 1), the share held out, got {validation}")
    whole = "".join(documents)
    if not whole:
        raise DataError("text must not be empty, got no characters")
    vocabulary = Vocabulary.of(whole, level)
    parts = [vocabulary.encode(document) for document in documents if document]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    tokens = np.concatenate(parts)
    cut = len(tokens) - int(len(tokens) * validation)
    if cut < 2 or len(tokens) - cut < 2:
        raise DataError(
            f"text must be long enough for both parts, two tokens each, got {len(tokens)} tokens "
            f"of which {validation:.0%} for validation; give more text"
        )
    train = Part(tokens[:cut], tuple(int(s) for s in starts if s < cut))
    return Corpus(train, Part(tokens[cut:], tuple(int(s) - cut for s in starts if s > cut)), vocabulary)


def read_text(paths: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[str]:
    """Read text files, each a document.

    Args:
        paths: a file, or several.

    Raises:
        DataError: a file is missing, empty, binary, or not UTF-8; names it and, for bad text, the byte.
    """
    several = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    return [_read(Path(path)) for path in several]


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"file must be readable, got {str(path)!r} ({error.strerror})") from None
    if not data:
        raise DataError(f"file must not be empty, got {str(path)!r} of 0 bytes")
    if b"\0" in data:
        raise DataError(f"file must be text, got {str(path)!r}, which has a zero byte at {data.index(0)}; is it binary?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"file must be UTF-8, got {str(path)!r} with byte 0x{data[error.start]:02x} at {error.start} (line {line}); "
            "convert it, for example with: iconv -f LATIN1 -t UTF-8"
        ) from None
