"""`recurra bench` as a person meets it; nothing here asks how quick anything was."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from recurra.cli import main
from recurra.engine import METHODS

SMALL = ["--quick", "--threads", "1", "--shapes", "5,3,4,6,2", "--rounds", "1", "--parts"]


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["bench", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_it_prints_the_table_and_writes_json_and_the_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    status, out, err = command(
        capsys, *SMALL, "cells", "memory", "flat", "--json", str(file), "--plot", str(plot)
    )
    assert (
        status == 0
        and "lstm, 1 thread\n" in out
        and "target 1.035, got " in out
        and out.endswith("targets reached\n")
    )
    stages = [
        "memory over 200 calls",
        "values and gradients, 1 thread",
        "times, 1 thread",
        "memory held for backward",
    ]
    assert err.splitlines() == [f"{stage} ..." for stage in stages]
    record = json.loads(file.read_text())
    assert (
        record["machine"]["torch"] == torch.__version__
        and len(record["rows"]) == 9
        and record["plan"]["rounds"] == 1
    )
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_json_alone_is_one_object_on_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = command(capsys, *SMALL, "cells", "--cells", "rnn", "--json")
    record = json.loads(out)
    assert status == 0 and err == "" and [row["name"] for row in record["rows"]] == ["rnn"]


def test_options_reach_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = command(
        capsys, *SMALL, "cells", "--cells", "gru", "--busy", "--method", "loop", "--quiet"
    )
    assert (
        status == 0
        and err == ""
        and "gru, 1 thread, beside one busy process" in out
        and "by method 'loop'" in out
    )


def test_numbers_that_differ_end_with_1_and_no_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, module in METHODS.items():
        if name != "loop":
            plain = module.run
            monkeypatch.setattr(
                module,
                "run",
                lambda job, plain=plain: (done := plain(job))._replace(h=done.h + 1e-2),
            )
    status, out, err = command(capsys, *SMALL, "cells", "--cells", "gru", "--quiet")
    assert status == 1 and out == "" and err.count("\n") == 2
    assert err.startswith(
        "recurra bench: cells gru at 5, 3, 4, 6, 2 on 1 thread: the output is 0.01"
    )
    assert err.endswith("recurra bench: no speed is given while the numbers differ\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shapes", "5,3"], "shapes must be positive whole numbers T,B,I,H,layers, got '5,3'"),
        (
            ["--cells", "lstn"],
            "cells must be one of 'gru', 'lstm', 'rnn', got 'lstn'; did you mean 'lstm'?",
        ),
        (["--parts", "all"], "parts must be one of"),
        (["--threads", "0"], "threads must be a positive whole number, got 0"),
        (["--rounds", "0"], "rounds must be a positive whole number, got 0"),
        (["--method", "fussed"], "did you mean 'fused'?"),
        (
            ["--json", "nowhere/bench.json"],
            "json must be a file that can be written, got 'nowhere/bench.json'",
        ),
        (["--plot", "."], "plot must be a file that can be written, got '.'"),
        (
            ["--plot", "bench.png", "--parts", "step"],
            "parts must hold 'cells' for a plot, got step",
        ),
        (
            ["--plot", "bench.tree"],
            "plot must end with a format that can be drawn, got 'bench.tree'",
        ),
    ],
)
def test_a_wrong_option_is_said_under_the_usage_before_anything_is_measured(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = command(capsys, *words)
    assert (
        status == 2
        and out == ""
        and err.startswith("usage: recurra bench ")
        and not list(tmp_path.iterdir())
    )
    assert (
        err.splitlines()[-1].startswith("recurra bench: error: ")
        and message in err.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("package", "words"), [("torch", []), ("rich", []), ("matplotlib", ["--plot", "bench.png"])]
)
def test_what_is_not_installed_is_said_in_one_line(
    package: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == package else plain(name, *more),
    )
    status, out, err = command(capsys, *words)
    assert (status, out) == (1, "")
    assert (
        err
        == f'recurra bench: bench needs {package}; install it with: pip install "recurra[train]"\n'
    )
