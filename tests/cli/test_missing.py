"""The command line where a package is missing: one line that says what to install."""

from __future__ import annotations

import json
import re
from pathlib import Path

from recurra.cli.main import COMMANDS
from tests.test_import import run

CODE = """
import contextlib, io, json
from recurra.cli import main
told = {{}}
for words in {commands}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code
    told[" ".join(words)] = status, out.getvalue(), err.getvalue()
print(json.dumps(told))
"""
WITHOUT = [
    ["train", "--help"],
    ["train", "--help-all"],
    ["train", "a.txt", "--out", "runs/a"],
    ["resume", "runs/a"],
    ["eval", "runs/a", "a.txt"],
    ["sample", "runs/a"],
    ["stream", "runs/a"],
    ["verify", "runs/a"],
    ["verify", "m.rcr"],
    ["export", "runs/a", "--to", "m.rcr"],
    ["inspect", "runs/a"],
    ["info", "runs/a"],
    ["bench"],
    ["demo"],
]


def told(commands: list[list[str]], *blocked: str) -> dict[str, tuple[int, str, str]]:
    return json.loads(run(CODE.format(commands=commands), blocked))


def test_every_command_that_needs_torch_says_so_in_one_line() -> None:
    found = told(WITHOUT, "torch")
    assert {words.split()[0] for words in found} == set(COMMANDS)
    for words, (status, out, err) in found.items():
        said = (
            rf"recurra {words.split()[0]}: .* needs PyTorch; install it with: pip install"
            r" \"recurra\[train\]\".*\n"
        )
        assert (status, out) == (1, "") and re.fullmatch(said, err), (words, err)


def test_a_command_that_needs_none_for_its_own_files_says_how_to_get_one() -> None:
    for words, (_, _, err) in told(
        [["stream", "m.onnx"], ["sample", "runs/a"], ["info", "nets.py:made"]], "torch"
    ).items():
        name, path = words.split()
        made = {"m.onnx": "m.rcr", "runs/a": "runs/a.rcr", "nets.py:made": "made.rcr"}[path]
        assert err.endswith(
            f", or make of it, where that is, a file that needs none: recurra export {path} --to"
            f" {made}\n"
        ), err


def test_help_of_the_others_needs_no_torch() -> None:
    for words, (status, out, err) in told(
        [[name, "--help"] for name in COMMANDS if name != "train"], "torch"
    ).items():
        assert status == 0 and out.startswith(f"usage: recurra {words.split()[0]}") and not err, (
            words
        )


def test_training_needs_no_more_than_what_train_installs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the quick brown fox jumps over the lazy dog. " * 9)
    small = [
        "--embed",
        "4",
        "--hidden",
        "5",
        "--layers",
        "1",
        "--epochs",
        "1",
        "--window",
        "9",
        "--batch",
        "4",
        "--quiet",
    ]
    words = ["train", str(tmp_path / "a.txt"), "--out", str(tmp_path / "run"), *small]
    absent = ("tensorboard", "tokenizers", "plotly")
    commands = [
        words,
        ["inspect", str(tmp_path / "run"), "--out", str(tmp_path / "a.html")],
        ["resume", str(tmp_path / "run"), "--quiet"],
    ]
    assert [(status, err) for status, _, err in told(commands, *absent).values()] == [(0, "")] * 3
    (found,) = told([[*words, "--tensorboard"]], *absent).values()
    assert found == [
        1,
        "",
        (
            "recurra train: TensorBoard needs a package; install it with: pip install"
            ' "recurra[tensorboard]"\n'
        ),
    ]


def test_another_package_that_is_missing_is_one_line() -> None:
    (found,) = told([["demo"]], "matplotlib").values()
    assert found == [
        1,
        "",
        (
            "recurra demo: this command needs matplotlib; install it with: pip install"
            ' "recurra[train]"\n'
        ),
    ]
