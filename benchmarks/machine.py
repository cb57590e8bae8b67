"""What was measured on: printed above every figure."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

import recurra


def describe() -> dict[str, object]:
    """The processor, the versions and the threads."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    native = recurra.native.info()["isa"]
    return {
        "processor": model, "threads": torch.get_num_threads(), "torch": torch.__version__, "recurra": recurra.__version__,
        "native": native, "python": platform.python_version(),
    }  # fmt: skip
