"""Forged files chosen by what they reach: atheris, Google's libFuzzer for Python, where it is
installed.

python -m tests.fuzz.guided rcr -max_total_time=600          other options are libFuzzer's
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.campaign import FINDINGS
from tests.fuzz.worker import keep


class Drawn(Random):
    """Draws that are the bytes of an input, so that libFuzzer sees which byte did what; zeros once
    they are used up.

    Args:
        data: the bytes.
    """

    def __new__(cls, data: bytes) -> Drawn:
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        super().__init__()

    def seed(self, *args: Any) -> None:
        """Draws that are given have no seed."""

    def getrandbits(self, k: int, /) -> int:
        """The next bytes, as many as hold k bits."""
        size = (k + 7) // 8
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "little") & ((1 << k) - 1)

    def random(self) -> float:
        """A number in [0, 1) of the next bytes."""
        return self.getrandbits(32) / 2.0**32


def main() -> None:
    """Let libFuzzer choose the draws of one target."""
    import atheris

    with (
        atheris.instrument_imports(include=["recurra"]),
        tempfile.TemporaryDirectory(prefix="fuzz-") as name,
    ):
        from tests.fuzz.guard import observe
        from tests.fuzz.target import find

        target, folder, count = find(sys.argv[1]), Path(name), [0]
        sys.setrecursionlimit(20_000)

        def one(data: bytes) -> None:
            made = target.forge(Drawn(data))
            sys.setrecursionlimit(1000)
            outcome = observe(target, made, folder)
            sys.setrecursionlimit(20_000)
            count[0] += 1
            if outcome.fault is not None:
                keep(FINDINGS, target, -1, count[0], outcome, made)
                print(
                    f"{target.name}: {outcome.place}; see {FINDINGS / target.name}", file=sys.stderr
                )

        atheris.Setup([sys.argv[0], "-rss_limit_mb=4096", *sys.argv[2:]], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
