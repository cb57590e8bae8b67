"""Files of tokens: made once, made again when the text changes, the same as from memory, and in
constant memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from recurra.errors import DataError
from recurra.train import Corpus, baseline, from_files, from_source, from_text, token_file
from recurra.train.bars import TerminalBar
from recurra.train.building import Building

TEXT = "the quick brown fox jumps over the lazy dog\n" * 30
OTHER = "pack my box with five dozen liquor jugs\n" * 30


def files(place: Path, *texts: str) -> list[Path]:
    paths = [place / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    return paths


def same(one: Corpus, other: Corpus) -> None:
    assert one.vocabulary == other.vocabulary
    for mine, theirs in zip(one[:2], other[:2]):
        assert (
            np.array_equal(mine.tokens, theirs.tokens)
            and list(mine.starts) == list(theirs.starts)
            and mine.unknown == theirs.unknown
        )


@pytest.mark.parametrize(
    ("level", "size"),
    [("character", None), ("byte", None), ("word", None), ("word", 8), ("bpe", 300)],
)
def test_files_are_the_text(level: str, size: int | None, tmp_path: Path) -> None:
    found = from_files(
        files(tmp_path, TEXT, OTHER),
        level=level,
        vocab_size=size,
        cache=tmp_path / "cache",
        show=False,
    )
    same(found, from_text([TEXT, OTHER], level, vocab_size=size))
    assert isinstance(found.train.tokens, np.memmap) and found.train.tokens.dtype == (
        np.uint16 if level == "bpe" else np.uint8
    )
    assert (found.train.unknown > 0) == (size == 8) and baseline(found).ngram > 0


def test_validation_and_test_may_be_files(tmp_path: Path) -> None:
    train, held, test = files(tmp_path, TEXT, OTHER, "the fox\n" * 9)
    found = from_files(
        train, [held], test=[test], level="word", cache=tmp_path / "cache", show=False
    )
    assert found.test is not None and len(found.test.tokens) == 27 and found.test.unknown == 0
    assert found.validation.unknown == 8 * 30 and len(found.vocabulary) == 10
    held.write_text("the Box")
    with pytest.raises(
        DataError,
        match=(
            r"^text must hold only the model's 28 characters, got 'B' at character 5 .*; in"
            r" '.*1.txt'$"
        ),
    ):
        from_files(train, held, cache=tmp_path / "cache", show=False)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of token files that are made."""
    seen, make = [], token_file._make

    def watched(paths: Any, *given: Any) -> Any:
        seen.append(paths[0].name)
        return make(paths, *given)

    monkeypatch.setattr(token_file, "_make", watched)
    return seen


def test_made_once_and_again_when_the_text_changes(tmp_path: Path, made: list[str]) -> None:
    (path,) = files(tmp_path, TEXT)
    options: dict[str, Any] = {"cache": tmp_path / "cache", "show": False}
    first = from_files(path, **options)
    same(from_files(path, **options), first)
    assert len(made) == 1
    from_files(path, level="byte", **options)
    assert len(made) == 2
    path.write_text(OTHER)
    assert (
        len(from_files(path, **options).train.tokens) != len(first.train.tokens) and len(made) == 3
    )
    os.utime(path, ns=(1, 1))
    from_files(path, **options)
    assert len(made) == 4


def of_record(**fields: Any) -> Any:
    """Damage that says something else in the record."""

    def change(record: Path, tokens: Path) -> None:
        record.write_text(json.dumps(json.loads(record.read_text()) | fields))

    return change


def of_type(kind: str) -> Any:
    """Damage that says another type, with a file as long as it needs."""

    def change(record: Path, tokens: Path) -> None:
        count = json.loads(record.read_text())["count"]
        tokens.write_bytes(tokens.read_bytes().ljust(count * np.dtype(kind).itemsize, b"\1"))
        of_record(type=kind)(record, tokens)

    return change


def of_tokens(change: Any) -> Any:
    """Damage to the tokens."""
    return lambda record, tokens: tokens.write_bytes(bytes(change(bytearray(tokens.read_bytes()))))


def beyond(record: Path, tokens: Path) -> None:
    """A token that the vocabulary has not, with a digest that fits."""
    data = b"\xff" + tokens.read_bytes()[1:]
    tokens.write_bytes(data)
    of_record(digest=hashlib.blake2b(data, digest_size=16).hexdigest())(record, tokens)


DAMAGE: dict[str, tuple[Any, str]] = {
    "cut": (of_tokens(lambda data: data[:-1]), "bytes are no"),
    "a byte": (of_tokens(lambda data: data[:7] + b"\0" + data[8:]), "its digest is another"),
    "its end": (
        of_tokens(lambda data: data[:100] + bytes(len(data) - 100)),
        "its digest is another",
    ),
    "beyond": (beyond, "a token is 255, of 28"),
    "record": (
        lambda record, tokens: record.write_text(record.read_text()[:50]),
        "Unterminated string",
    ),
    "no record": (lambda record, tokens: record.write_text("[[]]"), "list indices"),
    "digest": (of_record(digest="0" * 32), "its digest is another"),
    "count": (of_record(count=-1), "a figure is no whole number"),
    "starts": (of_record(starts=[5]), "its documents begin elsewhere"),
    "starts after": (of_record(starts=[0, 10**9]), "its documents begin elsewhere"),
    "starts of text": (of_record(starts=["x"]), "a figure is no whole number"),
    "vocabulary": (
        of_record(vocabulary={"level": "character", "symbols": 3}),
        "vocabulary must be a record",
    ),
    "level": (of_record(vocabulary={"level": "byte"}), "its vocabulary is another"),
}
KINDS = ("O", "float64", "bool", "complex64", "uint16", "V8", "S1")
DAMAGE |= {kind: (of_type(kind), f"type is {kind}, not uint8") for kind in KINDS}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_made_again_and_a_line_says_so(
    damage: str, tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = files(tmp_path, TEXT)
    options: dict[str, Any] = {"cache": tmp_path / "cache", "show": False}
    expected = from_text(TEXT)
    from_files(path, **options)
    change, why = DAMAGE[damage]
    change(next((tmp_path / "cache").glob("*.json")), next((tmp_path / "cache").glob("*.tokens")))
    assert capsys.readouterr().err == ""
    same(from_files(path, **options), expected)
    assert len(made) == 2 and not list((tmp_path / "cache").glob("*.part"))
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("recurra: the token file ")
        and why in line
        and line.endswith("; it is made again")
    )
    same(from_files(path, **options), expected)
    assert len(made) == 2 and capsys.readouterr().err == ""


def test_vocabulary_of_another_is_no_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, held = files(tmp_path, TEXT, OTHER[::-1])
    options: dict[str, Any] = {"cache": tmp_path / "cache", "show": False}
    expected = from_files(train, held, **options)
    for record in (tmp_path / "cache").glob("*.json"):
        found = json.loads(record.read_text())
        symbols = found["vocabulary"]["symbols"]
        record.write_text(
            json.dumps(found | {"vocabulary": {"level": "character", "symbols": symbols[::-1]}})
        )
    again = from_files(train, held, **options)
    assert again.vocabulary.record() != expected.vocabulary.record(), (
        "what was learnt cannot be held to anything"
    )
    assert capsys.readouterr().err == "", "and the file of that vocabulary is another"


@pytest.mark.parametrize("suffix", [".tokens", ".json"])
def test_one_that_is_gone_is_made_again(
    suffix: str, tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = files(tmp_path, TEXT)
    options: dict[str, Any] = {"cache": tmp_path / "cache", "show": False}
    from_files(path, **options)
    next((tmp_path / "cache").glob(f"*{suffix}")).unlink()
    same(from_files(path, **options), from_text(TEXT))
    assert len(made) == 2 and capsys.readouterr().err == ""


def test_a_source_makes_the_corpus_again(tmp_path: Path) -> None:
    train, held = files(tmp_path, TEXT, OTHER)
    first = from_files(
        train, [held], level="word", vocab_size=9, cache=tmp_path / "cache", show=False
    )
    source = json.loads(json.dumps(first.source))
    same(from_source(source), first)
    held.write_text(OTHER.replace("box", "fox"))
    with pytest.raises(
        DataError,
        match=(
            r"^text must be as it was, got other contents in '.*0.txt', '.*1.txt'; put back what"
            r" was there$"
        ),
    ):
        from_source(source)
    held.unlink()
    with pytest.raises(DataError, match="^file must be readable, got "):
        from_source(source)


def test_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = files(tmp_path, TEXT)
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path / "one"))
    from_files(path, show=False)
    monkeypatch.delenv("RECURRA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    from_files(path, show=False)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "three"))
    from_files(path, show=False)
    for place in ("one", "two/recurra", "three/.cache/recurra"):
        assert list((tmp_path / place).glob("*.tokens"))


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = files(tmp_path, TEXT)
    (tmp_path / "wall").write_text("x")
    message = (
        r"^cache must be a folder with room that can be written, got '.*wall' \(File exists\); name"
        r" another in RECURRA_CACHE$"
    )
    with pytest.raises(DataError, match=message):
        from_files(path, cache=tmp_path / "wall", show=False)

    def full(place: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_file, "sync", full)
    with pytest.raises(
        DataError,
        match=r"got '.*cache' \(No space left on device\); name another in RECURRA_CACHE$",
    ):
        from_files(path, cache=tmp_path / "cache", show=False)
    assert not list((tmp_path / "cache").glob("*.part")) and not list(
        (tmp_path / "cache").glob("*.tokens")
    )


def test_two_that_make_the_same_at_once(tmp_path: Path) -> None:
    (path,) = files(tmp_path, TEXT * 200)
    call = f"from_files({str(path)!r}, cache={str(tmp_path / 'c')!r}, show=False)"
    code = f"from recurra.train import from_files; print(len({call}.train.tokens))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert {each.communicate(timeout=100)[0] for each in running} == {
        f"{len(TEXT) * 200 - len(TEXT) * 20}\n"
    }


def test_a_vocabulary_of_one(tmp_path: Path) -> None:
    (path,) = files(tmp_path, "a" * 200)
    found = from_files(path, cache=tmp_path / "cache", show=False)
    assert len(found.vocabulary) == 1 and baseline(found).ngram == pytest.approx(0.0)


def test_progress_is_shown_on_a_terminal_and_leaves_nothing() -> None:
    out = StringIO()
    with Building(10, True, Console(force_terminal=True, file=out, width=80)) as building:
        assert list(building.watch(iter(["abcde", "fghij"]), "tokens")) == ["abcde", "fghij"]
        assert isinstance(building.bar, TerminalBar)
        building.bar.progress.refresh()
    assert "reading text: tokens" in out.getvalue() and "100%" in out.getvalue()
    quiet = StringIO()
    with Building(10, True, Console(file=quiet)) as building:
        list(building.watch(iter(["abc"]), "tokens"))
    assert quiet.getvalue() == ""


MEASURE = """
import resource, sys
from pathlib import Path
from recurra.train import from_files, TokenStreams, Cut
path = Path(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
path.write_text("x y z " * 1000)
from_files(path, cache=path.parent / "c", show=False)  # what must be loaded is loaded
before = anonymous()
with path.open("w") as file:
    for _ in range(100):
        file.write("abcdefg hi " * 100_000)  # 110 MB without a line break
corpus = from_files(path, cache=path.parent / "c", show=False)
streams = TokenStreams(corpus.train.tokens, 64)
for start in range(0, streams.steps - 100, streams.steps // 50):
    streams.chunk(Cut(start, start + 100, 100, 100))
print(anonymous() - before, len(corpus.train.tokens))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_110_mb_without_a_line_break_take_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "a.txt")],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    grown, tokens = map(int, done.stdout.split())
    assert tokens > 90_000_000 and grown < 60_000, f"{grown} kB"
