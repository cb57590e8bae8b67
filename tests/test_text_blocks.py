"""Text in blocks is the text, whatever the block; what cannot be read is named with its place."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.text_blocks import between_words, text_blocks

TEXTS = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\ufeff"),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@given(TEXTS, st.integers(1, 9))
def test_blocks_are_the_text(place: Path, text: str, block: int) -> None:
    (place / "a.txt").write_bytes(text.encode())
    (place / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.txt", "a.txt.gz"):
        assert "".join(text_blocks(place / name, block)) == text


@given(TEXTS, st.integers(1, 9))
def test_a_byte_order_mark_is_no_text(place: Path, text: str, block: int) -> None:
    (place / "a.txt").write_bytes(text.encode("utf-8-sig"))
    (place / "a.txt.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    for name in ("a.txt", "a.txt.gz"):
        assert "".join(text_blocks(place / name, block)) == text


def test_what_is_wrong_after_a_mark_is_named_with_its_place(place: Path) -> None:
    (place / "a.txt").write_bytes("ab\ncd".encode("utf-8-sig") + b"\xff")
    with pytest.raises(DataError, match=r"byte 0xff at 8 \(line 2\)"):
        list(text_blocks(place / "a.txt"))


@given(TEXTS, st.integers(1, 9))
def test_no_word_is_torn(text: str, size: int) -> None:
    parts = list(between_words(text[i : i + size] for i in range(0, len(text), size)))
    assert "".join(parts) == text and all(part.endswith((" ", "\n")) for part in parts[:-1])
    words = [word for part in parts for word in part.replace("\n", " ").split(" ") if word]
    assert words == [word for word in text.replace("\n", " ").split(" ") if word]


BAD = "na\u00efve caf\u00e9\nline two\n".encode()


@pytest.mark.parametrize("block", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BAD + b"xyz\xff\n", "byte 0xff at 25 (line 3)"),
        (b"\xe9t\xe9", "byte 0xe9 at 0 (line 1)"),
        (BAD + "\u00e9".encode()[:1], "byte 0xc3 at 22 (line 3)"),
        (b"\n\n" + "\u20ac".encode()[:2] + b"x", "byte 0xe2 at 2 (line 3)"),
    ],
)
def test_what_is_not_utf8_is_named(place: Path, content: bytes, message: str, block: int) -> None:
    (place / "b.txt").write_bytes(content)
    with pytest.raises(
        DataError,
        match=re.escape(
            f"file must be UTF-8, got {str(place / 'b.txt')!r} with {message}; convert it"
        ),
    ):
        list(text_blocks(place / "b.txt", block))


def test_mixed_encodings_are_found_however_late(place: Path) -> None:
    (place / "b.txt").write_bytes(
        "\u00e9t\u00e9\n".encode() * 1000 + "\u00e9t\u00e9\n".encode("latin-1")
    )
    with pytest.raises(DataError, match=r"byte 0xe9 at 6000 \(line 1001\)"):
        list(text_blocks(place / "b.txt", 777))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", b"", "file must not be empty, got .* of 0 bytes"),
        ("c.txt", b"abc\0d", "file must be text, got .*, which has a zero byte at 3; is it binary"),
        ("c.txt.gz", b"no gzip", "file must be readable, got .*not a gzip file"),
        (
            "c.txt.gz",
            gzip.compress(b"words " * 1000, mtime=0)[:-20],
            "file must be whole, got .*, which ends in the middle; it was cut short",
        ),
    ],
)
def test_what_cannot_be_read(place: Path, name: str, content: bytes, message: str) -> None:
    (place / name).write_bytes(content)
    with pytest.raises(DataError, match=f"^{message}"):
        list(text_blocks(place / name))
    with pytest.raises(
        DataError, match=r"^file must be readable, got '.*' \(No such file or directory\)$"
    ):
        list(text_blocks(place / "none"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        DataError, match=r"^file must be readable, got '.*pipe' \(not a regular file\)$"
    ):
        list(text_blocks(tmp_path / "pipe"))


@pytest.mark.parametrize(
    "text", ["x" * 10_500, "a\t" * 6000, "word " + "y" * 9000 + "\tend", "a b\n" * 3000]
)
def test_a_word_without_end_is_not_held(text: str) -> None:
    parts = list(between_words((text[i : i + 700] for i in range(0, len(text), 700)), most=3000))
    assert "".join(parts) == text and max(map(len, parts)) <= 4500
    assert all(part[-1].isspace() or len(part) % 1000 == 0 for part in parts[:-1])
