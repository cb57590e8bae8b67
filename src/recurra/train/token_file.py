"""Text as a file of tokens, made once and mapped into memory, and made again when the text
changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from recurra.durable import sync, write_durably
from recurra.errors import DataError, RecurraError
from recurra.text_blocks import between_words, text_blocks
from recurra.train.building import Building
from recurra.vocabulary.levels import from_record, learn_vocabulary
from recurra.vocabulary.vocabulary import Vocabulary

FORMAT = 2
AT_ONCE = 1 << 22
"""Tokens that are looked at together."""


class TokenFile(NamedTuple):
    """Tokens of some text files, one document each.

    Attributes:
        tokens: (N,), mapped into memory, in the smallest type that holds the vocabulary.
        starts: (documents,), where each begins.
        unknown: how many tokens stand for words outside the vocabulary.
        vocabulary: what the tokens stand for.
        digest: of the tokens.
    """

    tokens: Any
    starts: tuple[int, ...]
    unknown: int
    vocabulary: Vocabulary
    digest: str


def token_file(
    paths: Sequence[Path],
    level: str,
    vocab_size: int | None,
    vocabulary: Vocabulary | None,
    cache: Path,
    show: bool = False,
) -> TokenFile:
    """Find the token file of some texts, or make it.

    Args:
        paths: the texts.
        level, vocab_size: of the vocabulary that is learnt from them.
        vocabulary: the one to use; learnt from the texts if None.
        cache: where token files are kept.
        show: show a progress bar, on a terminal or in a notebook.

    Raises:
        DataError: a text cannot be read, holds what the vocabulary does not, or the cache cannot be
            written.
    """
    sources = [_source(path) for path in paths]
    known = (
        vocabulary
        and hashlib.blake2b(json.dumps(vocabulary.record()).encode(), digest_size=16).hexdigest()
    )
    options = {
        "format": FORMAT,
        "paths": [source[0] for source in sources],
        "level": level,
        "size": vocab_size,
        "vocabulary": known,
    }
    name = hashlib.blake2b(json.dumps(options).encode(), digest_size=12).hexdigest()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            found = _find(cache / name, sources, level, vocabulary)
            if found is None:
                record = _make(paths, level, vocab_size, vocabulary, cache / name, show) | {
                    "sources": sources
                }
                write_durably(
                    cache / f"{name}.json",
                    lambda beside: beside.write_text(json.dumps(record), encoding="utf-8"),
                )
                found = _opened(cache / name, record)
    except OSError as error:
        text = (
            f"cache must be a folder with room that can be written, got {str(cache)!r}"
            f" ({error.strerror})"
        )
        raise DataError(f"{text}; name another in RECURRA_CACHE") from None
    return found


def _source(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"file must be readable, got {str(path)!r} ({error.strerror})") from None
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def _find(
    place: Path, sources: list[list[Any]], level: str, vocabulary: Vocabulary | None
) -> TokenFile | None:
    """The token file of the texts as they are; None where there is none, or none that can be
    trusted: a line says so.
    """
    try:
        record: Any = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        if record["sources"] != sources:
            return None
        found = _opened(place, record)
        _check(found, len(sources))
        if found.vocabulary.level != level or (
            vocabulary and found.vocabulary.record() != vocabulary.record()
        ):
            raise ValueError("its vocabulary is another")
        return found
    except FileNotFoundError:
        return None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        RecurraError,
    ) as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        print(
            f"recurra: the token file {str(place)!r} is damaged ({why!r}); it is made again",
            file=sys.stderr,
        )
        return None


def _opened(place: Path, record: Mapping[str, Any]) -> TokenFile:
    """The tokens that a record describes, mapped; nothing is believed but the types of what it
    holds.

    Raises:
        ValueError, KeyError, TypeError, RecurraError: it is no such record.
    """
    vocabulary, kind, count = from_record(record["vocabulary"]), record["type"], record["count"]
    if kind != _kind(vocabulary):
        raise ValueError(f"type is {str(kind)[:40]}, not {_kind(vocabulary)}")
    numbers = [count, record["unknown"], *record["starts"]]
    if not isinstance(record["digest"], str) or any(
        type(number) is not int or number < 0 for number in numbers
    ):
        raise ValueError("a figure is no whole number, or the digest no text")
    size = place.with_suffix(".tokens").stat().st_size
    if size != count * np.dtype(kind).itemsize:
        raise ValueError(f"{size} bytes are no {count} tokens")
    tokens = np.memmap(place.with_suffix(".tokens"), kind, "r") if count else np.zeros(0, kind)
    return TokenFile(
        tokens, tuple(record["starts"]), record["unknown"], vocabulary, record["digest"]
    )


def _check(file: TokenFile, documents: int) -> None:
    """Raise unless tokens and documents are as they were written.

    Raises:
        ValueError: they are not.
    """
    digest, largest = hashlib.blake2b(digest_size=16), -1
    for begin in range(0, len(file.tokens), AT_ONCE):
        block = np.asarray(file.tokens[begin : begin + AT_ONCE])
        digest.update(block.tobytes())
        largest = max(largest, int(block.max()))
    if digest.hexdigest() != file.digest:
        raise ValueError("its digest is another")
    if largest >= len(file.vocabulary):
        raise ValueError(f"a token is {largest}, of {len(file.vocabulary)}")
    if (
        len(file.starts) != documents
        or list(file.starts) != sorted(file.starts)
        or max(file.starts) > len(file.tokens)
        or file.starts[0]
    ):
        raise ValueError("its documents begin elsewhere")


def _kind(vocabulary: Vocabulary) -> str:
    """The smallest type that holds the tokens of a vocabulary."""
    return next(
        kind for kind in ("uint8", "uint16", "uint32") if len(vocabulary) <= np.iinfo(kind).max + 1
    )


def _make(
    paths: Sequence[Path],
    level: str,
    vocab_size: int | None,
    vocabulary: Vocabulary | None,
    place: Path,
    show: bool,
) -> dict[str, Any]:
    passes = 1 if vocabulary is not None or level == "byte" else 2
    with Building(passes * sum(path.stat().st_size for path in paths), show) as building:
        if vocabulary is None:
            vocabulary = learn_vocabulary(
                building.watch(_all(paths, level), "vocabulary"), level, vocab_size
            )
        kind = np.dtype(_kind(vocabulary))
        starts, count, unknown, digest = [], 0, 0, hashlib.blake2b(digest_size=16)
        beside = place.with_suffix(".part")
        try:
            with beside.open("wb") as file:
                for path in paths:
                    starts.append(count)
                    for block in building.watch(_blocks(path, vocabulary.level), "tokens"):
                        tokens = _encode(vocabulary, block, path)
                        unknown, count = unknown + vocabulary.unknown(tokens), count + len(tokens)
                        data = tokens.astype(kind).tobytes()
                        digest.update(data)
                        file.write(data)
            sync(beside)
            os.replace(beside, place.with_suffix(".tokens"))
        finally:
            beside.unlink(missing_ok=True)
    return {
        "count": count,
        "type": kind.name,
        "starts": starts,
        "unknown": unknown,
        "vocabulary": vocabulary.record(),
        "digest": digest.hexdigest(),
    }


def _all(paths: Sequence[Path], level: str) -> Iterator[str]:
    for path in paths:
        yield from _blocks(path, level)


def _blocks(path: Path, level: str) -> Iterator[str]:
    """Text as its level needs it: words must not be torn apart; characters and bytes may be,
    however long a line is.
    """
    return between_words(text_blocks(path)) if level in ("word", "bpe") else text_blocks(path)


def _encode(vocabulary: Vocabulary, block: str, path: Path) -> Any:
    try:
        return vocabulary.encode(block)
    except DataError as error:
        raise DataError(f"{error}; in {str(path)!r}") from None
