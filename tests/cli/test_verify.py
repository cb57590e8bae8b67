"""`recurra verify` shows on a terminal which path is run, and leaves nothing of it; elsewhere it
says nothing.
"""

from __future__ import annotations

import io
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from recurra import parity
from recurra.cli import main
from recurra.network import Linear, Matrix, Network
from recurra.network.file import write
from recurra.parity import exports
from tests.network.nets import numbers


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime's paths alone: what they are is another test's."""
    paths = exports._paths
    monkeypatch.setattr(exports, "_paths", lambda network: islice(paths(network), 2))


@pytest.fixture
def file(tmp_path: Path) -> str:
    write(Network((Linear(Matrix(numbers(2, 3))),)), tmp_path / "m.rcr")
    return str(tmp_path / "m.rcr")


def test_each_path_is_named_before_it_is_run(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for err in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["verify", file, "--steps", "3", "--rows", "1"]) == 0
        table = capsys.readouterr().out
        if err.isatty():
            first, *shown, after, nothing = err.getvalue().split("\r\x1b[K")
            paths = [line.partition("  ")[0] for line in table.splitlines()[1:-1]]
            assert [*shown, after] == [
                f"{n} path{'' if n == 1 else 's'} done, now: {path}" for n, path in enumerate(paths)
            ]
            assert first == nothing == ""
        else:
            assert err.getvalue() == ""


def test_what_is_told_is_what_is_run() -> None:
    network, x = Network((Linear(Matrix(numbers(2, 3))),)), numbers(4, 2, 3)
    module = torch.nn.GRU(3, 4, dtype=torch.float32)
    for run, given in ((parity.verify_exports, (network, x)), (parity.verify_module, (module, x))):
        told: list[str] = []
        rows = run(*given, tell=told.append)
        assert told == [row.path for row in rows if not row.path.startswith("module")]
