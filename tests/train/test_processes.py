"""Two processes with half the rows each are one process with all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recurra.errors import ArgumentError, RunError
from recurra.models import LanguageModel, load
from recurra.train import Recipe, fit, from_text, read_history, resume
from recurra.train.checkpoint import read_newest

TEXT = [
    "to be or not to be",
    "that is the question",
    "whether tis nobler in the mind to suffer",
] * 8
FIELDS = dict(
    epochs=2,
    window=12,
    batch=6,
    lr=0.05,
    optimizer="sgd",
    activation_penalty=0.5,
    temporal_penalty=0.5,
    checkpoint_s=0,
)
PROGRAM = """
import atexit, os, signal, sys
import torch
from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, resume

torch.set_default_dtype(torch.float64)
folder, what = sys.argv[1:]
data = from_text(TEXT)

class Ends:
    def on_chunk(self, course, row, chunk):
        if row["step"] == 3 and what == "stop":
            course.wish.asked = course.team.rank == 1
        if row["step"] == 3 and what == "kill" and course.team.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

torch.manual_seed(int(os.environ["RANK"]))
model = LanguageModel(len(data.vocabulary), 6, 7, 2, dropout=0.0)
try:
    if what == "resume":
        resume(folder, data, show=False)
    else:
        fit(model, data, Recipe(**FIELDS), folder, show=False, callbacks=[Ends()])
except RunError as error:
    print(f"RunError: {error}", flush=True)
    sys.exit(1)
atexit._run_exitfuncs()
assert not torch.distributed.is_initialized(), "Python's own end would abort the group's threads"
"""


def ran(folder: Path, what: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """The program in several processes; killing one is not waited for by torchrun, so that the
    other can speak.
    """
    script = folder.parent / "program.py"
    script.write_text(PROGRAM.replace("TEXT", repr(TEXT)).replace("FIELDS", repr(FIELDS)))
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        str(script),
        str(folder),
        what,
    ]
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def alone(folder: Path) -> None:
    torch.manual_seed(0)
    data = from_text(TEXT)
    fit(
        LanguageModel(len(data.vocabulary), 6, 7, 2, dropout=0.0),
        data,
        Recipe(**FIELDS),
        folder,
        show=False,
    )  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def double() -> None:
    assert torch.get_default_dtype() == torch.float64


def equal(first: Path, second: Path, bound: float) -> None:
    one, other = (read_newest(folder / "last").tensors for folder in (first, second))
    for name, value in one.items():
        if name.startswith("model."):
            torch.testing.assert_close(value, other[name], rtol=0, atol=bound)
    for mine, theirs in zip(read_history(first), read_history(second)):
        for name in ("loss", "grad_norm", "validation_loss", "tokens"):
            assert mine.get(name) == pytest.approx(theirs.get(name), abs=bound)


def test_two_processes_are_one(tmp_path: Path) -> None:
    alone(tmp_path / "alone")
    done = ran(tmp_path / "two", "whole")
    assert done.returncode == 0, done.stdout + done.stderr
    equal(tmp_path / "alone", tmp_path / "two", 1e-10)
    tensors = read_newest(tmp_path / "two" / "last").tensors
    assert {name.partition(".")[0] for name in tensors} == {"model", "rank0", "rank1"}
    weights = load(tmp_path / "two" / "model.safetensors").state_dict()
    torch.testing.assert_close(
        weights, load(tmp_path / "alone" / "model.safetensors").state_dict(), rtol=0, atol=1e-10
    )

    cut = ran(tmp_path / "cut", "stop")  # only the second process is asked to stop
    assert cut.returncode == 0, cut.stdout + cut.stderr
    assert [row["step"] for row in read_history(tmp_path / "cut")] == [1, 2, 3]
    with pytest.raises(
        RunError,
        match=(
            r"^run must go on in 2 processes, as before, got 1; start it with: torchrun"
            r" --nproc-per-node 2$"
        ),
    ):
        resume(tmp_path / "cut", from_text(TEXT), show=False)
    done = ran(tmp_path / "cut", "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    equal(tmp_path / "two", tmp_path / "cut", 0.0)


def test_a_killed_process_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    done = ran(tmp_path / "cut", "kill")
    assert done.returncode != 0
    assert re.search(
        r"RunError: run must keep all of its processes, got a lost one \(.*\); resume it from its"
        r" last checkpoint",
        done.stdout,
    ), done
    assert read_newest(tmp_path / "cut" / "last").record["step"] in (2, 3)
    done = ran(tmp_path / "cut", "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    alone(tmp_path / "alone")
    equal(tmp_path / "alone", tmp_path / "cut", 1e-10)


def test_rows_must_be_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from recurra.train import fit as module
    from recurra.train.processes import Alone

    class Three(Alone):
        count = 3

    monkeypatch.setattr(
        sys.modules[module.__module__], "processes", lambda device: Three(torch.device("cpu"))
    )
    data = from_text(TEXT)
    model = LanguageModel(len(data.vocabulary), 6, 7)
    with pytest.raises(ArgumentError, match=r"^batch must be a multiple of 3 processes, got 8$"):
        fit(model, data, Recipe(batch=8), show=False)
    with pytest.raises(
        ArgumentError,
        match=r"^batch must be a multiple of 3 processes times accumulate = 2, got 8$",
    ):
        fit(model, data, Recipe(batch=8, accumulate=2), show=False)
