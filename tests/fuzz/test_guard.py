"""Each guard can fail: a reader that is broken on purpose is found."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from recurra.errors import DataError
from recurra.network import Loop
from recurra.wording import size_text
from tests.fuzz import campaign, rcr_files
from tests.fuzz.container import assemble
from tests.fuzz.guard import memory_peak, observe
from tests.fuzz.reached import Reached
from tests.fuzz.shown import check_c, check_html, check_terminal
from tests.fuzz.target import Target, find
from tests.fuzz.worker import summary


def broken(read: Callable[[bytes, Path], Any]) -> Target:
    """A target with that reader."""
    return Target("broken", lambda draws: b"a file", read)


def refuse(data: bytes, folder: Path) -> None:
    raise DataError("file must be another, got this one")


def work(data: bytes, folder: Path) -> None:
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass


def test_an_error_of_recurras_refuses(tmp_path: Path) -> None:
    outcome = observe(broken(refuse), b"", tmp_path)
    assert not outcome.accepted and outcome.fault is None


def test_an_answer_accepts(tmp_path: Path) -> None:
    outcome = observe(broken(lambda data, folder: None), b"", tmp_path)
    assert outcome.accepted and outcome.fault is None


class Panic(BaseException):
    """As a library in Rust raises it."""


@pytest.mark.parametrize(
    "kind", [KeyError, AssertionError, MemoryError, RuntimeWarning, Panic, SystemExit]
)
def test_another_error_is_a_fault(kind: type[BaseException], tmp_path: Path) -> None:
    def read(data: bytes, folder: Path) -> None:
        raise kind("raw")

    outcome = observe(broken(read), b"", tmp_path)
    assert kind.__name__ in str(outcome.fault) and outcome.place.startswith(
        f"{kind.__name__} at test_guard.py"
    )


@pytest.mark.parametrize("text", ["", " \n", "\n" * 100])
def test_a_message_that_is_none_is_a_fault(text: str, tmp_path: Path) -> None:
    def read(data: bytes, folder: Path) -> None:
        error = DataError()
        error.args = (text,)
        raise error

    assert "the message has" in str(observe(broken(read), b"", tmp_path).fault)


def test_time_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.guard.CPU_S", 0.01)
    assert observe(broken(work), b"", tmp_path).place == "time"


def test_time_that_a_library_takes_to_load_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.guard.CPU_S", 0.01)
    calls: list[int] = []

    def read(data: bytes, folder: Path) -> None:
        calls.append(1)
        if len(calls) == 1:
            work(data, folder)

    assert observe(broken(read), b"", tmp_path).fault is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a process grew")
def test_memory_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.guard.MEMORY", 64 << 20)
    outcome = observe(broken(lambda data, folder: np.ones(16 << 20).sum()), b"", tmp_path)
    assert outcome.place == "memory" and outcome.memory > 100 << 20
    with memory_peak() as peak:
        pass
    assert peak[0] < 8 << 20  # what the file before took does not count


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202e", "\ud800", "\x07"])
def test_a_terminal_is_guarded(text: str) -> None:
    check_terminal("two\nlines\tand é")
    with pytest.raises(AssertionError, match="the terminal is given"):
        check_terminal(f"a {text}")


def test_pages_and_headers_are_guarded(tmp_path: Path) -> None:
    check_html("&lt;script&gt;alert")
    with pytest.raises(AssertionError):
        check_html("<script>alert(1)")
    check_c("/* int f(void) */ static const int x = 1;\n", tmp_path)
    for code in ("int f(void){return 1;}", "/* */ */", "/* a \\\n*/", "é"):
        with pytest.raises(AssertionError):
            check_c(code, None)
    with pytest.raises(AssertionError):
        check_c("int x = ;", tmp_path)


def test_a_wrong_number_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = assemble(rcr_files.seeds()[3][0])
    assert observe(find("rcr"), data, tmp_path).accepted
    monkeypatch.setattr(Loop, "run", lambda self, x, run=Loop.run: run(self, x) * 1.001)
    assert "session and loop differ" in str(observe(find("rcr"), data, tmp_path).fault)


WORKER = """
import os, sys, time
from pathlib import Path
from tests.fuzz.worker import Place
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
place = Place(Path(options["--room"]) / "place")
for number in range(int(options["--first"]), 9):
    place.set(number, True)
    if number == 5:
        {}
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("os.kill(os.getpid(), 11)", "a worker that ended with -11 at file 5"),
        ("time.sleep(60)", "a file that never ends at file 5"),
        (
            "print('SUMMARY: AddressSanitizer: heap', file=sys.stderr, flush=True); os._exit(1)",
            "a worker that ended with 1 at file 5",
        ),
    ],
)
def test_a_worker_that_dies_is_known_by_its_file(
    does: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "HANG_S", 1.5)
    monkeypatch.setattr(campaign, "find", lambda name: broken(refuse))
    worker = (sys.executable, "-c", WORKER.format(does))
    done, fault = campaign.run_worker(
        "broken", 0, 0, 9, 30.0, tmp_path, tmp_path / "findings", worker
    )
    assert fault == said and done["findings"] == 1 and done["files"] == 6 and done["next"] == 6
    (text,) = (tmp_path / "findings" / "broken").glob("*.txt")
    assert "--first 5 --files 1" in text.read_text() and ("SUMMARY" in text.read_text()) == (
        "SUMMARY" in does
    )
    assert text.with_suffix(".file").read_bytes() == b"a file"


def test_a_campaign_counts_and_its_table_adds_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = campaign.campaign(["lines"], 7, 0, 40, 60.0, 1)
    assert (
        done["lines"]["files"] == 40
        and done["lines"]["findings"] == 0
        and 0 < done["lines"]["accepted"] <= 40
    )
    lines = campaign.table(
        done | {"rcr": summary() | {"files": 2, "seconds": 1.0, "memory": 3 << 20}}
    ).splitlines()
    assert lines[0].split()[:3] == ["target", "files", "accepted"] and lines[-1].split() == [
        "all",
        "42",
        "0",
        lines[-1].split()[3],
        "3",
    ]


def test_a_file_is_made_of_its_number_alone() -> None:
    target = Target("drawn", lambda draws: str(draws.random()).encode(), refuse)
    assert (
        target.make(1, 2) == target.make(1, 2) != target.make(1, 3)
        and target.make(1, 2) != str(Random(2).random()).encode()
    )


def test_lines_that_did_not_run_are_named() -> None:
    reached = Reached(["wording.py"])
    with reached.watching():
        size_text(5)
    wanted, missing, others = reached.share("wording.py")
    assert 0 < len(missing) < len(wanted) and "printable" in others and "size_text" not in others
