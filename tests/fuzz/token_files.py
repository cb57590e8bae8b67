"""Token files in a cache: what is trusted holds tokens of its vocabulary and documents that begin
in it; else it is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from recurra.errors import DataError
from recurra.train.token_file import token_file
from tests.fuzz.archive import pack, unpack
from tests.fuzz.mutation import bend, change

READERS = ("train/token_file.py",)
COUNT = 100
TEXTS = ("the cat sat on the mat\n" * 3, "and the rat sat\n")
LEVELS = ("character", "byte", "word", "bpe")
MTIME = 1_700_000_000


def texts(folder: Path) -> list[Path]:
    """The texts, as old as they always are."""
    paths = [folder / f"text{number}" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS):
        if not path.exists():
            path.write_text(text)
            os.utime(path, (MTIME, MTIME))
    return paths


@cache
def seeds() -> tuple[tuple[str, Any, bytes], ...]:
    """A good token file of each level: level, record, tokens."""
    made = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        for level in LEVELS:
            cache = Path(name) / level
            token_file(texts(Path(name)), level, 260 if level == "bpe" else None, None, cache)
            record = json.loads(next(cache.glob("*.json")).read_text())
            made.append((level, record, next(cache.glob("*.tokens")).read_bytes()))
    return tuple(made)


def forge(draws: Random) -> bytes:
    """An archive of a record and tokens, of which something is changed, mostly with a digest that
    fits.
    """
    level, record, tokens = draws.choice(seeds())
    way = draws.randrange(8)
    if way < 5:
        record = change(record, draws)
    if way >= 4:
        tokens = bend(tokens, draws)
    if isinstance(record, dict) and draws.random() < 0.8:
        record = record | {"digest": hashlib.blake2b(tokens, digest_size=16).hexdigest()}
        if draws.random() < 0.5 and record.get("type") in ("uint8", "uint16"):
            record["count"] = len(tokens) // np.dtype(record["type"]).itemsize
    text = json.dumps(record).encode()
    return pack(
        {
            "level": level.encode(),
            "record": bend(text, draws) if way == 7 else text,
            "tokens": tokens,
        }
    )


def read(data: bytes, folder: Path) -> None:
    """Put the files where the cache has them, and open it. Refused where the file was made
    again.
    """
    parts = unpack(data)
    level = parts["level"].decode("utf-8", "replace")
    if level not in LEVELS:
        raise DataError("no level")
    room = folder / "cache" / level
    size = 260 if level == "bpe" else None
    paths = texts(folder)
    if not room.exists():
        token_file(paths, level, size, None, room)
    name = next(room.glob("*.json")).stem
    record = parts["record"]
    with contextlib.suppress(ValueError, RecursionError, TypeError, AttributeError):
        known = json.loads(record)
        if zlib.crc32(data) % 8:  # the cache of these very texts
            sources = [
                [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
                for path in paths
            ]
            record = json.dumps(known | {"sources": sources}).encode()
    (room / f"{name}.json").write_bytes(record)
    (room / f"{name}.tokens").write_bytes(parts["tokens"])
    with contextlib.redirect_stderr(io.StringIO()) as said:
        found = token_file(paths, level, size, None, room)
    tokens = np.asarray(found.tokens)
    assert len(found.starts) == len(paths) and found.vocabulary.level == level
    assert not len(tokens) or int(tokens.max()) < len(found.vocabulary), (
        "a token outside the vocabulary"
    )
    assert all(0 <= start <= len(tokens) for start in found.starts)
    if said.getvalue():
        raise DataError(said.getvalue().strip()[:400])
