"""The busy process is busy, and always stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recurra.bench.neighbour import busy_neighbour


def test_it_runs_as_long_as_the_block() -> None:
    with busy_neighbour() as process:
        assert process is not None and process.poll() is None
    assert process.poll() is not None


def test_it_is_stopped_by_an_error_too() -> None:
    with pytest.raises(KeyboardInterrupt), busy_neighbour() as process:
        raise KeyboardInterrupt
    assert process is not None and process.poll() is not None


def test_none_is_wanted_none_runs() -> None:
    with busy_neighbour(wanted=False) as process:
        assert process is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_it_spends_the_processor() -> None:
    with busy_neighbour() as process:
        assert process is not None
        for _ in range(100_000_000):
            if (
                sum(
                    map(
                        int,
                        Path(f"/proc/{process.pid}/stat")
                        .read_text()
                        .rsplit(")", 1)[1]
                        .split()[11:13],
                    )
                )
                >= 5
            ):
                return
    pytest.fail("it does nothing")


def test_it_ends_when_whoever_started_it_is_killed() -> None:
    code = (
        "import os, signal\nfrom recurra.bench.neighbour import busy_neighbour\nwith"
        " busy_neighbour() as process:\n    print(process.pid, flush=True)\n   "
        " os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode < 0
    # the neighbour holds no pipe of ours, so `run` came back at once; it must go by itself
    number = int(done.stdout)
    for _ in range(10_000_000):
        try:
            if Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
    pytest.fail("it goes on")
