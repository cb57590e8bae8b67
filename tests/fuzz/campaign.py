"""Many files by many workers: who dies is replaced, and the file that did it kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz.guard import SLOWER, Outcome
from tests.fuzz.target import HERE, find
from tests.fuzz.worker import ROOM, Place, keep, summary

ROOT, FINDINGS = HERE.parents[1], HERE / "findings"
SLICE_S = 120.0
"""Seconds that one target is read for before it is the next one's turn."""
HANG_S = 30.0
"""Seconds by the clock after which a file that is still being read counts as one that never
ends.
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1"} | (
    {"TMPDIR": "/dev/shm"} if os.path.isdir("/dev/shm") else {}
)
"""Of workers: a disk would be most of what they wait for."""
HEAD = ("target", "files", "accepted", "findings", "slowest, s", "memory, MB", "files a second")
WORKER = (sys.executable, *(["-S"] if sys.flags.no_site else []), "-m", "tests.fuzz.worker")


def campaign(
    targets: Sequence[str],
    seed: int,
    first: int,
    files: int,
    seconds: float,
    jobs: int,
    say: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Read files of all targets, round robin, until each had so many or the time is over.

    Args:
        targets: their names.
        seed, first: of the files.
        files: of each target at most.
        seconds: by the clock, in all.
        jobs: workers at once.
        say: told what is found as it is found.

    Returns:
        By target what a worker sums up, and the seconds that it took.
    """
    done = {name: summary() | {"next": first, "seconds": 0.0} for name in targets}
    ends = time.monotonic() + seconds
    with ThreadPoolExecutor(jobs) as pool:
        while left := [name for name in targets if done[name]["next"] < first + files]:
            if time.monotonic() >= ends - 1:
                break
            rounds = [
                pool.submit(
                    _slice, name, seed, first + files, jobs / (len(left) - i), ends, done[name], say
                )
                for i, name in enumerate(left)
            ]
            for each in rounds:
                each.result()
    return done


def _slice(
    name: str,
    seed: int,
    last: int,
    share: float,
    ends: float,
    total: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Let one worker read for a share of the time that is left, and add up."""
    began = time.monotonic()
    if ends - began < 1:
        return
    seconds = min(SLICE_S, max(5.0, (ends - began) * share), ends - began)
    with tempfile.TemporaryDirectory(prefix="fuzz-room-") as room:
        done, fault = run_worker(
            name, seed, total["next"], last - total["next"], seconds, Path(room)
        )
    for key in ("files", "accepted", "findings"):
        total[key] += done[key]
    for key in ("slowest_s", "memory"):
        total[key] = max(total[key], done[key])
    total["next"], total["seconds"] = (
        max(total["next"], done["next"]),
        total["seconds"] + time.monotonic() - began,
    )
    if done["findings"]:
        say(
            f"{name}: {done['findings']} findings{f', {fault}' if fault else ''}; see"
            f" {FINDINGS / name}"
        )


def run_worker(
    name: str,
    seed: int,
    first: int,
    files: int,
    seconds: float,
    room: Path,
    findings: Path = FINDINGS,
    worker: Sequence[str] = WORKER,
) -> tuple[dict[str, Any], str | None]:
    """One worker, watched.

    Returns:
        Its summary, and how it died; None where it ended by itself. The file at which it died is
        kept, and counts.
    """
    (room / "place").write_bytes(bytes(ROOM))
    place, log = Place(room / "place"), room / "log"
    place.set(first, False)
    options = {
        "seed": seed,
        "first": first,
        "files": files,
        "seconds": seconds,
        "room": room,
        "findings": findings,
    }
    command = [
        *worker,
        name,
        *(text for key, value in options.items() for text in (f"--{key}", str(value))),
    ]
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=errors, stderr=errors, env=os.environ | ENVIRONMENT
        )
        hung = _watch(process, place)
    text = (room / "summary.json").read_text() if (room / "summary.json").exists() else "{}"
    done = summary() | {"next": first} | json.loads(text)
    if process.returncode == 0 and not hung:
        return done, None
    number, reading = place.get()
    fault = "a file that never ends" if hung else f"a worker that ended with {process.returncode}"
    said = log.read_bytes()[-20_000:].decode(errors="replace")
    target = find(name)
    keep(
        findings,
        target,
        seed,
        number,
        Outcome(False, 0.0, 0, f"{fault}\n{said}", f"{fault}, {_cause(said)}"),
        target.make(seed, number),
    )
    done["findings"] += 1
    done["files"] += max(0, number + 1 - done["next"])
    return (
        done | {"next": number + 1},
        f"{fault} at file {number}{'' if reading else ', before it was read'}",
    )


def _watch(process: subprocess.Popen[bytes], place: Place) -> bool:
    """Wait for a worker; whether it stood still for so long that it was killed."""
    at, since = place.get(), time.monotonic()
    while True:
        try:
            process.wait(1.0)
            return False
        except subprocess.TimeoutExpired:
            if (now := place.get()) != at:
                at, since = now, time.monotonic()
            if time.monotonic() - since > HANG_S * SLOWER + (60 if not at[1] else 0):
                process.kill()
                process.wait()
                return True


def _cause(log: str) -> str:
    """The line in which a sanitizer or Python says what was wrong."""
    lines = [
        line
        for line in log.splitlines()
        if "SUMMARY:" in line or "runtime error:" in line or "Fatal Python error" in line
    ]
    return lines[-1][:200] if lines else "which said nothing"


def table(done: dict[str, dict[str, Any]]) -> str:
    """The summaries, a line each and one for all."""
    rows = [HEAD]
    for name, row in done.items():
        share, speed = (
            row["accepted"] / max(1, row["files"]),
            row["files"] / max(0.1, row["seconds"]),
        )
        figures = (
            f"{row['files']:,}",
            f"{share:.0%}",
            f"{row['findings']:,}",
            f"{row['slowest_s']:.2f}",
            f"{row['memory'] >> 20:,}",
        )
        rows.append((name, *figures, f"{speed:,.0f}"))
    files, findings = (sum(row[key] for row in done.values()) for key in ("files", "findings"))
    slowest, memory = (
        max((row[key] for row in done.values()), default=0) for key in ("slowest_s", "memory")
    )
    rows.append(
        ("all", f"{files:,}", "", f"{findings:,}", f"{slowest:.2f}", f"{memory >> 20:,}", "")
    )
    wide = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, wide))
        )
        for row in rows
    )
