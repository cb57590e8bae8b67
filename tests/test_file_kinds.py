"""A file of another kind is named, with what to do with it, wherever a network, a model or a run is
read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recurra import runtime
from recurra.cli import main
from recurra.errors import DataError
from recurra.file_kinds import KINDS, kind_text
from recurra.models import load

SAID = {
    "m.onnx": "an ONNX model; make a network of it with: recurra export m.onnx --to m.rcr",
    "m.pt2": "a program of torch.export; give the run or the model that it was made of",
    "m.h": "a C header; give the run or the model that it was made of",
    "m.pt": (
        "a pickle of PyTorch, which could execute anything; write its module in Python:"
        " recurra.export.to_rcr(module, 'm.rcr')"
    ),
    "m.safetensors": (
        "weights, or a model that recurra trained; make a network of a model with: recurra export"
        " m.safetensors --to m.rcr"
    ),
    "run": "a folder; make a network of a run with: recurra export run --to run.rcr",
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    for name in SAID:
        if name != "run":
            Path(name).write_bytes(b"/* nothing that anybody reads */")


@pytest.mark.parametrize("name", SAID)
def test_the_runtime_says_what_to_do(name: str) -> None:
    with pytest.raises(
        DataError, match=f"^{re.escape(f'path must be a .rcr file, got {name!r}, {SAID[name]}')}$"
    ):
        runtime.load(name)


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2", "m.h", "m.pt"])
def test_what_reads_a_model_says_what_to_do(name: str) -> None:
    said = f"path must be a model that recurra trained, got {name!r}, {SAID[name]}"
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        load(name)


@pytest.mark.parametrize("name", ["m.pt2", "m.h", "m.pt"])
@pytest.mark.parametrize(
    "command", ["stream", "sample", "info", "verify", "inspect", "eval", "export"]
)
def test_every_command_says_what_to_do_in_one_line(
    command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"eval": ["m.h"], "export": ["--to", "n.rcr"]}.get(command, [])
    assert main([command, name, *more]) == 1
    assert (
        capsys.readouterr().err
        == f"recurra {command}: path must be a model that recurra trained, got {name!r},"
        f" {SAID[name]}\n"
    )


def test_a_run_that_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "m.onnx"]) == 1
    need = (
        "run must be a run's folder, got 'm.onnx', a file; training goes on from the folder that"
        " recurra train made"
    )
    assert capsys.readouterr().err == f"recurra resume: {need}\n"


def test_what_the_ending_does_not_tell_is_said_as_before() -> None:
    assert (
        kind_text("m.txt") == kind_text("m") == ""
        and kind_text("M.ONNX") == kind_text("M.ONNX", ".onnx") != ""
    )
    Path("m.rcr").write_bytes(b"junk")
    with pytest.raises(DataError, match="^path must be a network written by recurra, got 'm.rcr'"):
        runtime.load("m.rcr")
    with pytest.raises(
        DataError, match="^path must be a network's file, got 'none.onnx', which does not exist$"
    ):
        runtime.load("none.onnx")
    assert all(what and advice for what, advice in KINDS.values())
