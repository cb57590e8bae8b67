"""Which method runs each scan of a call, and why."""

from __future__ import annotations

from typing import Any

from torch import nn

from recurra.engine.context import listening
from recurra.engine.job import Job


def explain(module: nn.Module, *args: Any, **options: Any) -> str:
    """Run a module and say, scan by scan, which method ran and why not the others.

    Args:
        module: any module that holds recurra layers.
        *args, **options: what it is called with.

    Returns:
        The text, a paragraph for each scan.

    >>> import torch, recurra
    >>> print(explain(recurra.Recurrent(recurra.cells.MinGRU(), 3, 4), torch.zeros(5, 1, 3)))
    1. MinGRU() (T 5, B 1, I 3, H 4, float32, cpu)
       fused: the native module runs the cell's own program (`recurra bench`: 1.2 times torch.nn.LSTM, 2.2 GRU, 1.8 RNN)
    """
    lines: list[str] = []
    with listening(lambda job, choice: lines.append(_paragraph(len(lines) + 1, job, choice))):
        module(*args, **options)
    return "\n".join(lines) or "no scan was run"


def _paragraph(number: int, job: Job, choice: Any) -> str:
    steps, rows, width = job.x.shape
    dtype = str(job.x.dtype).removeprefix("torch.")
    where = f"T {steps}, B {rows}, I {width}, H {job.hidden_size}, {dtype}, {job.x.device}{', backward' if job.reverse else ''}"
    refused = [f"     not {name}: {why}" for name, why in choice.refused.items()]
    return "\n".join([f"{number}. {job.cell!r} ({where})", f"   {choice.method}: {choice.why}", *refused])
