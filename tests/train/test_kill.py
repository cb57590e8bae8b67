"""A run survives what a machine does to it: a kill at any moment, a disk that is full at any
write.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, resume
from tests.train.test_resume import same

KILLS = 20
PROGRAM = """
import json, os, random, shutil, signal, sys, time
import torch
from recurra.errors import RunError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, from_text, resume

def work(folder):
    data = from_text("the cat sat on the mat and the rat sat on the cat; " * 30)
    recipe = Recipe(epochs=40, window=10, batch=8, lr=0.01, schedule="cosine", checkpoint_s=0.01)
    try:
        resume(folder, data, show=False)
    except RunError as error:
        assert "which holds no" in str(error) or "must hold a checkpoint" in str(error), error
        shutil.rmtree(folder, ignore_errors=True)  # killed before there was anything to lose
        torch.manual_seed(1)
        model = LanguageModel(len(data.vocabulary), 6, 16, 2, dropout=0.2)
        fit(model, data, recipe, folder, show=False)

def start(folder):
    child = os.fork()
    if not child:
        try:
            work(folder)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return child

whole, cut = sys.argv[1:]
began = time.monotonic()
assert os.waitpid(start(whole), 0)[1] == 0
seconds, kills = time.monotonic() - began, 0
random.seed(int(sys.argv[0] == "never") + 7)
while kills < KILLS:
    child = start(cut)
    time.sleep(random.uniform(0, 1.6 * seconds / KILLS))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), "the run ended before it was killed often enough"
    kills += 1
assert os.waitpid(start(cut), 0)[1] == 0
print(json.dumps({"kills": kills, "seconds": seconds}))
"""


def test_a_run_killed_twenty_times_ends_as_one_never_stopped(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-c",
        PROGRAM.replace("KILLS", str(KILLS)),
        str(tmp_path / "whole"),
        str(tmp_path / "cut"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == KILLS
    same(tmp_path / "whole", tmp_path / "cut")


# A full disk

DATA = from_text("the cat sat on the mat and the rat sat on the cat; " * 12)
PAGE = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def made() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(len(DATA.vocabulary), embed=6, hidden=7, dropout=0.2)


def fill(path: Path, left: int) -> None:
    """Take all room but so many pages."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            pass
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - left * PAGE))


@pytest.mark.parametrize("often", [True, False])
def test_a_disk_that_is_full_at_any_write_loses_nothing(
    often: bool, small_disk: Path, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=2, window=60, batch=4, lr=0.01, checkpoint_s=0 if often else 60)
    fit(made(), DATA, recipe, tmp_path / "whole", show=False)
    at: dict[str, int] = {}
    for pages in range(200):
        run = small_disk / f"run{pages}"
        fill(small_disk / "filler", pages)
        try:
            fit(made(), DATA, recipe, run, show=False)
        except RunError as error:
            assert "No space left on device" in str(error), error
            at[_what(str(error))] = at.get(_what(str(error)), 0) + 1
        else:
            assert set(at) >= {"config.toml", "history.jsonl", "checkpoint"} | (
                set() if often else {"model.safetensors"}
            ), at
            same(tmp_path / "whole", run)
            return
        (small_disk / "filler").unlink()
        _go_on(run, recipe)
        same(tmp_path / "whole", run)
        shutil.rmtree(run)
    raise AssertionError("the run never had room enough")


def _what(message: str) -> str:
    return next(
        name
        for name in ("checkpoint", "config.toml", "history.jsonl", "model.safetensors")
        if name in message
    )


def _go_on(run: Path, recipe: Recipe) -> None:
    try:
        resume(run, DATA, show=False)
    except RunError as error:
        assert "which holds no" in str(error) or "must hold a checkpoint" in str(error), error
        shutil.rmtree(run, ignore_errors=True)
        fit(made(), DATA, recipe, run, show=False)
