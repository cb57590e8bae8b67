"""What was measured on: printed above every figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from recurra import __version__, native


def describe() -> dict[str, object]:
    """The processor, the versions and the threads.

    >>> sorted(describe())
    ['cores', 'load', 'native', 'processor', 'python', 'recurra', 'system', 'threads', 'torch']
    """
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "processor": model,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "load": load,
        "system": platform.system(),
        "torch": torch.__version__,
        "recurra": __version__,
        "native": native.info()["isa"],
        "python": platform.python_version(),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
