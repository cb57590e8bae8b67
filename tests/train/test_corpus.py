"""Text becomes tokens in two parts, and a file that is no text is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError
from recurra.models import learn_vocabulary
from recurra.train import from_files, from_text, read_text
from recurra.wording import count_text
from tests.display.markup import Markup


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=("Cs",), exclude_characters="\ufeff"), max_size=12
        ),
        max_size=6,
    ),
    st.floats(0.1, 0.9),
    st.sampled_from(["character", "byte"]),
)
def test_the_parts_are_the_text_and_starts_are_where_documents_begin(
    texts: list[str], share: float, level: str
) -> None:
    whole = "".join(texts)
    try:
        corpus = from_text(texts, level, share)
    except DataError:
        size = len(whole.encode() if level == "byte" else whole)
        assert size - int(size * share) < 2 or int(size * share) < 2
        return
    tokens = np.concatenate([corpus.train.tokens, corpus.validation.tokens])
    assert (
        tokens.dtype == np.int64
        and corpus.vocabulary == learn_vocabulary(texts, level)
        and corpus.vocabulary.decode(tokens) == whole
    )
    assert len(corpus.validation.tokens) == int(len(tokens) * share)
    cut = len(corpus.train.tokens)
    starts = {0, *corpus.train.starts, *(cut + start for start in corpus.validation.starts)} - {cut}
    places = np.cumsum([0, *(len(corpus.vocabulary.encode(text)) for text in texts)])
    assert starts == {int(place) for place in places if place < len(tokens)} - {cut}


def test_a_document_boundary_at_the_cut_belongs_to_the_second_part() -> None:
    corpus = from_text(["abcd", "abcd", "abcd", "abcd"], validation=0.5)
    assert corpus.train.starts == (0, 4) and corpus.validation.starts == (4,)


def test_one_text_is_one_document() -> None:
    corpus = from_text("abab" * 10)
    assert (
        corpus.train.starts == (0,)
        and corpus.validation.starts == ()
        and len(corpus.validation.tokens) == 4
    )


def test_a_text_of_one_letter_is_a_corpus() -> None:
    corpus = from_text("a" * 30)
    assert len(corpus.vocabulary) == 1 and len(corpus.train.tokens) == 27


@pytest.mark.parametrize("texts", ["", [], ["", ""]])
def test_no_text(texts: Any) -> None:
    with pytest.raises(DataError, match=r"^text must not be empty, got no characters$"):
        from_text(texts)


@pytest.mark.parametrize(
    ("text", "share"), [("a", 0.1), ("ab", 0.5), ("abcd" * 4, 0.1), ("abcd", 0.9)]
)
def test_too_little_text(text: str, share: float) -> None:
    got = count_text(len(text), "token")
    message = (
        f"text must be long enough for both parts, two tokens each, got {got} of which {share:.0%}"
        " for validation"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}; give more text$"):
        from_text(text, validation=share)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_the_share_is_checked(share: float) -> None:
    with pytest.raises(
        ArgumentError,
        match=re.escape(
            f"validation must be a number in (0, 1), got {share}; it is the share held"
        ),
    ):
        from_text("abc" * 10, validation=share)


def test_the_level_is_checked() -> None:
    with pytest.raises(
        ArgumentError, match=r"level must be one of 'bpe', 'byte', 'character', 'word', got 'chars'"
    ):
        from_text("abc" * 10, "chars")


# Files


def test_files_are_read_whole_and_in_order(tmp_path: Path) -> None:
    texts = ["caf\u00e9 \U0001f600\r\n", "b\n\ufeff"]
    for name, text in zip("ab", texts):
        (tmp_path / name).write_bytes(text.encode())
    assert read_text([tmp_path / "a", str(tmp_path / "b")]) == texts
    assert read_text(tmp_path / "a") == read_text(str(tmp_path / "a")) == texts[:1]
    assert read_text([]) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file must not be empty, got {path} of 0 bytes"),
        (b"ab\0c", "file must be text, got {path}, which has a zero byte at 2; is it binary?"),
        (
            "one\ntwo caf\u00e9".encode("latin1"),
            (
                "file must be UTF-8, got {path} with byte 0xe9 at 11 (line 2); "
                "convert it, for example with: iconv -f LATIN1 -t UTF-8"
            ),
        ),
        (
            b"\xff\xfea",
            (
                "file must be UTF-8, got {path} with byte 0xff at 0 (line 1); "
                "convert it, for example with: iconv -f LATIN1 -t UTF-8"
            ),
        ),
        (
            "a\nb\n\u20ac".encode()[:-1],
            (
                "file must be UTF-8, got {path} with byte 0xe2 at 4 (line 3); "
                "convert it, for example with: iconv -f LATIN1 -t UTF-8"
            ),
        ),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^{re.escape(message.format(path=repr(str(path))))}$"):
        read_text([path])


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(
            DataError, match=f"^{re.escape(f'file must be readable, got {str(path)!r} ({why})')}$"
        ):
            read_text(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").write_text("to be or not to be")

    def refuse(self: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        DataError, match=r"file must be readable, got '.*corpus' \(Permission denied\)"
    ):
        read_text(tmp_path / "corpus")


def test_a_corpus_is_a_line_and_a_table() -> None:
    corpus = from_text(["to be or not", " to be that is the question"], "word", 0.25)
    sizes = [len(part.tokens) for part in (corpus.train, corpus.validation)]
    assert (
        repr(corpus)
        == str(corpus)
        == f"Corpus(train {sizes[0]}, validation {sizes[1]} tokens; word level, vocabulary of 10)"
    )
    assert repr(corpus.train) == f"Part({sizes[0]} tokens in 2 documents)" and repr(
        corpus.validation
    ).endswith(" tokens in 1 document)")
    cells = Markup(corpus._repr_html_()).cells
    assert cells[1:3] == [
        ["train", str(sizes[0]), "2", "0"],
        ["validation", str(sizes[1]), "1", "0"],
    ]
    assert cells[3:] == [["vocabulary", "10"], ["level", "word"]]


def test_a_corpus_of_files_names_its_parts_and_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}<b>.txt" for name in ("train", "validation", "test")]
    for path in paths:
        path.write_text("to be or not to be\n" * 100)
    corpus = from_files(paths[0], paths[1], paths[2], show=False)
    assert repr(corpus).startswith(
        "Corpus(train 1,900, validation 1,900, test 1,900 tokens; character level"
    )
    assert Markup(corpus._repr_html_()).cells[-1] == ["from", str(paths[0])]


@pytest.mark.parametrize("level", ["character", "byte", "word"])
def test_a_byte_order_mark_is_no_token(level: str, tmp_path: Path) -> None:
    texts = ["to be or not to be\n" * 3, "that is the question\n" * 3]
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, text in zip(paths, texts):
        path.write_text(text, encoding="utf-8-sig")
    plain, marked = from_text(texts, level), from_text([f"\ufeff{text}" for text in texts], level)
    for other in (marked, from_files(paths, level=level, cache=tmp_path / "cache", show=False)):
        assert (
            other.vocabulary == plain.vocabulary
            and other.train.tokens.tolist() == plain.train.tokens.tolist()
        )
    assert read_text(paths) == texts
