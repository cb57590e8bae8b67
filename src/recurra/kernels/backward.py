"""A scan's derivative by the native module, on PyTorch's CPU tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from torch import Tensor

from recurra.errors import DtypeError, ShapeError, shape_text
from recurra.kernels.encode import Encoded
from recurra.kernels.forward import check_dtypes
from recurra.kernels.launch import Arrays, Made, Wanted, check, launch_backward
from recurra.kernels.outputs import DTYPES, contiguous, place
from recurra.kernels.pool import pool


class Seeds(NamedTuple):
    """Gradients of what a scan gave back, None for one that does not count.

    Attributes:
        h: (T, B, width of h).
        final: (B, width) each.
        states: of every step's states, (T, B, width) each; empty where they were not given back.
    """

    h: Tensor | None
    final: Sequence[Tensor | None]
    states: Sequence[Tensor | None] = ()


def backward(
    code: Encoded, arrays: Arrays, made: Made, seeds: Seeds, needed: Sequence[bool]
) -> list[Tensor]:
    """Find the gradients of a scan.

    Args:
        code: the encoded program.
        arrays: what the scan read.
        made: what it left behind; without `saved`, that is found again.
        seeds: gradients of what it gave back.
        needed: whether each of x, the state, the initial state, the weights and the noise needs a
            gradient.

    Returns:
        The gradients that are needed, in that order.

    Raises:
        ShapeError, DtypeError, ArgumentError: a tensor does not fit; names it and both sides.
    """
    check_dtypes(code, arrays)
    check(code, arrays)
    _check(code, arrays, made, seeds)
    arrays, wanted = contiguous(arrays), _wanted(arrays, needed)
    h, states = made.h.contiguous(), [None, *(value.contiguous() for value in made.states)]
    given = Wanted(_dense([seeds.h])[0], _dense(seeds.final), _dense(seeds.states))
    saved = None if made.saved is None else made.saved.contiguous()
    launch_backward(
        code,
        arrays,
        Made(h, states=states, saved=saved),
        given,
        wanted,
        DTYPES[h.dtype],
        place,
        pool(),
    )
    return [tensor for group in ([wanted.x], *wanted[1:]) for tensor in group if tensor is not None]


def _check(code: Encoded, arrays: Arrays, made: Made, seeds: Seeds) -> None:
    """Raise unless what the scan left behind and the gradients fit it."""
    steps, rows, _ = arrays.x.shape
    (_, width), *others = code.states
    for kind, values, count in (
        ("states", made.states, others),
        ("final", seeds.final, code.states),
    ):
        if len(values) != len(count):
            raise ShapeError(
                f"{kind} must hold {', '.join(name for name, _ in count)}, got {len(values)} values"
            )
    wanted: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
        ("h", made.h, (steps, rows, width)),
        ("saved", made.saved, (steps, rows, code.native.saved_size)),
    ]
    wanted += [
        (f"states.{name}", value, (steps, rows, units))
        for (name, units), value in zip(others, made.states)
    ]
    wanted.append(("the gradient of h", seeds.h, (steps, rows, width)))
    for (name, units), final, states in zip_longest(code.states, seeds.final, seeds.states):
        wanted.append((f"the gradient of final.{name}", final, (rows, units)))
        wanted.append((f"the gradient of states.{name}", states, (steps, rows, units)))
    for name, value, shape in wanted:
        if value is None:
            continue
        if value.shape != shape:
            raise ShapeError(
                f"{name} must have shape {shape_text(shape)}, got {shape_text(value.shape)}"
            )
        if value.dtype != arrays.x.dtype or not value.is_cpu:
            raise DtypeError(
                f"{name} must be {arrays.x.dtype}, as x, got {value.dtype} on {value.device}"
            )


def _dense(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _wanted(arrays: Arrays, needed: Sequence[bool]) -> Wanted:
    """Memory for the gradients that are needed."""
    flags = iter(needed)

    def like(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        found = [(tensor, next(flags)) for tensor in tensors]
        return [
            tensor.new_empty(tensor.shape) if tensor is not None and flag else None
            for tensor, flag in found
        ]

    return Wanted(
        like([arrays.x])[0],
        like(arrays.state),
        like(arrays.initial),
        like(arrays.weights),
        like(arrays.noise),
    )
