"""Small networks with weights drawn at random, and the bound that whatever runs them is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import recurra
from recurra.cells import Cell
from recurra.network import (
    Activation,
    AdaptiveSoftmax,
    Conv,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Loop,
    Matrix,
    Network,
    Recurrent,
    Residual,
)
from recurra.program import trace
from recurra.program.evaluation import forward_only

PRECISIONS = ("float32", "bfloat16", "int8")


def numbers(
    *shape: int, seed: int = 0, scale: float = 1.0
) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def matrix(rows: int, columns: int, seed: int = 0) -> Matrix:
    return Matrix(numbers(rows, columns, seed=seed, scale=columns**-0.5))


def recurrent(
    cell: Cell, input_size: int, hidden: int, biases: int = 2, learned: bool = True, seed: int = 0
) -> Recurrent:
    """A layer whose weights, and first state if learned, are drawn at random."""
    layer = recurra.Recurrent(
        cell, input_size, hidden, biases=biases, learned_state=learned, dtype=torch.float32
    )
    drawn = {
        name: numbers(*p.shape, seed=seed + i, scale=0.3) + ("gain" in name)
        for i, (name, p) in enumerate(layer.named_parameters())
    }
    drawn = {name: array.astype(np.float32) for name, array in drawn.items()}
    matrices = {name: Matrix(array) for name, array in drawn.items() if array.ndim == 2}
    return Recurrent(
        forward_only(trace(cell)),
        matrices,
        {name: array for name, array in drawn.items() if array.ndim == 1},
    )


def adaptive(
    width: int, words: int = 3, sizes: tuple[int, ...] = (5, 17), bias: bool = True
) -> AdaptiveSoftmax:
    """Words of the head, and clusters of those sizes, the first in vectors of 3, each other one
    narrower.
    """
    head, clusters = (
        words + len(sizes),
        [
            (matrix(max(3 - i, 1), width, i), matrix(size, max(3 - i, 1), i))
            for i, size in enumerate(sizes)
        ],
    )
    return AdaptiveSoftmax(matrix(head, width, 9), numbers(head) if bias else None, tuple(clusters))


def every_kind(width: int = 6) -> Network:
    """A layer of each kind, one within another, after an embedding whose table is the last layer's
    weight too.
    """
    table = matrix(11, width, seed=1)
    inner: tuple[Layer, ...] = (
        Activation("gelu", width),
        LayerNorm(width, numbers(width), numbers(width, seed=2)),
    )
    layers: tuple[Layer, ...] = (
        Embedding(table),
        recurrent(recurra.cells.LSTM(), width, width),
        Residual((recurrent(recurra.cells.GRU(), width, width), *inner)),
        Conv(matrix(width, 3 * width, seed=3), numbers(width), width, kernel=3, dilation=2),
        Conv(matrix(width, 4, seed=4), None, width, kernel=4, groups=width),
        Activation("tanh", width),
        Linear(table, numbers(11)),
    )
    return Network(layers, {"level": "character", "symbols": "abcdefghijk"}, {"licence": "CC0"})


def bound(network: Network, x: Any) -> tuple[Any, float]:
    """What the loop gives in float64, and how far from it a float32 path may be."""
    rows = x.shape[1]
    exact, single = Loop(network, rows).run(x), Loop(network, rows, "float32").run(x)
    return exact, 2 * float(np.abs(single - exact).max()) + 16 * float(
        np.finfo(np.float32).eps
    ) * max(1.0, float(np.abs(exact).max()))


def held(network: Network, x: Any, y: Any) -> None:
    """Assert that a path gave what the loop gives, within the bound."""
    exact, allowed = bound(network, x)
    assert y.shape == exact.shape
    difference = float(np.abs(y - exact).max())
    assert difference <= allowed, f"{difference:.2e} is more than {allowed:.2e}"
