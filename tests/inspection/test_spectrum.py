"""The spectral radius of each gate's recurrent weights."""

from __future__ import annotations

import math

import pytest
import torch

from recurra import Recurrent, cells
from recurra.inspection import spectral_radius
from recurra.inspection import spectrum as module


def radii(layer: Recurrent) -> dict[str, float]:
    ((cell, weights),) = layer.parts()
    return spectral_radius(cell, weights)


def test_each_gate_has_its_own() -> None:
    for cell in (cells.LSTM(), cells.ResetBeforeGRU(), cells.Zoneout(cells.LayerNormGRU(), h=0.1)):
        layer = Recurrent(cell, 2, 6)
        with torch.no_grad():
            for number, block in enumerate(layer.weight_hh.chunk(len(cell.gates))):
                block.mul_(number + 1)
        assert radii(layer) == pytest.approx(
            {gate: number + 1 for number, gate in enumerate(cell.gates)}
        )


def test_a_rotation_has_complex_eigenvalues() -> None:
    layer = Recurrent(cells.Elman(), 1, 2)
    with torch.no_grad():
        layer.weight_hh.copy_(0.7 * torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    assert radii(layer) == pytest.approx({"h": 0.7})


def test_a_projection_counts_and_a_cell_without_product_has_none() -> None:
    layer = Recurrent(cells.ProjectedLSTM(3), 2, 5)
    blocks = ((block @ layer.weight_hr).detach() for block in layer.weight_hh.chunk(4))
    expected = [float(torch.linalg.eigvals(block).abs().max()) for block in blocks]
    assert list(radii(layer).values()) == pytest.approx(expected)
    assert radii(Recurrent(cells.MinGRU(), 2, 5)) == {}


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_wide_layers_are_found_by_growth(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Recurrent(cells.Elman(), 2, 80)
    with torch.no_grad():
        layer.weight_hh.copy_(scale * torch.randn(80, 80) / 80**0.5)
    exact = radii(layer)["h"]
    monkeypatch.setattr(module, "EXACT", 10)
    ((cell, weights),) = layer.parts()
    for seed in range(5):
        assert spectral_radius(cell, weights, seed=seed)["h"] == pytest.approx(exact, rel=0.01)
    assert spectral_radius(cell, weights, seed=1) != spectral_radius(cell, weights, seed=2)


def test_nilpotent_and_broken_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Recurrent(cells.Elman(), 1, 3)
    with torch.no_grad():
        layer.weight_hh.copy_(torch.ones(3, 3).triu(1))
    monkeypatch.setattr(module, "EXACT", 1)
    assert radii(layer) == {"h": 0.0}
    with torch.no_grad():
        layer.weight_hh[0, 0] = torch.nan
    assert math.isnan(radii(layer)["h"])
