"""Exact gradients over very long sequences: keep the state at the start of each segment, recompute
the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recurra.engine import loop
from recurra.engine.job import Job, Scan
from recurra.engine.transforms import transform_active


def reason(job: Job) -> str | None:
    """Why a job cannot be checkpointed."""
    if transform_active():
        return "function transforms and forward-mode gradients see through no recomputation"
    return None


def run(job: Job) -> Scan:
    """Run the loop in segments of about the square root of T, each recomputed in the backward pass.

    What is held grows with the square root of T, beside the input and the output themselves.

    Source: Chen et al. (2016), arXiv:1604.06174, with one level.
    """
    steps = len(job.x)
    size = max(1, math.isqrt(steps - 1) + 1)
    starts = range(0, steps, size)
    parts, state = [], job.state
    for start in reversed(starts) if job.reverse else starts:
        segment = job.part(start, min(start + size, steps), state)
        parts.append(checkpoint(loop.run, segment, use_reentrant=False, preserve_rng_state=False))
        state = parts[-1].final
    return join(parts[::-1] if job.reverse else parts, state)


def join(parts: list[Scan], final: object) -> Scan:
    """Put scans of consecutive parts together."""

    def along(name: str) -> object:
        first = getattr(parts[0], name)
        if first is None or isinstance(first, Tensor):
            return None if first is None else torch.cat([getattr(part, name) for part in parts])
        columns = zip(*(getattr(part, name) for part in parts))
        return type(first)(
            *(None if column[0] is None else torch.cat(column) for column in columns)
        )

    return Scan(along("h"), final, along("states"), along("gates"))  # type: ignore[arg-type]
