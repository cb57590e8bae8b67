"""Ctrl-C on a real process: status 1, one clear line and no traceback, and a run that can be gone
on with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recurra.cli.interrupt import Interrupts
from recurra.train import read_history
from recurra.train.interrupt import STOPPING
from tests.train.test_resume import same

TEXT = "the quick brown fox jumps over the lazy dog\n" * 400
SIZES = ["--embed", "16", "--hidden", "160", "--batch", "32", "--epochs", "3", "--window", "250"]
"""Two chunks a pass, of about a tenth of a second each: long enough to be hit."""
NOTE = f'{{"kind": "note", "text": "{STOPPING}"}}'


def started(
    place: Path, *words: str, by: Sequence[str] = ("-m", "recurra.cli")
) -> subprocess.Popen[str]:
    """A command in a process of its own, on one thread."""
    command = [sys.executable, *by, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def train(place: Path, out: str) -> subprocess.Popen[str]:
    return started(place, "train", "a.txt", "--out", out, *SIZES)


def ended(process: subprocess.Popen[str], read: str = "") -> tuple[int, str, list[str]]:
    """Status, what it printed, and what it said that is no validation."""
    out, err = process.communicate(timeout=100)
    return (
        process.returncode,
        out,
        [line for line in (read + err).splitlines() if '"validation"' not in line],
    )


def wait_for(process: subprocess.Popen[str], what: str) -> str:
    """Read what a process says until a line has this in it."""
    assert process.stderr is not None
    read = ""
    while what not in read:
        line = process.stderr.readline()
        assert line, read
        read += line
    return read


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, and a run that was never stopped."""
    folder = tmp_path_factory.mktemp("interrupt")
    (folder / "a.txt").write_text(TEXT)
    status, _, said = ended(train(folder, "whole"))
    assert status == 0, said
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ends_the_run_after_its_chunk(place: Path, number: signal.Signals) -> None:
    process, out = train(place, number.name), f"go on with: recurra resume {number.name}"
    read = wait_for(process, '"epoch": 2')
    process.send_signal(number)
    status, printed, said = ended(process, read)
    assert (
        status == 1
        and said == [NOTE]
        and printed.startswith("stopped; best so far: ")
        and printed.splitlines()[-1] == out
    )
    assert ended(started(place, "resume", number.name))[0] == 0
    same(place / "whole", place / number.name)


def test_the_second_ends_it_at_once_and_the_last_checkpoint_stands(place: Path) -> None:
    process = train(place, "twice")
    read = wait_for(process, '"epoch": 2')
    process.send_signal(signal.SIGINT)
    read += wait_for(process, '"note"')
    process.send_signal(signal.SIGINT)
    status, printed, said = ended(process, read)
    assert status == 1 and said == [NOTE] and "go on with: recurra resume twice" in printed
    assert len(read_history(place / "twice")) < len(read_history(place / "whole"))
    assert ended(started(place, "resume", "twice"))[0] == 0
    same(place / "whole", place / "twice")


def test_before_any_validation_it_says_how_to_go_on(place: Path) -> None:
    words = ["train", "a.txt", "--out", "early", *SIZES, "--window", "3"]
    process = started(place, *words)
    until(lambda: (place / "early" / "last").is_dir() and len(read_history(place / "early")) > 3)
    process.send_signal(signal.SIGINT)
    status, printed, said = ended(process)
    first, second = printed.splitlines()
    assert status == 1 and said == [NOTE] and second == "go on with: recurra resume early"
    assert first == "stopped before the first validation; the model as it was is in early"


LOADING = """
import sys
import recurra.cli

module = sys.modules["recurra.cli.main"]
load = module._parsers

def told(command):
    print("loading", file=sys.stderr, flush=True)
    return load(command)

module._parsers = told
sys.exit(module.main())
"""


@pytest.mark.parametrize(
    "words",
    [["train", "a.txt", "--out", "never"], ["eval", "whole", "a.txt"]],
    ids=["train", "eval"],
)
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_while_it_is_loaded_it_ends_with_one_line(
    place: Path, seconds: float, words: list[str]
) -> None:
    process = started(place, *words, by=["-c", LOADING])
    read = wait_for(process, "loading")
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    assert ended(process, read) == (1, "", ["loading", f"recurra {words[0]}: interrupted"])


def until(true: Callable[[], bool]) -> None:
    """Wait."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_is_heard_when(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before, left = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(os, "_exit", left.append)
    try:
        interrupts = Interrupts("recurra train")
        os.kill(os.getpid(), signal.SIGINT)
        assert (
            left == [1]
            and capfd.readouterr().err == "recurra train: interrupted\n"
            and not interrupts.heard
        )
        interrupts.running = True
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.heard and left == [1]
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [1, 1] and capfd.readouterr().err == "recurra train: interrupted\n"
        interrupts.end()
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [1, 1] and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
