"""The weights of a network in an ONNX graph: each array once, in the precision in which it is
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.export.onnx_sheet import Sheet
from recurra.network import Matrix

Array = npt.NDArray[Any]
Order = tuple[tuple[int, bool], ...]
"""The blocks of a matrix's rows in another order: which block, and whether its sign is turned."""


class Weights:
    """Arrays and what is computed from them alone, written to the outermost sheet where they are
    first needed.

        float32: an initializer     bfloat16: an initializer, and a Cast
        int8: an initializer, a Cast, and a Mul by rows

    (ONNX Runtime 1.32 breaks a DequantizeLinear before a MatMul whose input is an output of the
    graph too.)

    Args:
        sheet: the outermost.
    """

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self._kept: dict[tuple[Any, ...], tuple[str, str]] = {}
        self._known: dict[tuple[Any, ...], str] = {}

    def vector(self, vector: Array, name: str, part: tuple[int, int] | None = None) -> str:
        """A vector, float32, each once; or only a part of it, first and last plus one."""
        part = None if part == (0, len(vector)) else part
        key = ("vector", id(vector), part)
        if key not in self._known:
            self._known[key] = (
                self._slice(self.vector(vector, name), part, 0)
                if part
                else self.sheet.array(vector, name)
            )
        return self._known[key]

    def ones(self, size: int) -> str:
        """A vector of ones, each size once."""
        key = ("ones", size)
        if key not in self._known:
            self._known[key] = self.sheet.array(np.ones(size, np.float32), f"ones_{size}")
        return self._known[key]

    def matrix(self, matrix: Matrix, name: str, order: Order = ()) -> str:
        """A matrix (rows, columns) as float32, its blocks of rows in an order."""
        key = ("matrix", id(matrix), order)
        if key not in self._known:
            kept, scales = self._keep(matrix, name, order)
            if matrix.precision == "bfloat16" or scales:
                kept = self.sheet.add("Cast", kept, to=self.sheet.onnx.TensorProto.FLOAT)
            if scales:
                kept = self.sheet.add(
                    "Mul", kept, self.sheet.add("Unsqueeze", scales, self.sheet.whole(-1))
                )
            self._known[key] = kept
        return self._known[key]

    def part(self, matrix: Matrix, name: str, rows: tuple[int, int]) -> str:
        """Some rows of a matrix as float32, first and last plus one."""
        if rows == (0, matrix.shape[0]):
            return self.matrix(matrix, name)
        key = ("part", id(matrix), rows)
        if key not in self._known:
            self._known[key] = self._slice(self.matrix(matrix, name), rows, 0)
        return self._known[key]

    def transposed(self, matrix: Matrix, name: str) -> str:
        """A matrix as (columns, rows)."""
        key = ("transposed", id(matrix))
        if key not in self._known:
            self._known[key] = self.sheet.add("Transpose", self.matrix(matrix, name), perm=(1, 0))
        return self._known[key]

    def product(self, x: str, matrix: Matrix, name: str, bias: str, sequence: bool) -> str:
        """x weight^T + bias, for rows (B, I) or a sequence (T, B, I) of them; `bias` may be ""."""
        if not sequence:
            return self.sheet.add(
                "Gemm", x, self.matrix(matrix, name), *([bias] if bias else []), transB=1
            )
        y = self.sheet.add("MatMul", x, self.transposed(matrix, name))
        return self.sheet.add("Add", y, bias) if bias else y

    def taps(self, matrix: Matrix, name: str, kernel: int) -> str:
        """A convolution's weight (O, K * I) as ONNX has it, (O, I, K)."""
        key = ("taps", id(matrix), kernel)
        if key not in self._known:
            apart = self.sheet.add(
                "Reshape", self.matrix(matrix, name), self.sheet.whole(matrix.shape[0], kernel, -1)
            )
            self._known[key] = self.sheet.add("Transpose", apart, perm=(0, 2, 1))
        return self._known[key]

    def rows(self, matrix: Matrix, name: str, x: str, sheet: Sheet) -> str:
        """Some rows of a matrix as float32, only these turned into it."""
        kept, scales = self._keep(matrix, name, ())
        found = sheet.add("Gather", kept, x, axis=0)
        if matrix.precision == "float32":
            return found
        found = sheet.add("Cast", found, to=sheet.onnx.TensorProto.FLOAT)
        if not scales:
            return found
        scale = sheet.add("Unsqueeze", sheet.add("Gather", scales, x, axis=0), sheet.whole(-1))
        return sheet.add("Mul", found, scale)

    def _slice(self, value: str, part: tuple[int, int], axis: int) -> str:
        return self.sheet.add("Slice", value, *(self.sheet.whole(end) for end in (*part, axis)))

    def _keep(self, matrix: Matrix, name: str, order: Order) -> tuple[str, str]:
        """The names of what is kept: the numbers, and their scales or nothing."""
        key = (id(matrix), order)
        if key not in self._kept:
            values, scales = arranged(matrix, order)
            kinds = self.sheet.onnx.TensorProto
            kind = {"float32": kinds.FLOAT, "uint16": kinds.BFLOAT16, "int8": kinds.INT8}[
                values.dtype.name
            ]
            name += "_arranged" if order else ""
            kept = self.sheet.raw(np.ascontiguousarray(values), kind, name)
            self._kept[key] = (
                kept,
                "" if scales is None else self.sheet.array(scales, f"{name}_scales"),
            )
        return self._kept[key]


def arranged(matrix: Matrix, order: Order) -> tuple[Array, Array | None]:
    """A matrix's numbers and scales with the blocks of its rows in an order.

    An int8 matrix that holds -128 becomes float32 where a sign is turned: 128 is no int8.

    >>> arranged(Matrix(np.float32([[1], [2]])), ((1, True), (0, False)))[0].tolist()
    [[-2.0], [1.0]]
    """
    if not order:
        return matrix.values, matrix.scales
    if matrix.scales is not None:
        if matrix.values.min() == -128 and any(turned for _, turned in order):
            return in_order(matrix.dense(), order), None
        return in_order(matrix.values, order), in_order(
            matrix.scales, [(block, False) for block, _ in order]
        )
    if matrix.precision == "bfloat16":
        blocks = np.split(matrix.values, len(order))
        return (
            np.concatenate(
                [blocks[block] ^ np.uint16(0x8000 if turned else 0) for block, turned in order]
            ),
            None,
        )
    return in_order(matrix.values, order), None


def in_order(array: Array, order: Sequence[tuple[int, bool]]) -> Array:
    """An array's blocks in an order, some with their sign turned."""
    blocks = np.split(array, len(order))
    return np.concatenate([-blocks[block] if turned else blocks[block] for block, turned in order])
