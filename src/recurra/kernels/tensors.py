"""The primitives of `recurra.network.equations` on tensors, in PyTorch's own operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.cells.row_norm import group_norm
from recurra.network.equations import EQUATIONS
from recurra.program.evaluate import MEANING
from recurra.program.graph import Program


class TensorCell(NamedTuple):
    """A cell's program with its weights as tensors; as `recurra.network.equations.CellWeights`
    says it.
    """

    program: Program
    hidden: int
    units: Mapping[str, int]
    state_widths: Mapping[str, int]
    matrices: Mapping[str, Tensor]
    vectors: Mapping[str, Tensor]


class Tensors:
    """The primitives, but for those over time; gradients of any order go through.

    Args:
        like: gives dtype and device of constants.
    """

    equations = EQUATIONS

    def __init__(self, like: Tensor) -> None:
        self.like = like

    def matrix(self, matrix: Any) -> Tensor:
        """A matrix as it is multiplied with."""
        weight: Tensor = matrix
        return weight

    def array(self, vector: Any) -> Tensor:
        """A vector as it is added."""
        tensor: Tensor = vector
        return tensor

    def rows(self, table: Any, tokens: Tensor) -> Tensor:
        """Rows of a matrix."""
        return self.matrix(table)[tokens]

    def product(
        self, x: Tensor, weight: Any, bias: Any = None, rows: slice | None = None
    ) -> Tensor:
        """x weight[rows]^T + bias[rows]."""
        added, whole = None if bias is None else self.vector(bias, rows), self.matrix(weight)
        return F.linear(x, whole if rows is None else whole[rows], added)

    def vector(self, vector: Any, rows: slice | None = None) -> Tensor:
        """A vector, or some of its numbers."""
        whole = self.array(vector)
        return whole if rows is None else whole[rows]

    def constant(self, value: float) -> Tensor:
        """A number."""
        return torch.full((), value, dtype=self.like.dtype, device=self.like.device)

    def operation(self, op: str, *args: Tensor) -> Tensor:
        """An operation of the programs' alphabet."""
        done: Tensor = MEANING[op](*args)
        return done

    def norm(
        self, x: Tensor, width: int, eps: float, gain: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """A layer norm over the row."""
        return group_norm(x, gain, bias, eps)

    def log_softmax(self, x: Tensor) -> Tensor:
        """Over the row."""
        return x.log_softmax(-1)

    def split(self, x: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
        """A row in parts."""
        return torch.split(x, list(sizes), -1)

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        """The parts as one row."""
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), -1)

    def spread(self, x: Tensor, width: int, like: Tensor) -> Tensor:
        """A value for every row."""
        return x.expand(*like.shape[:-1], width)
