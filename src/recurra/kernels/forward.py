"""A scan forward by the native module, on PyTorch's CPU tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.errors import DtypeError, ShapeError, shape_text
from recurra.kernels.encode import encode
from recurra.kernels.launch import Arrays, launch, names
from recurra.kernels.pool import pool
from recurra.program.graph import Program

DTYPES = {torch.float32: "float32", torch.float64: "float64"}

Tensors = tuple[Tensor, ...]


def forward(
    program: Program, hidden_size: int, weights: Mapping[str, Tensor], u: Tensor, state: Sequence[Tensor],
    initial: Sequence[Tensor] | None, *, noise: Mapping[str, Tensor] | None = None, lengths: Tensor | None = None,
    resets: Tensor | None = None, reverse: bool = False, keep: Collection[str] = (),
) -> tuple[Tensor, Tensors, Tensors | None, Tensors | None]:  # fmt: skip
    """Run a program over a sequence. No gradient is recorded.

    Args:
        program: a cell's program, traced with the names in `noise`.
        hidden_size: H.
        weights: by name; what `project` reads may be there and is not looked at.
        u: (T, B, G*H), the projected input; not read past a row's length.
        state: the state to begin with, (B, width) each, in the order of `program.state`.
        initial: the state that a reset gives, likewise; may be None without resets.
        noise: by name, (T, B, width), or (B, width) for a factor that lasts the sequence.
        lengths: int64 (B,), or None.
        resets: bool (T, B), or None.
        reverse: from each row's own last step to its first.
        keep: "states", "gates" or both.

    Returns:
        h (T, B, width of h), the final state, and, if kept, every step's states and gates, (T, B, width) each.

    Raises:
        ShapeError, DtypeError, ArgumentError: an argument does not fit; names it and both sides.
        MissingDependency: the native module is not there.

    >>> from recurra.cells import Elman
    >>> from recurra.program import trace
    >>> h, *_ = forward(trace(Elman("relu")), 1, {"weight_hh": torch.ones(1, 1)}, torch.ones(3, 1, 1), [torch.zeros(1, 1)], None)
    >>> h.flatten()
    tensor([1., 2., 3.])
    """
    u = _same("u", u, u)
    if u.ndim != 3:
        raise ShapeError(f"u must have shape (T, B, {len(program.gates) * hidden_size}), got {shape_text(u.shape)}")
    if len(state) != len(program.state) or (initial is not None and len(initial) != len(program.state)):
        counts = f"{len(state)} and {'none' if initial is None else len(initial)}"
        raise ShapeError(f"state and initial must hold {', '.join(program.state)}, got {counts} values")
    code = encode(program, hidden_size, tuple(value.shape[-1] for value in state))
    wanted = set(names(code))
    read = {name: _same(name, value, u) if name in wanted else value for name, value in weights.items()}
    first = [_same(f"state.{name}", value, u) for name, value in zip(program.state, state, strict=True)]
    given = None if initial is None else [_same(f"initial.{name}", v, u) for name, v in zip(program.state, initial, strict=True)]
    factors = {name: _same(f"noise[{name!r}]", value, u) for name, value in (noise or {}).items()}
    made = _outputs(code.widths, program, u, keep)
    arrays = Arrays(
        u, state=first, initial=given, weights=read, noise=factors,
        lengths=_typed("lengths", lengths, torch.int64), resets=_typed("resets", resets, torch.bool), **made,
    )  # fmt: skip
    launch(code, arrays, DTYPES[u.dtype], Tensor.data_ptr, reverse, pool())
    return made["h"], made["final"], made["states"], made["gates"]


def _outputs(widths: dict[str, int], program: Program, u: Tensor, keep: Collection[str]) -> dict[str, Any]:
    """Memory for what a scan gives back."""
    steps, rows, _ = u.shape

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=u.dtype)

    states = [widths[name] for name in program.state]
    return {
        "h": empty(steps, rows, states[0]),
        "final": tuple(empty(rows, width) for width in states),
        "states": tuple(empty(steps, rows, width) for width in states) if "states" in keep else None,
        "gates": tuple(empty(steps, rows, widths["hidden"]) for _ in program.gates) if "gates" in keep else None,
    }


def _same(name: str, value: Tensor, u: Tensor) -> Tensor:
    """The tensor, contiguous, after looking at its dtype and device."""
    if value.dtype not in DTYPES or value.dtype != u.dtype:
        wanted = u.dtype if u.dtype in DTYPES else "torch.float32 or torch.float64"
        raise DtypeError(f"{name} must be {wanted}, as u, got {value.dtype}" if value is not u else f"u must be {wanted}, got {u.dtype}")
    if value.device.type != "cpu":
        raise DtypeError(f"{name} must be on the cpu, got {value.device}; use method='auto' or 'loop'")
    return value.contiguous()


def _typed(name: str, value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if value is None:
        return None
    if value.dtype != dtype or value.device.type != "cpu":
        raise DtypeError(f"{name} must be {dtype} on the cpu, got {value.dtype} on {value.device}")
    return value.contiguous()
