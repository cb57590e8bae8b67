"""Text as a file of tokens, made once and mapped into memory, and made again when the text changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from recurra.durable import sync, write_durably
from recurra.errors import DataError
from recurra.train.building import Building
from recurra.train.text_blocks import between_words, text_blocks
from recurra.vocabulary.levels import from_record, learn_vocabulary
from recurra.vocabulary.vocabulary import Vocabulary

FORMAT = 1


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
    paths: Sequence[Path], level: str, vocab_size: int | None, vocabulary: Vocabulary | None, cache: Path, show: bool = False
) -> TokenFile:
    """Find the token file of some texts, or make it.

    Args:
        paths: the texts.
        level, vocab_size: of the vocabulary that is learnt from them.
        vocabulary: the one to use; learnt from the texts if None.
        cache: where token files are kept.
        show: show a progress bar, on a terminal or in a notebook.

    Raises:
        DataError: a text cannot be read, holds what the vocabulary does not, or the cache cannot be written.
    """
    sources = [_source(path) for path in paths]
    known = vocabulary and hashlib.blake2b(json.dumps(vocabulary.record()).encode(), digest_size=16).hexdigest()
    options = {"format": FORMAT, "paths": [source[0] for source in sources], "level": level, "size": vocab_size, "vocabulary": known}
    name = hashlib.blake2b(json.dumps(options).encode(), digest_size=12).hexdigest()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            record = _read(cache / f"{name}.json", cache / f"{name}.tokens", sources)
            if record is None:
                record = _make(paths, level, vocab_size, vocabulary, cache / name, show) | {"sources": sources}
                write_durably(cache / f"{name}.json", lambda beside: beside.write_text(json.dumps(record), encoding="utf-8"))
    except OSError as error:
        text = f"cache must be a folder with room that can be written, got {str(cache)!r} ({error.strerror})"
        raise DataError(f"{text}; name another in RECURRA_CACHE") from None
    tokens = np.memmap(cache / f"{name}.tokens", record["type"], "r") if record["count"] else np.zeros(0, record["type"])
    return TokenFile(tokens, tuple(record["starts"]), record["unknown"], from_record(record["vocabulary"]), record["digest"])


def _source(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"file must be readable, got {str(path)!r} ({error.strerror})") from None
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def _read(record: Path, tokens: Path, sources: list[list[Any]]) -> dict[str, Any] | None:
    """The record of a token file that is whole and of the texts as they are; else None."""
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        whole = tokens.stat().st_size == found["count"] * np.dtype(found["type"]).itemsize
        return found if whole and found["sources"] == sources else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(
    paths: Sequence[Path], level: str, vocab_size: int | None, vocabulary: Vocabulary | None, place: Path, show: bool
) -> dict[str, Any]:
    passes = 1 if vocabulary is not None or level == "byte" else 2
    with Building(passes * sum(path.stat().st_size for path in paths), show) as building:
        if vocabulary is None:
            vocabulary = learn_vocabulary(building.watch(_all(paths, level), "vocabulary"), level, vocab_size)
        kind = np.dtype(next(kind for kind in ("uint8", "uint16", "uint32") if len(vocabulary) <= np.iinfo(kind).max + 1))
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
        "count": count, "type": kind.name, "starts": starts, "unknown": unknown, "vocabulary": vocabulary.record(),
        "digest": digest.hexdigest(),
    }  # fmt: skip


def _all(paths: Sequence[Path], level: str) -> Iterator[str]:
    for path in paths:
        yield from _blocks(path, level)


def _blocks(path: Path, level: str) -> Iterator[str]:
    """Text as its level needs it: words must not be torn apart; characters and bytes may be, however long a line is."""
    return between_words(text_blocks(path)) if level in ("word", "bpe") else text_blocks(path)


def _encode(vocabulary: Vocabulary, block: str, path: Path) -> Any:
    try:
        return vocabulary.encode(block)
    except DataError as error:
        raise DataError(f"{error}; in {str(path)!r}") from None
