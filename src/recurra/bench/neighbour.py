"""One other busy process on the same cores."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPIN = """
import os
parent = os.getppid()
print("busy", flush=True)
while os.getppid() == parent:
    for number in range(1000000):
        pass
"""
"""It ends by itself when whoever started it is gone."""


@contextmanager
def busy_neighbour(wanted: bool = True) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run a process that does nothing but count, for as long as the block lasts; pinned to no core.

    Args:
        wanted: False for none.

    >>> with busy_neighbour() as process:
    ...     process.poll() is None
    True
    >>> process.poll() is None
    False
    """
    if not wanted:
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-c", SPIN], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()
