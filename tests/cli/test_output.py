from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pytest

from recurra.cli.main import main
from recurra.cli.output import answer, write_text
from recurra.errors import DataError


def test_answers_and_errors_obey_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*_: Any) -> int:
        answer(argparse.Namespace(json=False), {}, "name: \x1b[2J\u202eab")
        raise DataError("layer must be known, got \x1b]0;x\x07")

    monkeypatch.setattr(sys.modules["recurra.cli.main"], "_run", run)
    assert main(["info"]) == 1
    said = capsys.readouterr()
    assert said.out == "name: \\x1b[2J\\u202eab\n"
    assert said.err == "recurra info: layer must be known, got \\x1b]0;x\\x07\n"


@pytest.mark.parametrize(("terminal", "shown"), [(True, "\u00e9\\x1b[2J\\ud800\n"), (False, "\u00e9\x1b[2J?\n")])
def test_text_of_a_model_is_spelt_out_on_a_terminal_only(
    terminal: bool, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    write_text("\u00e9\x1b[2J\ud800\n")
    assert capsys.readouterr().out == shown


def test_json_has_no_nan_and_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"path": "fused", "difference": float("nan"), "runs": [{"bound": float("inf"), "steps": 3}, (-float("inf"), 0.5)]}
    answer(argparse.Namespace(json=True), record, "text")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"path": "fused", "difference": None, "runs": [{"bound": None, "steps": 3}, [None, 0.5]]}
