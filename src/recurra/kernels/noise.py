"""The random factors of a cell, drawn by the native module where it can."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra import cells
from recurra.cells import Cell
from recurra.kernels.outputs import DTYPES, reused
from recurra.kernels.pool import pool

LIBRARY: Any = torch.library.Library("recurra", "FRAGMENT")  # type: ignore[no-untyped-call]
LIBRARY.define(
    "draw(Tensor keys, int number, SymInt[] size, int zero, float value, Tensor like) -> Tensor"
)


def draw(
    cell: Cell,
    shape: tuple[int, int],
    hidden_size: int,
    like: Tensor,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Draw every random factor of a cell for one sequence, before the scan.

    On a CPU, in float32 or float64, the native module draws: each noise has a key of 63 bits, taken
    from `generator`, and factor i of a key is 0 where number i of Philox4x32-10 is below 2^32 times
    the probability. So they depend on the generator alone, not on threads, instruction sets, dtype,
    or whether a graph is compiled. On other devices, in other dtypes and under function transforms
    PyTorch's own operations draw others, of the same distribution.

    Args:
        cell: the cell.
        shape: (T, B).
        hidden_size: H.
        like: gives dtype and device.
        generator: the source of randomness; torch's own if None.

    Returns:
        By name, (T, B, width) each, or (B, width) for a mask that lasts the sequence.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3",
        doi:10.1145/2063384.2063405.

    >>> drawn = draw(cells.Zoneout(cells.LSTM(), h=0.1), (7, 2), 4, torch.zeros(()))
    >>> drawn["zoneout_h"].shape
    torch.Size([7, 2, 4])
    """
    if not _native(like):
        return cells.draw(cell, shape, hidden_size, like, generator)
    noises = {name: noise for name, noise in cell.noises().items() if noise.zero is not None}
    if not noises:
        return {}
    keys = torch.ops.aten.random(torch.empty(len(noises), dtype=torch.int64), generator=generator)
    make = torch.ops.recurra.draw if torch.compiler.is_compiling() else _draw
    drawn = {}
    for number, (name, noise) in enumerate(noises.items()):
        size = [*(shape[1:] if noise.lasting else shape), cell.width(noise.of, hidden_size)]
        drawn[name] = make(
            keys, number, size, round((noise.zero or 0.0) * 2**32), float(noise.value), like
        )
    return drawn


def _native(like: Tensor) -> bool:
    """Whether the native module can draw tensors like this, and nobody traces or transforms what is
    done with them.
    """
    if like.device.type != "cpu" or like.dtype not in DTYPES:
        return False
    if torch.compiler.is_compiling():
        return True
    modes = (
        torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
    )
    return (
        type(like) in (Tensor, torch.nn.Parameter)
        and not modes
        and torch._C._get_tracing_state() is None
    )


def _draw(
    keys: Tensor, number: int, size: list[int], zero: int, value: float, like: Tensor
) -> Tensor:
    """Factors of one key."""
    from recurra import native

    drawn = reused(tuple(size), like.dtype)
    native.draw(
        address=drawn.data_ptr(),
        count=drawn.numel(),
        dtype=DTYPES[like.dtype],
        zero=zero,
        value=value,
        key=int(keys[number]),
        pool=pool(),
    )
    return drawn


def _shapes(
    keys: Tensor, number: int, size: list[int], zero: int, value: float, like: Tensor
) -> Tensor:
    return like.new_empty(size)


LIBRARY.impl("draw", _draw, "CPU")
torch.library.register_fake("recurra::draw", _shapes, lib=LIBRARY)
