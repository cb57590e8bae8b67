"""The threads that PyTorch already has, lent to the native module: a second pool would fight with
them.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from recurra.kernels.launch import ALONE, Pool

FUNCTIONS = ("GOMP_parallel", "omp_get_num_threads", "omp_get_thread_num")
"""What the native module calls in PyTorch's OpenMP."""

_child = False


def _forked() -> None:
    """In a process that was forked, run PyTorch and the scan on one thread, as workers of a
    DataLoader do.

    The parent's threads are not here, and libgomp would wait for them in the first operation that
    is large enough, PyTorch's own too. torch.set_num_threads says otherwise for PyTorch.
    """
    global _child
    _child = True
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def pool() -> Pool:
    """The functions of the libgomp that PyTorch has loaded, and PyTorch's number of threads.

    There is none where one thread is asked for, where PyTorch uses another OpenMP, and in a forked
    process: then the scan runs in the calling thread.

    >>> parallel, _, _, threads = pool()
    >>> threads == torch.get_num_threads() or not parallel
    True
    """
    threads = torch.get_num_threads()
    found = _addresses() if threads > 1 and not _child else None
    return ALONE if found is None else (*found, threads)


@functools.lru_cache(maxsize=1)
def _addresses() -> tuple[int, int, int] | None:
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
            parallel, count, number = (
                ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                for name in FUNCTIONS
            )
        except (OSError, AttributeError):
            continue
        return parallel, count, number
    return None


def _libraries() -> Iterator[Path]:
    """Every libgomp that this process has mapped, PyTorch's own first."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    lines = maps.read_text().splitlines()
    paths = dict.fromkeys(
        Path(line[line.index("/") :]) for line in lines if "libgomp" in line and "/" in line
    )
    home = Path(torch.__file__).parent.parent
    yield from sorted(paths, key=lambda path: home not in path.parents)
