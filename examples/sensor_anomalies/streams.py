"""The streams of the Numenta Anomaly Benchmark, where they lie and what is labelled in them."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

PROBATION_SHARE, PROBATION_ROWS = 0.15, 750


class Stream(NamedTuple):
    """A file: `windows` are its labelled anomalies, first and last row of each."""

    name: str
    stamps: list[str]
    values: np.ndarray
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Rows at the start that are not scored, and all that a detector is trained on."""
        return probation(len(self.values))


def probation(rows: int) -> int:
    """15 % of a file, at most 750 rows, as the benchmark's code has it."""
    return min(int(PROBATION_SHARE * rows), PROBATION_ROWS)


def folder() -> Path:
    """Where the benchmark lies: RECURRA_DATA, default ../shared/data."""
    return (
        Path(os.environ.get("RECURRA_DATA", Path(__file__).parents[3] / "shared" / "data")) / "nab"
    )


def found() -> bool:
    """Whether it is there."""
    return (folder() / "labels" / "combined_windows.json").is_file()


def names() -> list[str]:
    """The files, as the labels call them; ends the program in one line where there are none."""
    if not found():
        sys.exit(
            f"no NAB data in {folder()}; set RECURRA_DATA to the folder that holds nab/"
            " (github.com/numenta/NAB: data/ and labels/)"
        )
    return sorted(_labels())


def read(name: str) -> Stream:
    """One file of the benchmark, with its windows."""
    stream = read_csv(folder() / "data" / name)
    at = stream.stamps.index
    return stream._replace(
        name=name, windows=[(at(first[:19]), at(last[:19])) for first, last in _labels()[name]]
    )


def read_csv(path: Path) -> Stream:
    """Any file with the columns timestamp and value, nothing labelled; ends the program in one line
    if it is another.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]
            for stamp, value in rows:
                datetime.fromisoformat(stamp)
                if not math.isfinite(value):
                    raise ValueError(f"value must be finite, got {value} at {stamp}")
    except KeyError as error:
        sys.exit(f"{path} must have the columns timestamp and value, got none of {error}")
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"{path} must hold rows timestamp,value: {error}")
    return Stream(
        path.name, [stamp for stamp, _ in rows], np.array([value for _, value in rows]), []
    )


def _labels() -> dict[str, list[list[str]]]:
    return json.loads((folder() / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
