"""What `recurra bench` measures, from the same registry: this machine against torch.nn."""

from __future__ import annotations

from typing import Any

from recurra import bench
from recurra.bench.progress import Display

TESTS = ("tests/engine", "tests/kernels", "tests/native", "tests/bench")


def measure(plan: bench.Plan | None = None) -> dict[str, Any]:
    """The whole registry, on one thread and on two, whatever number the others run on."""
    return bench.measure(plan, Display())


def text(record: dict[str, Any]) -> str:
    """The tables."""
    return bench.report(record)
