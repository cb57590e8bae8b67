"""Layer normalisation over rows of gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5
"""Added to the variance in every layer norm of the cells, as in torch.nn.LayerNorm."""

MOST = 1e15
"""What a number may be before its row is made smaller: float32 holds the square, and beside what
such numbers differ by eps is nothing.
"""


def rows_of(vector: Tensor | None, rows: slice) -> Tensor | None:
    """Some rows of a vector, where there is one."""
    return None if vector is None else vector[rows]


def group_norm(v: Tensor, gain: Tensor | None, bias: Tensor | None, eps: float = EPS) -> Tensor:
    """Layer norm over the whole of the last axis, of numbers too whose squares overflow: such rows
    are made smaller first.

    Their norm is that of the smaller ones, eps being nothing beside it, so its gradient is too.

    >>> group_norm(torch.tensor([[3e30, 1e30]]), None, None).round()
    tensor([[ 1., -1.]])
    """
    shrink = (MOST / torch.linalg.vector_norm(v.detach(), float("inf"), -1, keepdim=True)).clamp(
        max=1.0
    )
    return F.layer_norm(v * shrink, v.shape[-1:], gain, bias, eps)


def row_norm(
    v: Tensor,
    gates: tuple[str, ...],
    groups: tuple[tuple[str, ...], ...],
    gain: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    """Normalise each group of gates over its whole row, then scale and shift.

    Args:
        v: (..., G*H), in blocks, in the order of `gates`.
        gates: the blocks' names.
        groups: the gates that are normalised together, in the same order.
        gain, bias: (G*H,), or None.

    >>> row_norm(torch.tensor([[1.0, 3.0]]), ("n",), (("n",),), torch.tensor([2.0, 2.0]), None)
    tensor([[-2.0000,  2.0000]])
    """
    unit = v.shape[-1] // len(gates)
    parts, start = [], 0
    for group in groups:
        rows = slice(start, start + len(group) * unit)
        parts.append(group_norm(v[..., rows], rows_of(gain, rows), rows_of(bias, rows)))
        start = rows.stop
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)
