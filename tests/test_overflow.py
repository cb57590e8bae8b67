"""Norms of numbers whose squares are beyond a float: what float64 says, along every way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recurra import engine
from recurra.cells import Cell, LayerNormGRU, LayerNormLSTM
from recurra.network import LayerNorm, Loop, Network, Recurrent
from recurra.runtime import Model
from tests.export.compiled import STRICT, Compiled
from tests.network.nets import held, numbers, recurrent

SCALES = (1.0, 1e14, 3e15, 1e19, 3e19, 1e30, 1e38)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("width", [5, 33, 500])
def test_layer_norm_of_large_numbers(scale: float, width: int, tmp_path: Path) -> None:
    network = Network((LayerNorm(width, numbers(width, seed=3), numbers(width, seed=4)),))
    x = (numbers(4, 2, width).clip(-3, 3) * np.float32(scale)).astype(np.float32)
    small = x / np.float64(scale)
    exact = (small - small.mean(-1, keepdims=True)) / np.sqrt(
        small.var(-1, keepdims=True) + 1e-5 / scale**2
    )
    exact = exact * numbers(width, seed=3) + numbers(width, seed=4)
    assert np.allclose(Loop(network, 2).run(x), exact, rtol=1e-9, atol=1e-9)
    assert np.allclose(Loop(network, 2, "float32").run(x), exact, rtol=1e-4, atol=1e-4)
    session = Model(network).session(2)
    held(network, x, np.stack([session.push(step) for step in x]))
    if scale in (1.0, 1e19, 1e38) and width == 33:
        held(network, x, Compiled({"norm": network}, tmp_path, "gcc", STRICT).run("norm", x))


def large(cell: Cell, scale: float) -> tuple[Recurrent, dict[str, Any]]:
    """A layer whose products are large, and its weights as tensors."""
    layer = recurrent(cell, 7, 33, learned=False)
    grown = {
        name: type(each)(each.values * np.float32(scale)) for name, each in layer.matrices.items()
    }
    layer = Recurrent(layer.program, grown, layer.vectors)
    weights = {name: each.values for name, each in grown.items()} | dict(layer.vectors)
    return layer, {name: torch.from_numpy(array) for name, array in weights.items()}


@pytest.mark.parametrize("scale", SCALES[:-1])
@pytest.mark.parametrize("cell", [LayerNormLSTM(), LayerNormGRU()], ids=repr)
def test_cell_with_large_products(cell: Cell, scale: float) -> None:
    layer, weights = large(cell, scale)
    network, x = Network((layer,)), numbers(6, 3, 7)
    held(
        network,
        x,
        np.stack(
            [
                step.copy()
                for session in [Model(network).session(3)]
                for step in map(session.push, x)
            ]
        ),
    )
    exact = Loop(network, 3).run(x)
    double = {name: weight.double() for name, weight in weights.items()}
    for method in ("loop", "fused"):
        h = engine.scan(cell, double, torch.from_numpy(x).double(), method=method).h
        assert np.abs(h.numpy() - exact).max() < 1e-9
        h = engine.scan(cell, weights, torch.from_numpy(x), method=method).h
        assert np.abs(h.numpy() - exact).max() < 1e-4, method


@pytest.mark.parametrize("scale", [1.0, 3e19, 1e25])
@pytest.mark.parametrize("cell", [LayerNormLSTM(), LayerNormGRU()], ids=repr)
def test_gradients_of_large_products_are_those_of_float64(cell: Cell, scale: float) -> None:
    _, weights = large(cell, scale)
    x = torch.from_numpy(numbers(6, 3, 7))
    found: dict[str, list[torch.Tensor]] = {}
    for name, method, dtype in (
        ("exact", "loop", torch.float64),
        ("loop", "loop", torch.float32),
        ("fused", "fused", torch.float32),
    ):
        leaves = [value.to(dtype, copy=True).requires_grad_() for value in (x, *weights.values())]
        engine.scan(
            cell, dict(zip(weights, leaves[1:])), leaves[0], method=method
        ).h.square().sum().backward()
        found[name] = [leaf.grad.double() for leaf in leaves if leaf.grad is not None]
    for name in ("loop", "fused"):
        for mine, exact in zip(found[name], found["exact"], strict=True):
            assert (mine - exact).abs().max() <= 1e-3 * exact.abs().max(), name


def test_float64_beyond_its_squares() -> None:
    cell = LayerNormGRU()
    _, weights = large(cell, 1.0)
    x, results = torch.from_numpy(numbers(4, 2, 7)).double(), []
    for scale in (1e100, 1e200):
        double = {
            name: weight.double() * (scale if weight.ndim == 2 else 1)
            for name, weight in weights.items()
        }
        results += [engine.scan(cell, double, x, method=method).h for method in ("loop", "fused")]
    for other in results[1:]:
        assert torch.allclose(other, results[0], rtol=0, atol=1e-9)
