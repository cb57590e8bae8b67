from __future__ import annotations

import argparse
import json

import pytest

from recurra.cli.output import answer


def test_json_has_no_nan_and_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"path": "fused", "difference": float("nan"), "runs": [{"bound": float("inf"), "steps": 3}, (-float("inf"), 0.5)]}
    answer(argparse.Namespace(json=True), record, "text")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"path": "fused", "difference": None, "runs": [{"bound": None, "steps": 3}, [None, 0.5]]}
