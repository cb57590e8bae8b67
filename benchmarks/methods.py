"""The methods of a scan against each other and against torch.nn: what the rule of method="auto"
rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import recurra
from recurra import cells
from recurra.bench.timing import in_turn, medians
from recurra.engine import METHODS
from recurra.errors import MethodUnavailable

SHAPES = (
    (35, 20, 200, 200),
    (64, 64, 256, 256),
    (64, 32, 512, 512),
    (100, 128, 64, 128),
    (200, 16, 32, 64),
)
"""(T, B, I, H), one layer each: shapes of the published language models and of small streams."""
CELLS = (
    cells.LSTM(),
    cells.GRU(),
    cells.Elman(),
    cells.LayerNormLSTM(),
    cells.ResetBeforeGRU(),
    cells.MinGRU(),
)
TESTS = ("tests/engine", "tests/kernels")


def measure(rounds: int = 5) -> list[dict[str, Any]]:
    """Milliseconds of every method, with and without gradients, and of torch.nn where it has the
    cell.
    """
    return [
        {
            "cell": repr(cell),
            "shape": shape,
            "gradients": gradients,
            **_row(cell, shape, gradients, rounds),
        }
        for cell in CELLS
        for shape in SHAPES
        for gradients in (False, True)
    ]


def _row(
    cell: cells.Cell, shape: tuple[int, ...], gradients: bool, rounds: int
) -> dict[str, float]:
    steps, rows, width, hidden = shape
    layer = recurra.Recurrent(cell, width, hidden).requires_grad_(gradients)
    x = torch.randn(steps, rows, width)
    ways: dict[str, Callable[[], object]] = {}
    for method in METHODS:
        try:
            layer(x, method=method)
        except MethodUnavailable:
            continue
        ways[method] = _way(lambda method=method: layer(x, method=method)[0], gradients)
    peer = {
        "LSTM()": torch.nn.LSTM,
        "GRU()": torch.nn.GRU,
        "Elman(nonlinearity='tanh')": torch.nn.RNN,
    }.get(repr(cell))
    if peer is not None:
        module = peer(width, hidden).requires_grad_(gradients)
        ways["torch.nn"] = _way(lambda: module(x)[0], gradients)
    return {name: seconds * 1e3 for name, seconds in medians(in_turn(ways, rounds)).items()}


def _way(run: Callable[[], torch.Tensor], gradients: bool) -> Callable[[], object]:
    def forward() -> object:
        with torch.no_grad():
            return run()

    return (lambda: run().sum().backward()) if gradients else forward


def text(rows: list[dict[str, Any]]) -> str:
    """The table."""
    names = [*METHODS, "torch.nn"]
    head = f"{'cell':<28}{'T, B, I, H':<20}{'grad':<6}" + "".join(f"{name:>14}" for name in names)
    lines = ["milliseconds; grad: forward and backward", head]
    for row in rows:
        figures = "".join(f"{row[n]:>14.2f}" if n in row else f"{'-':>14}" for n in names)
        shape = ", ".join(map(str, row["shape"]))
        lines.append(
            f"{row['cell']:<28}{shape:<20}{'yes' if row['gradients'] else 'no':<6}{figures}"
        )
    return "\n".join(lines)
