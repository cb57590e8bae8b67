"""The NumPy loop against PyTorch: what a network means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recurra
from recurra.cells import Cell
from recurra.network import (
    ACTIVATIONS,
    Activation,
    Conv,
    LayerNorm,
    Linear,
    Loop,
    Matrix,
    Network,
    Recurrent,
    Residual,
)
from recurra.program import trace
from tests.cells.zoo import CoupledLSTM
from tests.kernels.scene import CELLS
from tests.network.nets import adaptive, every_kind, numbers, recurrent


@pytest.mark.parametrize("cell", [*CELLS, CoupledLSTM()], ids=repr)
def test_every_cell_is_that_of_the_layer(cell: Cell) -> None:
    layer = recurra.Recurrent(cell, 4, 5, learned_state=True).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter).float())
    weights = {name: p.detach().float().numpy() for name, p in layer.named_parameters()}
    matrices = {name: Matrix(array) for name, array in weights.items() if array.ndim == 2}
    network = Network(
        (
            Recurrent(
                trace(cell),
                matrices,
                {name: array for name, array in weights.items() if array.ndim == 1},
            ),
        )
    )
    x = torch.randn(6, 2, 4)
    with torch.no_grad():
        y, state = layer(x, method="loop")
    loop = Loop(network, 2)
    assert np.abs(loop.run(x.numpy()) - y.numpy()).max() < 1e-12
    for name, value in zip(cell.state, state):
        assert np.abs(loop.state[f"0.{name}"] - value.detach().numpy()).max() < 1e-12


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_are_torchs(kind: str) -> None:
    theirs: Any = {"gelu": nn.GELU(), "gelu_tanh": nn.GELU(approximate="tanh")}.get(
        kind
    ) or getattr(torch, kind)
    x = numbers(3, 7, 5, scale=3.0)
    y = Loop(Network((Activation(kind, 5),)), 7).run(x)
    assert np.abs(y - theirs(torch.from_numpy(x).double()).numpy()).max() < 1e-12


def test_layer_norm_is_torchs() -> None:
    gain, bias, x = numbers(5), numbers(5, seed=1), numbers(2, 3, 5, seed=2)
    wide, weight, shift = (torch.from_numpy(array).double() for array in (x, gain, bias))
    theirs = nn.functional.layer_norm(wide, [5], weight, shift, 1e-3)
    assert (
        np.abs(Loop(Network((LayerNorm(5, gain, bias, 1e-3),)), 3).run(x) - theirs.numpy()).max()
        < 1e-12
    )


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups"), [(1, 1, 1), (3, 1, 1), (4, 3, 1), (2, 2, 2), (3, 2, 4)]
)
def test_a_convolution_is_torchs_with_zeros_before_the_start(
    kernel: int, dilation: int, groups: int
) -> None:
    theirs = nn.Conv1d(4, 8, kernel, dilation=dilation, groups=groups).double()
    weight = theirs.weight.detach().float()
    theirs.load_state_dict(
        {"weight": weight.double(), "bias": theirs.bias.detach().float().double()}
    )  # type: ignore[union-attr]
    layer = Conv(
        Matrix(weight.transpose(1, 2).reshape(8, -1).numpy()),
        theirs.bias.detach().float().numpy(),
        4,
        kernel,
        dilation,
        groups,
    )  # type: ignore[union-attr]
    x = numbers(9, 2, 4)
    padded = nn.functional.pad(
        torch.from_numpy(x).double().permute(1, 2, 0), ((kernel - 1) * dilation, 0)
    )
    wanted = theirs(padded).permute(2, 0, 1).detach().numpy()
    assert np.abs(Loop(Network((layer,)), 2).run(x) - wanted).max() < 1e-12


def test_clusters_are_those_of_torch() -> None:
    layer = adaptive(6)
    module = nn.AdaptiveLogSoftmaxWithLoss(6, 25, [3, 8], 2.0, head_bias=True, dtype=torch.float64)
    module.head.weight.data, module.head.bias.data = (
        torch.from_numpy(w).double() for w in (layer.weight.values, layer.bias)
    )
    for (narrow, wide), tail in zip(layer.clusters, module.tail):
        tail[0].weight.data, tail[1].weight.data = (
            torch.from_numpy(w.values).double() for w in (narrow, wide)
        )  # type: ignore[index]
    x = numbers(4, 6, scale=30.0).astype(np.float64)
    found = Loop(Network((layer,)), 4).push(x)
    assert np.allclose(found, module.log_prob(torch.from_numpy(x)).detach().numpy(), atol=1e-12)
    assert np.allclose(np.exp(found).sum(1), 1, atol=1e-12)


def test_a_residual_adds_what_went_in() -> None:
    x = numbers(4, 2, 3)
    inner = recurrent(recurra.cells.GRU(), 3, 3)
    assert np.allclose(
        Loop(Network((Residual((inner,)),)), 2).run(x),
        x + Loop(Network((inner,)), 2).run(x),
        atol=1e-15,
    )


def test_a_reset_row_begins_anew_and_the_others_go_on() -> None:
    network, x = every_kind(), np.random.default_rng(0).integers(0, 11, (8, 3))
    loop, fresh = Loop(network, 3), Loop(network, 3)
    whole = Loop(network, 3).run(x)
    loop.run(x[:4])
    loop.reset([1])
    after = loop.run(x[4:])
    assert np.array_equal(after[:, [0, 2]], whole[4:, [0, 2]]) and np.array_equal(
        after[:, 1], fresh.run(x[4:])[:, 1]
    )


def test_a_product_that_is_no_number_warns_of_nothing() -> None:
    assert np.isnan(
        Loop(Network((Linear(Matrix(np.float32([[np.inf, 1]]))),))).push(np.array([[0.0, 1.0]]))
    ).all()
