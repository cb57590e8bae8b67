"""The cell's program, run forward and backward by the native module."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.cells import Cell
from recurra.compiling import constant
from recurra.engine.job import Job, Scan
from recurra.engine.transforms import tracing, transform_active
from recurra.errors import ProgramError
from recurra.kernels.encode import Encoded, encode
from recurra.kernels.forward import run as run_native
from recurra.kernels.launch import Arrays
from recurra.kernels.operator import plain, text_of, with_gradients
from recurra.kernels.outputs import Options, unflat
from recurra.program import trace

DTYPES = (torch.float32, torch.float64)
MISSING = "the native module cannot be used"


def reason(job: Job) -> str | None:
    """Why a job cannot run fused."""
    if job.x.device.type != "cpu":
        return f"no fused {job.cell_text} on {job.x.device.type} (cpu is)"
    if torch.is_autocast_enabled("cpu") or job.x.dtype not in DTYPES:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else job.x.dtype
        return (
            f"no fused {job.cell_text} on cpu for {str(dtype).removeprefix('torch.')} (float32 and"
            " float64 are)"
        )
    if transform_active():
        return "the fused scan has no rules for function transforms and forward mode"
    if tracing():
        return "torch.jit.trace sees nothing of the native module (torch.export does)"
    if "gates" in job.keep and gradient_wanted(job):
        return "the fused scan finds no gradient of gates that are kept"
    if torch.compiler.is_compiling():
        why: str | None = _constant(*_of(job))[2]
        return why
    try:
        _code(*_of(job))
    except (ImportError, ProgramError) as error:
        return _refusal(error)
    return None


def advice(job: Job) -> str | None:
    """What would let a job run fused that runs by the loop; None where that is meant, or nothing
    would.
    """
    if (
        job.x.device.type != "cpu"
        or transform_active()
        or "gates" in job.keep
        or torch.compiler.is_compiling()
    ):
        return None
    if torch.is_autocast_enabled("cpu"):
        return "call it in `with torch.autocast('cpu', enabled=False)`, on x.float()"
    if job.x.dtype not in DTYPES:
        return "use float32"
    if (why := reason(job)) is not None and why.startswith(MISSING):
        return "install recurra with a C++ compiler at hand"
    return "write the cell so that it can be traced"


def gradient_wanted(job: Job) -> bool:
    """Whether gradients are recorded and anything that the scan reads asks for one."""
    if not torch.is_grad_enabled():
        return False
    read = (job.x, *job.weights.values(), *job.state, *job.initial, *(job.noise or {}).values())
    return any([value.requires_grad for value in read if value is not None])


def unpacked(job: Job) -> bool:
    """Whether the native module reads the weights as they are: for few rows of few steps, without
    gradients.
    """
    from recurra import native

    return job.x.shape[0] * job.x.shape[1] <= native.UNPACKED and not gradient_wanted(job)


def _refusal(error: Exception) -> str:
    return f"{MISSING} ({error})" if isinstance(error, ImportError) else str(error)


def _of(job: Job) -> tuple[Cell, tuple[str, ...], int, int]:
    """The cell, the names of its noise, H and I: what a program is encoded for."""
    masks = [name for name in job.cell.lasting() if getattr(job.state, name) is not None]
    return (
        job.cell,
        (*(job.noise or {}), *masks),
        job.hidden_size,
        job.weights["weight_ih"].shape[1],
    )


def _code(cell: Cell, noise: tuple[str, ...], hidden: int, input_size: int) -> Encoded:
    """The cell's program for the native module, without gradients of noise."""
    return encode(
        trace(cell, noise),
        hidden,
        tuple([cell.width(name, hidden) for name in cell.state]),
        input_size,
    )


@constant
def _constant(
    cell: Cell, noise: tuple[str, ...], hidden: int, input_size: int
) -> tuple[str, tuple[str, ...], str | None]:
    """For a graph that is being traced: the program's text, the weights and noises that it reads,
    or why there is none.
    """
    try:
        code = _code(cell, noise, hidden, input_size)
    except (ImportError, ProgramError) as error:
        return "", (), _refusal(error)
    return text_of(code.program), (*code.names, *code.noises), None


def run(job: Job) -> Scan:
    """Hand the program to the native driver: through the operator where a graph or a gradient is
    recorded.
    """
    width, noise = len(job.cell.state), dict(job.noise or {})
    lasting = job.state[width:]
    if lasting:
        noise |= {name: mask for name, mask in zip(job.cell.lasting(), lasting) if mask is not None}
    state, initial = (
        list(job.state[:width]),
        [] if job.resets is None else list(job.initial[:width]),
    )
    options = Options(job.reverse, "states" in job.keep, "gates" in job.keep, False, job.recompute)
    if torch.compiler.is_compiling() or not plain(job.x) or gradient_wanted(job):
        values = _operator(job, state, initial, noise, options)
        out = unflat(values, width, len(job.cell.gates), job.lengths is not None, options)
    else:
        code = _code(*_of(job))
        weights, factors = (
            [job.weights.get(name) for name in code.names],
            [noise[name] for name in code.noises],
        )
        out = run_native(
            code,
            Arrays(job.x, state, initial, weights, factors, job.lengths, job.resets, job.reverse),
            options,
        )
    kind = type(job.state)
    states = (
        kind(out.h if out.held is None else out.held, *out.states, *[None] * len(lasting))
        if options.states
        else None
    )
    return Scan(
        out.h,
        kind(*out.final, *lasting),
        states,
        job.cell.gates_type()(*out.gates) if options.gates else None,
    )


def _operator(
    job: Job, state: list[Tensor], initial: list[Tensor], noise: dict[str, Tensor], options: Options
) -> list[Tensor]:
    """The list of tensors that the operator gives back."""
    if torch.compiler.is_compiling():
        text, names, _ = _constant(*_of(job))
    else:
        code = _code(*_of(job))
        text, names = text_of(code.program), (*code.names, *code.noises)
    weights = [job.weights.get(name) for name in names if name not in noise]
    factors = [noise[name] for name in names if name in noise]
    operator = (
        with_gradients
        if not torch.compiler.is_compiling() and plain(job.x)
        else torch.ops.recurra.scan_forward
    )
    made: list[Tensor] = operator(
        job.x, state, initial, weights, factors, job.lengths, job.resets, text, options.text()
    )
    return made
