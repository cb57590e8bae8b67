"""A scan forward by the native module, on PyTorch's CPU tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from recurra.errors import DtypeError, ShapeError, shape_text
from recurra.kernels.encode import Encoded, encode
from recurra.kernels.launch import Arrays, gather, gather_noise, launch
from recurra.kernels.outputs import DTYPES, Options, Outputs, allocate, contiguous, place
from recurra.kernels.pool import pool
from recurra.program.graph import Program

Tensors = tuple[Tensor, ...]


def forward(
    program: Program,
    weights: Mapping[str, Tensor],
    x: Tensor,
    state: Sequence[Tensor],
    initial: Sequence[Tensor] = (),
    *,
    noise: Mapping[str, Tensor] | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    keep: Collection[str] = (),
) -> tuple[Tensor, Tensors, Tensors | None, Tensors | None]:
    """Run a program over a sequence. No gradient is recorded.

    Args:
        program: a cell's program, traced with the names in `noise`.
        weights: by name; what the program does not read is not looked at.
        x: (T, B, I); not read past a row's length.
        state: the state to begin with, (B, width) each, in the order of `program.state`.
        initial: the state that a reset gives, likewise; may be empty without resets.
        noise: by name, (T, B, width), or (B, width) for a factor that lasts the sequence.
        lengths: int64 (B,), or None.
        resets: bool (T, B), or None.
        reverse: from each row's own last step to its first.
        keep: "states", "gates" or both.

    Returns:
        h (T, B, width of h), the final state, and, if kept, every step's states and gates, (T, B,
        width) each.

    Raises:
        ShapeError, DtypeError, ArgumentError: an argument does not fit; names it and both sides.
        MissingDependency: the native module is not there.

    >>> from recurra.cells import Elman
    >>> from recurra.program import trace
    >>> weights = {"weight_ih": torch.ones(1, 1), "weight_hh": torch.ones(1, 1)}
    >>> h, *_ = forward(trace(Elman("relu")), weights, torch.ones(3, 1, 1), [torch.zeros(1, 1)])
    >>> h.flatten()
    tensor([1., 2., 3.])
    """
    weight = weights.get("weight_ih")
    if x.ndim != 3:
        raise ShapeError(f"x must have shape (T, B, I), got {shape_text(x.shape)}")
    if len(state) != len(program.state):
        raise ShapeError(f"state must hold {', '.join(program.state)}, got {len(state)} values")
    if weight is None or weight.ndim != 2:
        got = "none" if weight is None else shape_text(weight.shape)
        raise ShapeError(
            f"weights['weight_ih'] must have shape ({len(program.gates)} H, I), got {got}"
        )
    widths = tuple(value.shape[-1] for value in state)
    code = encode(program, weight.shape[0] // len(program.gates), widths, weight.shape[1])
    given = gather_noise(code, noise or {})
    arrays = Arrays(x, state, initial, gather(code, weights), given, lengths, resets, reverse)
    options = Options(reverse=reverse, states="states" in keep, gates="gates" in keep)
    with torch.no_grad():
        out = run(code, arrays, options)
    states = (out.h if out.held is None else out.held, *out.states) if options.states else None
    return out.h, tuple(out.final), states, tuple(out.gates) if options.gates else None


def run(code: Encoded, arrays: Arrays, options: Options) -> Outputs:
    """Run an encoded program over tensors.

    Raises:
        ShapeError, DtypeError, ArgumentError: a tensor does not fit; names it and both sides.
    """
    check_dtypes(code, arrays)
    out = allocate(code, arrays.x, arrays.lengths is not None, options)
    launch(code, contiguous(arrays), out.made(), DTYPES[arrays.x.dtype], place, pool())
    return out


def check_dtypes(code: Encoded, arrays: Arrays) -> None:
    """Raise unless every tensor is on the CPU and of the one dtype."""
    x = arrays.x
    if x.dtype not in DTYPES:
        raise DtypeError(f"x must be torch.float32 or torch.float64, got {x.dtype}")
    states = [f"{kind}.{name}" for kind in ("state", "initial") for name, _ in code.states]
    tensors = (x, *arrays.state, *arrays.initial, *arrays.weights, *arrays.noise)
    for number, tensor in enumerate(tensors):
        if tensor is not None and (tensor.dtype != x.dtype or not tensor.is_cpu):
            first = 1 + len(arrays.state) + len(arrays.initial)
            names = (
                "x",
                *states[: first - 1],
                *code.names,
                *(f"noise[{name!r}]" for name in code.noises),
            )
            if not tensor.is_cpu:
                raise DtypeError(
                    f"{names[number]} must be on the cpu, got {tensor.device}; use method='auto' or"
                    " 'loop'"
                )
            raise DtypeError(f"{names[number]} must be {x.dtype}, as x, got {tensor.dtype}")
    for name, value, dtype in (
        ("lengths", arrays.lengths, torch.int64),
        ("resets", arrays.resets, torch.bool),
    ):
        if value is not None and (value.dtype != dtype or not value.is_cpu):
            raise DtypeError(
                f"{name} must be {dtype} on the cpu, got {value.dtype} on {value.device}"
            )
