"""The threads that PyTorch already has, lent to the native module: a second pool would fight with them."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path

import torch


def pool() -> tuple[int, int]:
    """The address of GOMP_parallel in the libgomp that PyTorch has loaded, and PyTorch's number of threads.

    The address is 0 where one thread is asked for, or where PyTorch uses another OpenMP: then the scan runs
    in the calling thread.

    >>> address, threads = pool()
    >>> threads == torch.get_num_threads()
    True
    """
    threads = torch.get_num_threads()
    return (_address() if threads > 1 else 0), threads


@functools.lru_cache(maxsize=1)
def _address() -> int:
    for path in _libraries():
        try:
            function = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0


def _libraries() -> Iterator[Path]:
    """Every libgomp that this process has mapped, PyTorch's own first."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    lines = maps.read_text().splitlines()
    paths = dict.fromkeys(Path(line[line.index("/") :]) for line in lines if "libgomp" in line and "/" in line)
    home = Path(torch.__file__).parent.parent
    yield from sorted(paths, key=lambda path: home not in path.parents)
