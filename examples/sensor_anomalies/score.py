"""python -m examples.sensor_anomalies.score MODEL.rcr [FILE.csv]: score each row `timestamp,value`
as it comes. No PyTorch.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TextIO

from examples.sensor_anomalies.detector import Detector, load

HEADER = "timestamp,value"


def parse(line: str) -> tuple[datetime, float]:
    """A row; ValueError, with the reason, where it is none."""
    stamp, comma, text = line.strip().partition(",")
    if not comma:
        raise ValueError(f"row must be timestamp,value, got {line.strip()!r}")
    try:
        when = datetime.fromisoformat(stamp.strip())
    except ValueError:
        raise ValueError(f"timestamp must be like 2014-07-01 00:30:00, got {stamp!r}") from None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"value must be a finite number, got {text!r}")
    return when, value


def scored(lines: Iterable[str], detector: Detector, bad: TextIO) -> Iterator[str]:
    """`timestamp,value,surprise,score` for each row; rows that are none are named in `bad` by line
    and passed over.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.lower().replace(" ", "").strip() == HEADER):
            continue
        try:
            stamp, value = parse(line)
        except ValueError as error:
            print(f"line {number}: {error}; passed over", file=bad, flush=True)
            continue
        surprise, score = detector.push(stamp, value)
        yield f"{line.strip()},{surprise:.3f},{score:.5f}"


def main(argv: list[str] | None = None) -> None:
    """Score a pipe or a file."""
    parser = argparse.ArgumentParser(
        "examples.sensor_anomalies.score", description="Score rows timestamp,value as they come."
    )
    parser.add_argument("model", help="the stream's forecaster, from train")
    parser.add_argument("file", nargs="?", help="CSV; standard input if left out")
    parser.add_argument(
        "--rest",
        type=int,
        metavar="ROWS",
        help="rows for which an alarm silences lower ones; 0: none (default: the model's)",
    )
    args = parser.parse_args(argv)
    if args.rest is not None and args.rest < 0:
        parser.error(f"--rest must be 0 or more rows, got {args.rest}")
    detector = Detector(load(args.model), args.rest)
    try:
        with open(args.file or 0, encoding="utf-8", errors="replace") as lines:
            print(f"{HEADER},surprise,score", flush=True)
            for row in scored(lines, detector, sys.stderr):
                print(row, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"{args.file}: {error.strerror}")


if __name__ == "__main__":
    main()
