"""Cells that are linear in their state, over time in about log2(T) passes."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.cells import LinearCell, Pre
from recurra.engine.job import Job, Scan
from recurra.engine.loop import zero_unless


def reason(job: Job) -> str | None:
    """Why a job cannot run in parallel over time."""
    if not isinstance(job.cell, LinearCell):
        return f"{job.cell_text} is not linear in its state (MinGRU and MinLSTM are)"
    return None


def run(job: Job) -> Scan:
    """Compute keep and write for all steps at once, then h = keep * h + write by an associative
    scan.

    A step past a row's length keeps all and writes nothing; a reset folds the layer's own state
    into `write`.
    """
    u = job.cell.project(job.weights, job.clean_x)
    blocks = dict(zip(job.cell.gates, u.chunk(len(job.cell.gates), -1)))
    keep, write, gates = job.cell.coefficients(Pre(blocks, {}))  # type: ignore[attr-defined]
    first, initial, resets = job.state.h, job.initial.h, job.resets
    if job.valid is not None:
        valid = job.valid[..., None]
        keep, write = (
            torch.where(valid, keep, torch.ones_like(keep)),
            torch.where(valid, write, torch.zeros_like(write)),
        )
    if job.reverse:
        keep, write, resets = keep.flip(0), write.flip(0), _after(resets)
    if resets is not None:
        write = write + _product(keep, initial, ~resets[..., None])
        keep = torch.where(resets[..., None], torch.zeros_like(keep), keep)
        first = torch.where(resets[0][:, None], torch.zeros_like(first), first)
    write = torch.cat([(write[0] + keep[0] * first)[None], write[1:]])
    h = associative_scan(keep, write, None if resets is None else resets[..., None])
    final = h[-1]
    if job.reverse:
        h = h.flip(0)
        final = final if job.resets is None else torch.where(job.resets[0][:, None], initial, final)
    state_type, gates_type = job.cell.state_type(), job.cell.gates_type()
    return Scan(
        h if job.valid is None else torch.where(job.valid[..., None], h, torch.zeros_like(h)),
        state_type(final),
        state_type(h) if "states" in job.keep else None,
        (
            gates_type(*(_zero(job.valid, gates[name]) for name in job.cell.gates))
            if "gates" in job.keep
            else None
        ),
    )


def associative_scan(keep: Tensor, write: Tensor, resets: Tensor | None = None) -> Tensor:
    """All h_t = keep_t * h_(t-1) + write_t with h_(-1) = 0, in work linear in T and depth log2(T).

    Only sums and products of the coefficients are formed, so nothing overflows that the loop keeps
    finite.

    Args:
        keep, write: (T, ...).
        resets: bool, (T, ...) with axes that broadcast to those: where h_t = write_t alone,
            whatever came before, NaN and infinities too; None for nowhere.

    Source: Blelloch (1990), Prefix sums and their applications, CMU-CS-90-190.

    >>> associative_scan(torch.tensor([1.0, 0.5, 2.0]), torch.tensor([1.0, 1.0, 1.0]))
    tensor([1.0000, 1.5000, 4.0000])
    """
    steps = len(keep)
    if steps == 1:
        return write
    even, odd = slice(0, steps - steps % 2, 2), slice(1, None, 2)
    at_last = None if resets is None else resets[odd]
    together = None if resets is None else resets[odd] | resets[even]
    carried = _product(keep[odd], write[even], at_last)
    kept = _product(keep[odd], keep[even], together)
    at_odd = associative_scan(kept, carried + write[odd], together)
    later = slice(2, None, 2)
    before = at_odd[: len(keep[later])]
    carried = _product(keep[later], before, None if resets is None else resets[later])
    at_even = torch.cat([write[:1], carried + write[later]])
    pairs = torch.stack([at_even[: len(at_odd)], at_odd], 1).flatten(0, 1)
    return torch.cat([pairs, at_even[len(at_odd) :]])


def _product(keep: Tensor, value: Tensor, none: Tensor | None) -> Tensor:
    """keep * value, and 0 where `none` says so. The factors are selected and not what comes out:
    there the gradient of each would be 0 times the other, a NaN where that is one.
    """
    if none is None:
        return keep * value
    zero = torch.zeros((), dtype=keep.dtype, device=keep.device)
    return torch.where(none, zero, keep) * torch.where(none, zero, value)


def _after(resets: Tensor | None) -> Tensor | None:
    """Resets for a scan run from the last step: after t means before t - 1, which comes next."""
    if resets is None:
        return None
    return torch.cat([torch.zeros_like(resets[:1]), resets.flip(0)[:-1]])


def _zero(valid: Tensor | None, gate: Tensor) -> Tensor:
    return zero_unless(None if valid is None else valid.flatten(), gate.flatten(0, 1)).view_as(gate)
