"""Layer normalisation over rows of gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5
"""Added to the variance in every layer norm of the cells, as in torch.nn.LayerNorm."""


def rows_of(vector: Tensor | None, rows: slice) -> Tensor | None:
    """Some rows of a vector, where there is one."""
    return None if vector is None else vector[rows]


def row_norm(v: Tensor, gates: tuple[str, ...], groups: tuple[tuple[str, ...], ...], gain: Tensor | None, bias: Tensor | None) -> Tensor:
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
        parts.append(F.layer_norm(v[..., rows], (len(group) * unit,), rows_of(gain, rows), rows_of(bias, rows), EPS))
        start = rows.stop
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)
