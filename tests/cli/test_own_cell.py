"""A cell in a file of Python, through every command."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tomli_w

from recurra.cli import main
from recurra.cli.train_command import resume_text
from recurra.train import read_config

NETS = """
from dataclasses import dataclass
import recurra
from torch import sigmoid, tanh
from near_cell import ONE

class JANET(recurra.Cell):
    state, gates = ("h",), ("f", "g")

    def pointwise(self, a, s):
        f, g = sigmoid(a.f), tanh(a.g)
        return dict(h=f * s.h + (ONE - f) * g, f=f, g=g)

    def retention(self, gates):
        return gates.f

@dataclass(frozen=True)
class Leaky(recurra.Cell):
    rate: float
    state, gates = ("h",), ("n",)

    def pointwise(self, a, s):
        n = tanh(a.n)
        return dict(h=self.rate * n + (1 - self.rate) * s.h, n=n)

slow = Leaky(0.25)

def quick():
    return Leaky(0.75)

def broken():
    raise ValueError("no cell\\nhere")

seven = 7
"""
TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
SMALL = [
    "--embed",
    "8",
    "--hidden",
    "12",
    "--layers",
    "1",
    "--epochs",
    "2",
    "--window",
    "16",
    "--batch",
    "4",
    "--quiet",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    (place / "nets.py").write_text(NETS)
    (place / "near_cell.py").write_text("ONE = 1\n")
    (place / "a.txt").write_text(TEXT)
    assert (
        main(
            [
                "train",
                str(place / "a.txt"),
                "--out",
                str(place / "run"),
                "--cell",
                f"{place}/nets.py:JANET",
                *SMALL,
            ]
        )
        == 0
    )
    return place


def ran(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    return status, *capsys.readouterr()


def commands(folder: Path) -> dict[str, list[object]]:
    return {
        "resume": ["--quiet"],
        "eval": [folder / "a.txt"],
        "sample": ["--length", "9"],
        "inspect": ["--steps", "9", "--rows", "2"],
        "export": ["--to", folder / "m.rcr"],
        "verify": ["--steps", "9", "--rows", "2"],
        "stream": ["--json"],
    }


@pytest.mark.parametrize(
    "command", ["resume", "eval", "sample", "inspect", "export", "verify", "stream"]
)
def test_a_command_runs_with_the_class_and_says_that_it_needs_it(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"the lazy dog\n")))
    words = [command, folder / "run", *commands(folder)[command]]
    status, out, err = ran(capsys, *words)
    how = "give the class, cells=[JANET] in Python or --cell nets.py:JANET on the command line"
    assert (status, out) == (1, "")
    assert (
        err
        == f"recurra {command}: cells must hold JANET (nets.py:JANET), of which the model is made,"
        f" got none; {how}\n"
    )
    path = list(sys.path)
    status, out, err = ran(capsys, *words, "--cell", f"{folder}/nets.py:JANET")
    assert (status, err) == (0, "") and out and sys.path == path
    if command == "verify":
        assert " FAILS" not in out and "fused" in out


def test_info_needs_no_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = ran(capsys, "info", folder / "run", "--json")
    record = json.loads(out)
    assert (
        status == 0
        and record["cell"] == "nets.py:JANET()"
        and record["hidden"] == 12
        and record["epochs"] == 2
    )
    assert (
        record["parameters"] == 28 * 8 + 28 + 2 * 12 * (8 + 12 + 2) + 8 * 12 + 8
        and record["level"] == "character"
    )


def test_the_file_may_have_moved_and_the_class_may_be_in_a_package(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(folder / "nets.py", tmp_path / "moved_nets.py")
    shutil.copy(folder / "near_cell.py", tmp_path / "near_cell.py")
    monkeypatch.chdir(tmp_path)
    for cell in ("moved_nets.py:JANET", "moved_nets:JANET"):
        status, out, _ = ran(
            capsys, "sample", folder / "run", "--length", "3", "--cell", cell, "--seed", "1"
        )
        assert status == 0 and out


def test_other_equations_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nets.py").write_text(
        NETS.replace("tanh(a.g)", "sigmoid(a.g)").replace("from near_cell import ONE", "ONE = 1")
    )
    status, out, err = ran(
        capsys, "eval", folder / "run", folder / "a.txt", "--cell", f"{tmp_path}/nets.py:JANET"
    )
    text = (
        "whose program has in line 5 of its step 'g = sigmoid(a.g)', where 'g = tanh(a.g)' was"
        " saved"
    )
    assert (status, out) == (2, "") and text in err and err.startswith("usage: recurra ")


@pytest.mark.parametrize(("name", "rate"), [("slow", 0.25), ("quick", 0.75)])
def test_a_cell_with_options_is_one_that_the_file_makes(
    name: str, rate: float, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        folder / "a.txt",
        "--out",
        tmp_path / "run",
        *SMALL,
        "--cell",
        f"{folder}/nets.py:{name}",
    ]
    assert ran(capsys, *words)[0] == 0
    assert (
        f'"cell": "nets.py:Leaky(rate={rate})"'
        in ran(capsys, "info", tmp_path / "run", "--json")[1]
    )
    for cell in (name, "Leaky"):
        assert (
            ran(
                capsys,
                "sample",
                tmp_path / "run",
                "--length",
                "3",
                "--cell",
                f"{folder}/nets.py:{cell}",
            )[0]
            == 0
        )
    other = {"slow": "quick", "quick": "slow"}[name]
    status, _, err = ran(capsys, "sample", tmp_path / "run", "--cell", f"{folder}/nets.py:{other}")
    assert (
        status == 2
        and f"got one with rate={1 - rate}, where {rate} was saved" in err
        and err.startswith("usage: recurra ")
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "nets.py:seven",
            (
                "--cell must name a subclass of recurra.Cell, or a cell, in {}/nets.py, got"
                " '{}/nets.py:seven'"
            ),
        ),
        (
            "nets.py:none",
            (
                "--cell must name a subclass of recurra.Cell, or a cell, in {}/nets.py, got"
                " '{}/nets.py:none'"
            ),
        ),
        (
            "nets.py:broken",
            (
                "--cell must give a cell without an error, got '{}/nets.py:broken', which raises"
                " ValueError: no cell"
            ),
        ),
        (
            "nets.py:Leaky",
            (
                "--cell must give a cell without an error, got '{}/nets.py:Leaky', which raises"
                " TypeError: "
            ),
        ),
        (
            "none.py:JANET",
            "--cell must begin with a file of Python that can be read, got '{}/none.py:JANET'",
        ),
        ("none:JANET", "--cell must be FILE.py:NAME or package.module:NAME, got '{}/none:JANET'"),
    ],
)
def test_what_gives_no_cell_is_said_in_one_line(
    name: str, text: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = ran(
        capsys,
        "train",
        folder / "a.txt",
        "--out",
        tmp_path / "run",
        *SMALL,
        "--cell",
        folder / name,
    )
    assert (
        status == 1
        and err.startswith(f"recurra train: {text.format(folder, folder)}")
        and err.count("\n") == 1
    )
    assert not (tmp_path / "run").exists()


def test_a_package_that_is_not_there_is_said_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = ran(
        capsys, "eval", folder / "run", folder / "a.txt", "--cell", "no_such_package.nets:JANET"
    )
    assert status == 1 and err.count("\n") == 1
    assert (
        "got 'no_such_package.nets:JANET', which raises ModuleNotFoundError: No module named"
        " 'no_such_package'" in err
    )


def test_a_cell_goes_with_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        ran(
            capsys,
            "export",
            folder / "run",
            "--to",
            folder / "n.rcr",
            "--cell",
            f"{folder}/nets.py:JANET",
        )[0]
        == 0
    )
    status, _, err = ran(capsys, "sample", folder / "n.rcr", "--cell", f"{folder}/nets.py:JANET")
    need = (
        f"--cell must go with a run or a model's file, got '{folder}/n.rcr', which needs none;"
        " leave it out"
    )
    assert status == 2 and err.endswith(f"\nrecurra sample: error: {need}\n")


def test_a_recipe_runs_no_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nets.toml").write_text(f'[model]\ncell = "{folder}/nets.py:JANET"\n')
    (tmp_path / "run.toml").write_text(
        tomli_w.dumps({"model": {"cell": read_config(folder / "run")["model"]["cell"]}})
    )
    for recipe, name in (("nets.toml", f"{folder}/nets.py:JANET"), ("run.toml", "nets.py:JANET")):
        words = ["train", folder / "a.txt", "--recipe", tmp_path / recipe, *SMALL]
        status, _, err = ran(capsys, *words, "--out", tmp_path / "none")
        need = (
            f"cell must be a name or a cell, got the text {name!r}; give the cell itself, or --cell"
            " on the command line"
        )
        assert (status, err) == (1, f"recurra train: {need}\n") and not (tmp_path / "none").exists()
        assert (
            ran(
                capsys,
                *words,
                "--out",
                tmp_path / recipe.removesuffix(".toml"),
                "--cell",
                f"{folder}/nets.py:JANET",
            )[0]
            == 0
        )


def test_an_interrupted_run_says_how_to_go_on() -> None:
    for words, flags in (
        ({"cell": "n.py:A"}, " --cell n.py:A"),
        ({"cell": "lstm"}, ""),
        ({"cell": None}, ""),
        ({"cells": []}, ""),
        ({"cells": ["n.py:A", "b.c:D"]}, " --cell n.py:A --cell b.c:D"),
    ):
        assert (
            resume_text(argparse.Namespace(**words), "runs/a")
            == f"go on with: recurra resume runs/a{flags}"
        )
