"""A process that reads one file after another: where it dies, its parent knows at which file."""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fuzz.guard import Outcome, observe
from tests.fuzz.target import Target, find

ROOM = 16
"""Bytes of the file in which a worker says what it is at: the number of the file, and whether it
reads.
"""


class Place:
    """What a worker is at, in memory that outlives it.

    Args:
        path: of a file of so many bytes.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), ROOM)

    def set(self, number: int, reading: bool) -> None:
        """Say which file it is at, and whether it is reading it."""
        self._map[:ROOM] = struct.pack("<qq", number, reading)

    def get(self) -> tuple[int, bool]:
        """The file and whether it was being read."""
        number, reading = struct.unpack("<qq", self._map[:ROOM])
        return number, bool(reading)


def summary() -> dict[str, Any]:
    """What is known of a target before a file was read."""
    return {"files": 0, "accepted": 0, "findings": 0, "slowest_s": 0.0, "memory": 0, "next": 0}


def keep(
    findings: Path, target: Target, seed: int, number: int, outcome: Outcome, data: bytes
) -> None:
    """Keep a file that a reader went wrong on: one for each kind of fault."""
    kind = hashlib.blake2b(outcome.place.encode(), digest_size=4).hexdigest()
    folder = findings / target.name
    if (folder / f"{kind}.txt").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}.file").write_bytes(data)
    said = (
        f"{outcome.place}\npython -m tests.fuzz {target.name} --seed {seed} --first {number}"
        f" --files 1\n\n{outcome.fault}\n"
    )
    (folder / f"{kind}.txt").write_text(said, errors="backslashreplace")


def work(
    target: Target,
    seed: int,
    first: int,
    files: int,
    until: float,
    place: Place,
    out: Path,
    findings: Path,
) -> None:
    """Read files until there are so many, or the time is over.

    Args:
        target: makes and reads them.
        seed, first: of the files.
        files: how many at most.
        until: of time.monotonic.
        place: says which is being read.
        out: gets the summary, now and then.
        findings: gets what went wrong.
    """
    done, said = summary(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        observe(target, target.make(seed, first), folder)  # what is loaded or compiled once
        for number in range(first, first + files):
            place.set(number, False)
            data = target.make(seed, number)
            place.set(number, True)
            outcome = observe(target, data, folder)
            done["files"] += 1
            done["accepted"] += outcome.accepted
            done["slowest_s"] = max(done["slowest_s"], outcome.cpu_s)
            done["memory"] = max(done["memory"], outcome.memory)
            done["next"] = number + 1
            if outcome.fault is not None:
                done["findings"] += 1
                keep(findings, target, seed, number, outcome, data)
            now = time.monotonic()
            if now > said + 1 or now > until:
                _say(out, done)
                said = now
                if now > until:
                    break
        _say(out, done)


def _say(out: Path, done: dict[str, Any]) -> None:
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(done))
    os.replace(beside, out)


def main() -> None:
    """Read files as the parent says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    for name, kind in (
        ("seed", int),
        ("first", int),
        ("files", int),
        ("seconds", float),
        ("room", Path),
        ("findings", Path),
    ):
        parser.add_argument(f"--{name}", type=kind, required=True)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    sys.setrecursionlimit(1000)
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), 1
    )  # readers may print; a sanitizer writes to the standard error stream
    place, out = Place(args.room / "place"), args.room / "summary.json"
    work(find(args.target), args.seed, args.first, args.files, until, place, out, args.findings)


if __name__ == "__main__":
    main()
