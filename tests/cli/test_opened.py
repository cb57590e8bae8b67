"""Models of other people on the command line: ONNX files, and modules in files of Python."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recurra.cli import main
from recurra.network import Loop
from recurra.network.file import read
from tests.export.onnx_files import node, written
from tests.network.nets import numbers

NETS = """
import recurra, torch
from torch import nn
from near import WIDTH

torch.manual_seed(0)
tagger = nn.Sequential(nn.Linear(3, WIDTH), nn.GRU(WIDTH, 4), nn.Linear(4, 2)).float()

ours = recurra.Recurrent(recurra.cells.GRU(), 3, 4, dtype=torch.float32)

def made():
    return tagger

def broken():
    raise ValueError("no weights\\nhere")

def both_ways():
    return nn.LSTM(3, 4, bidirectional=True)

seven = 7
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "near.py").write_text("WIDTH = 5\n")
    return tmp_path / "nets.py"


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    given = {"w": numbers(1, 12, 3), "r": numbers(1, 12, 4), "one": np.array([1])}
    nodes = [
        node("GRU", "x w r", "Y", hidden_size=4, linear_before_reset=1),
        node("Squeeze", "Y one", "y"),
    ]
    return written(tmp_path / "m.onnx", nodes, given)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", ["tagger", "made"])
def test_a_module_in_a_file_becomes_one_of_the_runtime(
    name: str, nets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = list(sys.path)
    status, out, _ = said(capsys, "export", f"{nets}:{name}", "--to", tmp_path / "m.rcr")
    assert status == 0 and "the runtime's file, float32 weights" in out and sys.path == path
    module = sys.modules["recurra_cli_nets"].tagger
    x = numbers(6, 2, 3)
    with torch.no_grad():
        hidden = module[1](module[0](torch.from_numpy(x)))[0]
        assert np.allclose(
            Loop(read(tmp_path / "m.rcr"), 2).run(x), module[2](hidden).numpy(), atol=1e-6
        )


def test_an_onnx_file_becomes_one_of_the_runtime(
    onnx_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = said(capsys, "export", onnx_file, "--to", tmp_path / "m.rcr", "--int8")
    assert status == 0 and "int8 weights" in out and "held-out loss: not measured" in out
    assert read(tmp_path / "m.rcr").precision == "int8"


def test_other_commands_take_it_too(
    onnx_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = said(capsys, "info", onnx_file)
    assert status == 0 and "GRU" in out
    status, out, _ = said(capsys, "verify", onnx_file, "--steps", "5", "--rows", "2")
    assert status == 0 and "runtime, steps, int8" in out
    status, _, err = said(capsys, "sample", onnx_file, "--prompt", "a")
    assert status == 1 and err.startswith("recurra sample: ") and err.count("\n") == 1


def test_a_module_is_verified_as_it_is_and_as_it_is_exported(
    nets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, paths in (
        ("tagger", ["module, (T, B, C)"]),
        ("ours", ["loop", "fused, ragged", "module, (T, B, C)"]),
    ):
        status, out, _ = said(capsys, "verify", f"{nets}:{name}", "--steps", "9", "--rows", "2")
        assert status == 0 and all(
            f"\n{path}  " in out for path in [*paths, "runtime, steps, int8", "C header, float32"]
        )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "seven",
            "RUN must name a torch.nn.Module or a function in {}, as FILE.py:NAME, got '{}:seven'",
        ),
        (
            "none",
            "RUN must name a torch.nn.Module or a function in {}, as FILE.py:NAME, got '{}:none'",
        ),
        ("", "RUN must name a torch.nn.Module or a function in {}, as FILE.py:NAME, got '{}:'"),
        (
            "broken",
            (
                "RUN must give a module without an error, got '{1}:broken', which raises"
                " ValueError: no weights"
            ),
        ),
        (
            "both_ways",
            (
                "module must run forward only to stream, got bidirectional=True: it needs the whole"
                " future"
            ),
        ),
    ],
)
def test_what_is_no_module_is_one_line(
    name: str, text: str, nets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "export", f"{nets}:{name}", "--to", nets.parent / "m.rcr")
    assert status == 1 and not out and err == f"recurra export: {text.format(nets, nets)}\n"
    assert not (nets.parent / "m.rcr").exists()


@pytest.mark.parametrize("given", ["none.py:net", "none.onnx", "none.rcr", "none.py"])
def test_what_is_not_there_is_one_line(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said(capsys, "export", tmp_path / given, "--to", tmp_path / "m.rcr")
    assert (
        status == 1
        and not out
        and err.startswith("recurra export: ")
        and given in err
        and err.count("\n") == 1
    )


HEADS = """
import torch
from torch import nn

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.action, self.value = nn.GRU(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)

    def forward(self, x, state=None):
        y, state = self.gru(x, state)
        return state, self.action(y), self.value(y)

heads = Heads().float()
"""


def test_one_of_several_outputs_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"w": numbers(3, 2), "v": numbers(3, 1)}
    nodes = [node("MatMul", "x w", "action"), node("MatMul", "x v", "value")]
    path = written(tmp_path / "m.onnx", nodes, given, outputs=["action", "value"])
    (tmp_path / "heads.py").write_text(HEADS)
    module = f"{tmp_path / 'heads.py'}:heads"
    for source, names, first, second in (
        (path, "'action', 'value'", "action", "value"),
        (module, "1, 2", "1", "2"),
    ):
        status, _, err = said(capsys, "export", source, "--to", tmp_path / "m.rcr")
        assert status == 1 and f"got {names}; choose one by output= (--output)" in err
        for output, size in ((first, 2), (second, 1)):
            assert (
                said(capsys, "export", source, "--to", tmp_path / "m.rcr", "--output", output)[0]
                == 0
            )
            assert read(tmp_path / "m.rcr").output_size == size
        assert (
            said(capsys, "verify", source, "--output", second, "--steps", "5", "--rows", "2")[0]
            == 0
        )
        status, _, err = said(
            capsys, "export", source, "--to", tmp_path / "m.rcr", "--output", "nothing"
        )
        assert status == 2 and "output must be one of " in err and err.startswith("usage: recurra ")


@pytest.mark.parametrize("command", [["export", "--to", "n.rcr"], ["verify"]])
def test_a_file_of_recurras_own_has_one_output(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("m.rcr", "run"):
        status, _, err = said(capsys, *command, tmp_path / name, "--output", "y")
        assert (
            status == 2
            and "--output must go with an ONNX file or FILE.py:NAME, got " in err
            and err.startswith("usage: recurra ")
        )
