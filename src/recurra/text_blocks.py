"""Text files in blocks: whatever their size, in constant memory."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from recurra.errors import DataError
from recurra.regular_file import check_regular
from recurra.vocabulary.pieces import MOST_WORD
from recurra.vocabulary.vocabulary import MARK

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]
BLOCK = 1 << 22
"""Bytes read at a time."""


def read_text(paths: Paths) -> list[str]:
    """Read text files, each a document; .gz too.

    Args:
        paths: a file, or several.

    Raises:
        DataError: a file is missing, empty, binary, or not UTF-8; names it and, for bad text, the
            byte.
    """
    return ["".join(text_blocks(path)) for path in listed_paths(paths)]


def listed_paths(paths: Paths) -> list[Path]:
    """A path, or several, as a list."""
    return [Path(paths)] if isinstance(paths, (str, PathLike)) else [Path(path) for path in paths]


def text_blocks(path: Path, block: int = BLOCK) -> Iterator[str]:
    """The text of a file in blocks, decompressed if its name ends in .gz, without a byte-order
    mark.

    Args:
        path: UTF-8 text.
        block: bytes at a time.

    Raises:
        DataError: the file is missing, empty, binary or not UTF-8; names it and, for bad text, byte
            and line.
    """
    name, decoder, read, lines, begun = (
        repr(str(path)),
        codecs.getincrementaldecoder("utf-8")(),
        0,
        1,
        False,
    )
    try:
        check_regular(path)
        with _opened(path) as file:
            while data := file.read(block):
                if b"\0" in data:
                    raise DataError(
                        f"file must be text, got {name}, which has a zero byte at"
                        f" {read + data.index(0)}; is it binary?"
                    )
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(data)
                except UnicodeDecodeError as error:
                    at = error.start - pending
                    raise _not_text(
                        name,
                        error.object[error.start],
                        read + at,
                        lines + data[: max(0, at)].count(b"\n"),
                    ) from None
                read, lines = read + len(data), lines + data.count(b"\n")
                yield text if begun else text.removeprefix(MARK)
                begun = begun or bool(text)
    except OSError as error:
        why = error.strerror or "not a gzip file"
        raise DataError(f"file must be readable, got {name} ({why})") from None
    except EOFError:
        raise DataError(
            f"file must be whole, got {name}, which ends in the middle; it was cut short"
        ) from None
    if not read:
        raise DataError(f"file must not be empty, got {name} of 0 bytes")
    left = decoder.getstate()[0]
    if left:
        raise _not_text(name, left[0], read - len(left), lines)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _not_text(name: str, byte: int, at: int, line: int) -> DataError:
    text = f"file must be UTF-8, got {name} with byte 0x{byte:02x} at {at} (line {line})"
    return DataError(f"{text}; convert it, for example with: iconv -f LATIN1 -t UTF-8")


def between_words(blocks: Iterator[str], most: int = BLOCK) -> Iterator[str]:
    """The same text in blocks that are cut after white space, so that no word and no line break is
    torn apart.

    Args:
        blocks: the text.
        most: characters that are held until a space or a line break comes; a word that is longer is
            cut, after a multiple of `MOST_WORD`.

    >>> list(between_words(iter(["one t", "wo", " three"])))
    ['one ', 'two ', 'three']
    """
    held: list[str] = []
    for block in blocks:
        cut = 1 + max(block.rfind("\n"), block.rfind(" "))
        if cut:
            yield "".join([*held, block[:cut]])
            held = []
        held.append(block[cut:])
        if sum(map(len, held)) > most:
            text = "".join(held)
            last = "" if text[-1].isspace() else text.rsplit(None, 1)[-1]
            cut = (len(text) - len(last)) or len(text) // MOST_WORD * MOST_WORD
            yield text[:cut]
            held = [text[cut:]]
    if any(held):
        yield "".join(held)
