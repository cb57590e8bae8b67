"""The definition: one step after another, in plain PyTorch. Every other method must equal it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.job import Job, Scan
from recurra.engine.transforms import tracing


def reason(job: Job) -> str | None:
    """Why the loop cannot run a job: never."""
    return None


def run(job: Job) -> Scan:
    """Run the cell's `step` over time, the state carried along."""
    x = (
        job.clean_x.view(1, *job.x.shape[1:]) if tracing() else job.clean_x
    )  # the recorded graph then refuses any other number of steps
    u = job.cell.project(job.weights, x)
    resets = [None] * len(u) if job.resets is None else job.resets
    valid = [None] * len(u) if job.valid is None else job.valid
    state, outputs, states, gates = job.state, [], [], []
    for t in reversed(range(len(u))) if job.reverse else range(len(u)):
        if not job.reverse:
            state = choose(resets[t], job.initial, state)
        noise = job.noise and {name: factor[t] for name, factor in job.noise.items()}
        new, found = job.cell.step(job.weights, u[t], state, noise)
        state = _same_dtype(new, state) if valid[t] is None else choose(valid[t], new, state)
        outputs.append(zero_unless(valid[t], new[0]))
        if "states" in job.keep:
            states.append(state)
        if "gates" in job.keep:
            gates.append([zero_unless(valid[t], gate) for gate in found])
        if job.reverse:
            state = choose(resets[t], job.initial, state)
    if job.reverse:
        outputs, states, gates = outputs[::-1], states[::-1], gates[::-1]
    return Scan(
        torch.stack(outputs),
        state,
        stack(job.cell.state_type(), states, len(job.cell.state)),
        stack(job.cell.gates_type(), gates, len(job.cell.gates)),
    )


def choose(mask: Tensor | None, yes: Any, no: Any) -> Any:
    """Row by row, `yes` where mask (B,) is True, else `no`; all `no` without a mask.

    >>> choose(torch.tensor([True, False]), (torch.ones(2, 1),), (torch.zeros(2, 1),))[0].flatten()
    tensor([1., 0.])
    """
    if mask is None:
        return no
    values = [
        n if y is n else torch.where(mask[:, None], y, n).to(n.dtype) for y, n in zip(yes, no)
    ]
    return type(no)(*values) if hasattr(no, "_fields") else tuple(values)


def zero_unless(mask: Tensor | None, value: Tensor) -> Tensor:
    """The value, zero in the rows where mask (B,) is False."""
    return (
        value
        if mask is None
        else torch.where(
            mask[:, None], value, torch.zeros((), dtype=value.dtype, device=value.device)
        )
    )


def stack(kind: Any, steps: Sequence[Sequence[Tensor]], fields: int) -> Any:
    """Stack named values over time, (T, B, width) each; masks that ride along are None. None for no
    steps.
    """
    if not steps:
        return None
    values = [torch.stack([step[i] for step in steps]) for i in range(fields)]
    return kind(*values, *[None] * (len(kind._fields) - fields))


def _same_dtype(new: Any, old: Any) -> Any:
    """Under autocast a step may widen a value; the state keeps its dtype."""
    if all(n is None or n.dtype == o.dtype for n, o in zip(new, old)):
        return new
    return type(new)(*(n if n is None else n.to(o.dtype) for n, o in zip(new, old)))
