from __future__ import annotations

import pytest
import torch

import recurra
from recurra.convert.weights import both_biases, layer_with, reorder, single_layer
from recurra.errors import ConversionError


def test_reorder_moves_blocks_and_negates_the_named_ones() -> None:
    rows = torch.arange(12.0).reshape(6, 2)
    moved = reorder(rows, "zrn", "rzn", negate="z")
    assert torch.equal(moved, torch.cat([rows[2:4], -rows[:2], rows[4:]]))
    assert torch.equal(reorder(moved, "rzn", "zrn", negate="z"), rows)


def test_layer_with_holds_contiguous_copies_and_can_start_anew() -> None:
    weights = {
        "weight_ih": torch.randn(3, 4, dtype=torch.float64).T,
        "weight_hh": torch.randn(4, 4, dtype=torch.float64),
    }
    layer = layer_with(recurra.cells.Elman(), weights)
    assert torch.equal(layer.weight_ih, weights["weight_ih"]) and layer.weight_ih.is_contiguous()
    assert layer.weight_ih.dtype == torch.float64 and layer.biases == 0
    weights["weight_hh"].zero_()
    assert layer.weight_hh.abs().min() > 0
    layer.reset_parameters()
    torch.testing.assert_close(
        layer.weight_hh @ layer.weight_hh.T, torch.eye(4, dtype=torch.float64)
    )


@pytest.mark.parametrize("biases", [0, 1, 2])
def test_missing_biases_are_zero(biases: int) -> None:
    layer = recurra.Recurrent(
        recurra.cells.GRU(),
        3,
        5,
        biases=biases,
        init=lambda m: [p.data.fill_(1.0) for p in m.parameters()],
    )
    sums = [float(bias.detach().sum()) for bias in both_biases(single_layer(layer, "a test")[0])]
    assert sums == [15.0 * (biases > 0), 15.0 * (biases > 1)]


def test_several_layers_are_refused() -> None:
    with pytest.raises(
        ConversionError, match=r"num_layers must be 1 for a test, got 3; convert each layer alone"
    ):
        single_layer(recurra.LSTM(3, 4, num_layers=3), "a test")


def test_a_learned_state_is_refused() -> None:
    layer = recurra.Recurrent(recurra.cells.LSTM(), 3, 4, learned_state=True)
    with pytest.raises(
        ConversionError, match=r"learned_state must be False for a test, got a layer with initial_h"
    ):
        single_layer(layer, "a test")


def test_other_modules_are_refused() -> None:
    with pytest.raises(
        ConversionError,
        match=r"module must be a Recurrent, RNN, LSTM or GRU layer for a test, got Linear",
    ):
        single_layer(torch.nn.Linear(3, 4), "a test")
    layers = [recurra.Recurrent(recurra.cells.GRU(), 3, 4) for _ in range(2)]
    both = recurra.Bidirectional(layers[0], recurra.WeightDropout(layers[1], 0.5))
    with pytest.raises(
        ConversionError,
        match=r"backward of the Bidirectional must be a Recurrent, .* got WeightDropout",
    ):
        single_layer(both, "a test")
