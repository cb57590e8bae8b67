"""The part of a step that needs no state, for all steps at once, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.program.graph import Program

EPS = 1e-5
"""Added to the variance in every layer norm, as in `recurra.cells`."""

Array = npt.NDArray[Any]


def project(program: Program, weights: Mapping[str, Array], x: Array) -> Array:
    """Project the input: u = x @ weight_ih.T + bias_ih, normalised where the program says so.

    Args:
        program: the cell's program.
        weights: `weight_ih` (G*H, I) and, where there are, `bias_ih` and `gain_ih` (G*H,).
        x: (T, B, I).

    Returns:
        u (T, B, G*H), contiguous.

    Raises:
        ShapeError: `x` or a weight does not fit.
    """
    weight = weights["weight_ih"]
    if x.ndim != 3 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"x must have shape (T, B, {weight.shape[1]}), got {shape_text(x.shape)}")
    gain, bias = weights.get("gain_ih"), weights.get("bias_ih")
    for name, vector in (("gain_ih", gain), ("bias_ih", bias)):
        if vector is not None and vector.shape != weight.shape[:1]:
            raise ShapeError(f"{name} must have shape {shape_text(weight.shape[:1])}, got {shape_text(vector.shape)}")
    with np.errstate(all="ignore"):
        u: Array = x.reshape(-1, x.shape[-1]) @ weight.T
        if program.input_norm:
            if gain is None:
                raise ArgumentError(f"weights must hold 'gain_ih', got {', '.join(weights)}")
            _normalise(u, program.input_norm, weight.shape[0] // len(program.gates))
            u *= gain
        if bias is not None:
            u += bias
    return np.ascontiguousarray(u).reshape(*x.shape[:2], -1)


def _normalise(u: Array, groups: tuple[int, ...], unit: int) -> None:
    """Normalise each group of blocks over its whole row, in place."""
    start = 0
    for blocks in groups:
        part = u[:, start : start + blocks * unit]
        part -= part.mean(-1, keepdims=True)
        part /= np.sqrt((part * part).mean(-1, keepdims=True) + EPS)
        start += blocks * unit
