"""`recurra eval`: what the vocabulary does not hold, byte-order marks and line ends, for characters
and words.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recurra.cli import main
from recurra.models import LanguageModel, save
from recurra.vocabulary import learn_vocabulary

TEXT = "the quick brown fox jumps over the lazy dog\n" * 8


@pytest.fixture(params=["character", "word"])
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    vocabulary = learn_vocabulary([TEXT], request.param)
    save(LanguageModel(len(vocabulary), 6, 7, 1, vocabulary=vocabulary).float(), "m.safetensors")
    return str(request.param)


def evaluated(
    capsys: pytest.CaptureFixture[str], data: bytes, *options: str
) -> tuple[int, str, str]:
    Path("a.txt").write_bytes(data)
    status = main(["eval", "m.safetensors", "a.txt", *options])
    return status, *capsys.readouterr()


def figures(capsys: pytest.CaptureFixture[str], data: bytes, *options: str) -> dict[str, float]:
    status, out, err = evaluated(capsys, data, "--json", *options)
    assert status == 0, err
    return json.loads(out)


def test_skip_leaves_out_what_is_unknown_and_counts_it(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, known = {
        "character": (b"the \xc3\xa9fox X\nZ", b"the fox \n"),
        "word": (b"the wolf fox\nlions dog\n", b"the fox\ndog\n"),
    }[model]
    found, plain = figures(capsys, data, "--unknown", "skip"), figures(capsys, known)
    assert (
        found == plain | {"skipped": {"character": 3, "word": 2}[model]}
        and plain["skipped"] == 0 == found["unknown"]
    )
    count = {"character": 3, "word": 2}[model]
    assert evaluated(capsys, data, "--unknown", "skip")[1].endswith(f"; {count} unknown skipped\n")
    assert evaluated(capsys, known, "--unknown", "skip")[1].endswith("; 0 unknown skipped\n")


def test_error_names_what_is_unknown_and_its_place(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, size, part, place = {
        "character": (b"the Fox X", 28, "F", 5),
        "word": (b"the wolf lions", 10, "wolf", 5),
    }[model]
    status, out, err = evaluated(capsys, data, "--unknown", "error")
    said = (
        f"text must hold only the model's {size} {model}s, got {part!r} at character {place} of"
        " 'a.txt' (2 unknown in all)"
    )
    assert status == 1 and not out
    assert (
        err
        == f"recurra eval: {said}; leave them out with --unknown skip, or train on text that has"
        " them\n"
    )


def test_left_out_characters_are_an_error_and_words_are_counted(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if model == "character":
        assert evaluated(capsys, b"the Fox")[0] == 1
    else:
        assert (
            figures(capsys, b"the wolf fox\n")["unknown"] == 1
            and "1 of 4 are <unk>\n" in evaluated(capsys, b"the wolf fox\n")[1]
        )


def test_a_mark_and_line_ends_of_another_system_change_nothing(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stream takes, eval takes, and export and inspect."""
    plain, other = b"the fox\nthe dog\n" * 9, b"\xef\xbb\xbf" + b"the fox\r\nthe dog\r\n" * 9
    assert (
        figures(capsys, other)
        == figures(capsys, plain)
        == figures(capsys, other, "--unknown", "error")
    )
    told = []
    for data in (plain, other):
        Path("b.txt").write_bytes(data)
        assert (
            main(
                ["export", "m.safetensors", "--to", "m.rcr", "--int8", "--text", "b.txt", "--json"]
            )
            == 0
        )
        told.append(capsys.readouterr().out)
        assert main(["inspect", "m.safetensors", "--text", "b.txt", "--steps", "5", "--json"]) == 0
        told.append(capsys.readouterr().out)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        assert main(["stream", "m.rcr"]) == 0
        told.append(capsys.readouterr().out)
    assert told[:3] == told[3:]


def test_text_of_nothing_known_is_said(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"character": b"XYZ", "word": b"lions wolves"}[model]
    status, _, err = evaluated(capsys, data, "--unknown", "skip")
    assert (
        status == 1
        and err == "recurra eval: text must have at least two tokens that the model knows, got 0\n"
    )
