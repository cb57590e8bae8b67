"""A weight matrix in the precision in which it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, DtypeError, ShapeError, choice_text, shape_text

Array = npt.NDArray[Any]
PRECISIONS = ("float32", "bfloat16", "int8")
STORED = {"float32": np.dtype("float32"), "bfloat16": np.dtype("uint16"), "int8": np.dtype("int8")}
"""What holds one weight; a bfloat16 is the upper half of a float32's bits."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights (rows, columns); a row makes one output.

        float32: w = values     bfloat16: w = values' bits << 16      int8: w = values * scales[row]

    Args:
        values: float32, uint16 (the bits of a bfloat16) or int8.
        scales: of int8 weights, float32 (rows,); None for the others.

    Raises:
        DtypeError, ShapeError: the two do not fit together.

    >>> w = Matrix(np.float32([[0.5, -1.0], [0.0, 3.0]]))
    >>> w.quantised("int8").values.tolist(), w.quantised("int8").dense().tolist()
    ([[64, -127], [0, 127]], [[0.5039370059967041, -1.0], [0.0, 3.0]])
    """

    values: Array
    scales: Array | None = None

    def __post_init__(self) -> None:
        if self.values.dtype not in STORED.values():
            raise DtypeError(
                f"values must be float32, uint16 (bfloat16) or int8, got {self.values.dtype}"
            )
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise ShapeError(
                "values must have shape (rows, columns), each at least 1, got"
                f" {shape_text(self.values.shape)}"
            )
        if (self.scales is not None) != (self.precision == "int8"):
            raise ArgumentError(
                f"scales must be given with int8 and only then, got {self.precision} and"
                f" {self.scales is not None}"
            )
        if self.scales is not None and (
            self.scales.shape != self.values.shape[:1] or self.scales.dtype != np.float32
        ):
            got = f"{self.scales.dtype} {shape_text(self.scales.shape)}"
            raise ShapeError(
                f"scales must be float32 of shape {shape_text(self.values.shape[:1])}, got {got}"
            )

    def __repr__(self) -> str:
        return f"Matrix({shape_text(self.shape)}, {self.precision})"

    @property
    def precision(self) -> str:
        """ "float32", "bfloat16" or "int8"."""
        return next(name for name, dtype in STORED.items() if dtype == self.values.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, scales included."""
        return self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def dense(self) -> Array:
        """The weights that it stands for, float32."""
        if self.scales is not None:
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # scales may be whoever's; who needs finite weights looks
                dense: Array = self.values.astype(np.float32) * self.scales[:, None]
            return dense
        if self.precision == "bfloat16":
            return (self.values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return self.values

    def quantised(self, precision: str) -> Matrix:
        """The same weights, rounded to nearest: bfloat16 to even, int8 with a scale for each row,
        its largest weight at 127.

        Args:
            precision: "float32", "bfloat16" or "int8".

        Raises:
            ArgumentError: `precision` is unknown, or a weight is not finite.
        """
        if precision not in PRECISIONS:
            raise ArgumentError(choice_text("precision", precision, PRECISIONS))
        if precision == self.precision:
            return self
        dense = self.dense()
        if not np.isfinite(dense).all():
            raise ArgumentError(
                f"weights must be finite to be kept as {precision}, got some that are not"
            )
        if precision == "float32":
            return Matrix(dense)
        if precision == "bfloat16":
            bits = dense.view(np.uint32)
            return Matrix(
                (
                    (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
                    >> np.uint32(16)
                ).astype(np.uint16)
            )
        largest = np.abs(dense).max(1)
        scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
        scales = np.maximum(scales, np.finfo(np.float32).tiny)
        return Matrix(np.clip(np.rint(dense / scales[:, None]), -127, 127).astype(np.int8), scales)


def check_vector(name: str, vector: Array | None, size: int) -> None:
    """Raise unless a vector is float32 and of that size, or None."""
    if vector is not None and (vector.shape != (size,) or vector.dtype != np.float32):
        raise ShapeError(
            f"{name} must be float32 of shape ({size},), got {vector.dtype}"
            f" {shape_text(vector.shape)}"
        )
