"""Forged files for every reader: python -m tests.fuzz [TARGET ...] --minutes 10; status 1 where
something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import FINDINGS, campaign, table
from tests.fuzz.guard import observe
from tests.fuzz.reached import Reached
from tests.fuzz.target import find, names

SAMPLE = 400
"""Files of each target on which lines are counted."""


def main() -> int:
    """Read files, print a table, then which lines of the readers ran."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names())}; all if none"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the files; the same seed makes the same"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--files", type=int, default=10**9, help="of each target at most")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="by the clock, for all targets together"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="workers at once")
    parser.add_argument(
        "--file",
        type=Path,
        help="read this file instead, by the one TARGET, and say what came of it",
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=SAMPLE,
        metavar="N",
        help="count lines on so many files of each; 0: do not",
    )
    args = parser.parse_args()
    targets = args.targets or names()
    if unknown := [name for name in targets if name not in names()]:
        parser.error(f"TARGET must be one of {', '.join(names())}, got {unknown[0]}")
    if args.file is not None:
        return _one(targets[0], args.file.read_bytes())
    done = campaign(
        targets,
        args.seed,
        args.first,
        args.files,
        args.minutes * 60,
        args.jobs,
        lambda text: print(text, flush=True),
    )
    print(table(done), flush=True)
    if args.lines:
        print(lines_table(targets, args.seed, args.lines))
    findings = sum(row["findings"] for row in done.values())
    if findings:
        print(f"{findings} findings; the files and what they did: {FINDINGS}")
    return 1 if findings else 0


def _one(name: str, data: bytes) -> int:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        outcome = observe(find(name), data, Path(folder))
    print(
        f"{'accepted' if outcome.accepted else 'refused'}, {outcome.cpu_s:.2f} s,"
        f" {outcome.memory >> 20} MB; {outcome.fault or 'no fault'}"
    )
    return 1 if outcome.fault else 0


def lines_table(targets: list[str], seed: int, count: int) -> str:
    """Which share of the lines of each reader runs, on the kept files and so many forged ones."""
    found = [find(name) for name in targets]
    reached = Reached(sorted({reader for target in found for reader in target.readers}))
    for target in found:
        files = [path.read_bytes() for path in target.corpus()]
        with (
            tempfile.TemporaryDirectory(prefix="fuzz-") as name,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            for number in range(-len(files), count):
                with (
                    reached.watching()
                ):  # what writes the seeds too: writers and readers lie in the same files
                    observe(
                        target,
                        files[number] if number < 0 else target.make(seed, number),
                        Path(name),
                    )
    rows = [
        "lines that ran of the functions that were entered; those that did not; functions that were"
        " not entered"
    ]
    total = missed = 0
    for name in reached.lines:
        wanted, missing, others = reached.share(name)
        total, missed = total + len(wanted), missed + len(missing)
        share = 1 - len(missing) / max(1, len(wanted))
        lines = f"{' '.join(map(str, missing[:24]))}; {' '.join(others)}".rstrip("; ")
        rows.append(f"{share:5.0%}  {name:<32}  {lines}")
    return "\n".join([*rows, f"{1 - missed / max(1, total):5.0%}  all"])


if __name__ == "__main__":
    sys.exit(main())
