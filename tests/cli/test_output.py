from __future__ import annotations

import argparse
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurra.cli import main
from recurra.cli.output import answer, table_text, write_text
from recurra.errors import DataError
from recurra.models import Bytes, LanguageModel, save
from recurra.network import Linear, Matrix, Network
from recurra.network.file import write


def test_answers_and_errors_obey_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any) -> int:
        answer(argparse.Namespace(json=False), {}, "name: \x1b[2J\u202eab")
        raise DataError("layer must be known, got \x1b]0;x\x07")

    monkeypatch.setattr(sys.modules["recurra.cli.main"], "_run", run)
    assert main(["info"]) == 1
    said = capsys.readouterr()
    assert said.out == "name: \\x1b[2J\\u202eab\n"
    assert said.err == "recurra info: layer must be known, got \\x1b]0;x\\x07\n"


@pytest.mark.parametrize(
    ("terminal", "shown"), [(True, "\u00e9\\x1b[2J\\ud800\n"), (False, "\u00e9\x1b[2J?\n")]
)
def test_text_of_a_model_is_spelt_out_on_a_terminal_only(
    terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    write_text("\u00e9\x1b[2J\ud800\n")
    assert capsys.readouterr().out == shown


def test_json_has_no_nan_and_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    record = {
        "path": "fused",
        "difference": float("nan"),
        "runs": [{"bound": float("inf"), "steps": 3}, (-float("inf"), 0.5)],
    }
    answer(argparse.Namespace(json=True), record, "text")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {
        "path": "fused",
        "difference": None,
        "runs": [{"bound": None, "steps": 3}, [None, 0.5]],
    }


HOSTILE = {"licence": "MIT\x1b[2J\u202e\ncuda: True", "from\x1b[1m": {"a": 1, "b": [1.5, "x\r"]}}


def test_info_is_a_table_in_which_a_file_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        Network((Linear(Matrix(np.zeros((30, 40), np.float32))),), facts=HOSTILE),
        tmp_path / "m.rcr",
    )
    assert main(["info", str(tmp_path / "m.rcr")]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown == {
        "layers": "Linear",
        "input": "40",
        "output": "30",
        "precision": "float32",
        "bytes": "4.8 kB (4,800 bytes)",
        "state": "0",
        "level": "features",
        "licence": "MIT\\x1b[2J\\u202e\\ncuda: True",
        "from\\x1b[1m.a": "1",
        "from\\x1b[1m.b": "1.5, x\\r",
    }
    assert main(["info", str(tmp_path / "m.rcr"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["licence"] == HOSTILE["licence"] and record["bytes"] == 4800


def test_facts_are_written_as_people_read_them() -> None:
    record = {
        "none": None,
        "empty": [],
        "deep": {"er": {"x": 1e-12}},
        "hollow": {},
        "big": 1234567,
        "off": False,
    }
    assert table_text(record).splitlines() == [
        "none       none",
        "empty      none",
        "deep.er.x  1e-12",
        "hollow     none",
        "big        1,234,567",
        "off        no",
    ]


def test_no_answer_and_no_error_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    answer(argparse.Namespace(json=False), {}, "a\x1b[2J\nb\tc\u202e")
    assert capsys.readouterr().out == "a\\x1b[2J\nb\tc\\u202e\n"
    assert main(["info", "none\x1b[2J"]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sample_steers_no_terminal_and_is_whole_for_a_program(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", out)
    save(LanguageModel(256, 3, 3, 1, vocabulary=Bytes()).float(), tmp_path / "m.safetensors")
    assert (
        main(
            ["sample", str(tmp_path / "m.safetensors"), "--prompt", "a\x1b[2J\nb", "--length", "0"]
        )
        == 0
    )
    assert out.getvalue() == ("a\\x1b[2J\nb\n" if terminal else "a\x1b[2J\nb\n")


@pytest.mark.parametrize(
    ("closed", "words", "message"),
    [
        (
            "stdout",
            ("info",),
            (
                "recurra info: standard output must be open, got a closed one; send it to a file,"
                " or to /dev/null"
            ),
        ),
        (
            "stdin",
            ("stream", "none.rcr"),
            (
                "recurra stream: standard input must be open, got a closed one; give the lines, or"
                " /dev/null"
            ),
        ),
        ("stderr", ("stream", "none.rcr"), None),
    ],
)
def test_a_closed_stream_is_one_line(
    closed: str,
    words: tuple[str, ...],
    message: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, closed, None)
        assert main(words) == 1
        if closed == "stderr":
            sys.stderr.close()
    assert capsys.readouterr() == ("", f"{message}\n" if message else "")


def test_what_a_file_nests_without_end_is_cut() -> None:
    deep: Any = "core"
    for _ in range(5000):
        deep = [deep]
    assert table_text({"a": deep, "b": [[1, 2], [3]]}).splitlines() == ["a  ...", "b  1, 2, 3"]
    for _ in range(5000):
        deep = {"x": deep}
    assert table_text(deep).endswith("  ...")
    with pytest.raises(DataError, match=r"^record must be nested no deeper than Python follows"):
        answer(argparse.Namespace(json=True), {"a": deep}, "")
