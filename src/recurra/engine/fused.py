"""The cell's program, run by the native module. Forward only: gradients go another way for now."""

from __future__ import annotations

import torch

from recurra.engine.job import Job, Scan
from recurra.engine.transforms import transform_active
from recurra.errors import ProgramError
from recurra.program import trace

DTYPES = (torch.float32, torch.float64)


def reason(job: Job) -> str | None:
    """Why a job cannot run fused."""
    tensors = [job.x, *job.weights.values(), *(v for v in job.state if v is not None), *(job.noise or {}).values()]
    if job.x.device.type != "cpu":
        return f"no fused {job.cell_text} on {job.x.device.type} (cpu is)"
    if torch.is_autocast_enabled("cpu") or job.x.dtype not in DTYPES:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else job.x.dtype
        return f"no fused {job.cell_text} on cpu for {str(dtype).removeprefix('torch.')} (float32 and float64 are)"
    if transform_active() or torch.compiler.is_compiling():
        return "the native module sees neither function transforms nor torch.compile"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return "the fused scan has a forward pass only, and a gradient is asked for"
    try:
        from recurra.kernels.encode import encode

        program = trace(job.cell, _noise_names(job))
        encode(program, job.hidden_size, tuple(value.shape[-1] for value in job.state[: len(job.cell.state)]))
    except ImportError as error:
        return f"the native module cannot be used ({error})"
    except ProgramError as error:
        return str(error)
    return None


def _noise_names(job: Job) -> list[str]:
    masks = [name for name in job.cell.lasting() if getattr(job.state, name) is not None]
    return [*(job.noise or {}), *masks]


def run(job: Job) -> Scan:
    """Project all steps at once, then hand the program to the native driver."""
    from recurra.kernels.forward import forward

    program = trace(job.cell, _noise_names(job))
    width = len(job.cell.state)
    masks = {name: getattr(job.state, name) for name in job.cell.lasting() if getattr(job.state, name) is not None}
    with torch.no_grad():
        h, final, states, gates = forward(
            program, job.hidden_size, job.weights, job.cell.project(job.weights, job.x), tuple(job.state[:width]),
            tuple(job.initial[:width]), noise=(job.noise or {}) | masks, lengths=job.lengths, resets=job.resets,
            reverse=job.reverse, keep=job.keep,
        )  # fmt: skip
    lasting = job.state[width:]
    kind = job.cell.state_type()
    return Scan(h, kind(*final, *lasting), states and kind(*states, *[None] * len(lasting)), gates and job.cell.gates_type()(*gates))
