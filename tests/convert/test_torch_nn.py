from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import recurra
from recurra import cells
from recurra.convert import from_torch, to_torch
from recurra.errors import ArgumentError, ConversionError

T, B, I, H = 7, 3, 5, 4


def assert_same(ours: Any, theirs: Any) -> None:
    """Outputs and states, however they are nested."""
    if isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for left, right in zip(ours, theirs):
            assert_same(left, right)
    else:
        torch.testing.assert_close(ours.reshape(theirs.shape), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True, "batch_first": True}]
)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_layers_become_torchs_and_share_their_parameters(
    name: str, options: dict[str, Any]
) -> None:
    ours = getattr(recurra, name)(I, H, dtype=torch.float64, **options)
    theirs = to_torch(ours)
    assert type(theirs) is getattr(nn, name)
    assert {n: id(p) for n, p in theirs.named_parameters()} == {
        n: id(p) for n, p in ours.named_parameters()
    }
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert_same(ours(x), theirs(x))
    assert repr(from_torch(theirs)) == repr(ours)


def test_projection_nonlinearity_dropout_and_mode_are_kept() -> None:
    lstm, rnn = (
        recurra.LSTM(I, H, proj_size=2, dtype=torch.float64),
        recurra.RNN(I, H, num_layers=2, nonlinearity="relu", dropout=0.25),
    )
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert_same(lstm(x), to_torch(lstm)(x))
    theirs = to_torch(rnn.eval())
    assert (theirs.nonlinearity, theirs.dropout, theirs.training) == ("relu", 0.25, False)


def test_dropout_of_a_single_layer_makes_no_second_warning() -> None:
    with pytest.warns(UserWarning, match="dropout"):
        ours = recurra.GRU(I, H, dropout=0.5)
    assert to_torch(ours).dropout == 0.5


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_become_torchs(name: str, bias: bool) -> None:
    options = {"nonlinearity": "relu"} if name == "RNNCell" else {}
    ours = getattr(recurra, name)(I, H, bias=bias, dtype=torch.float64, **options)
    theirs = to_torch(ours)
    assert type(theirs) is getattr(nn, name) and theirs.weight_hh is ours.weight_hh
    x = torch.randn(B, I, dtype=torch.float64)
    assert_same(ours(x), theirs(x))


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize(
    "cell",
    [cells.Elman(), cells.Elman("relu"), cells.LSTM(), cells.ProjectedLSTM(3), cells.GRU()],
    ids=repr,
)
def test_recurrent_becomes_torchs(cell: cells.Cell, biases: int) -> None:
    ours = recurra.Recurrent(cell, I, H, biases=biases, dtype=torch.float64, init="torch")
    theirs = to_torch(ours)
    assert theirs.weight_ih_l0 is ours.weight_ih and theirs.bias == (biases > 0)
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, state = theirs(x)
    mine, final = ours(x)
    assert_same(mine, y)
    assert_same(tuple(final), state if isinstance(state, tuple) else (state,))


def test_one_bias_stays_one_in_training() -> None:
    ours = recurra.Recurrent(cells.LSTM(), I, H, biases=1, dtype=torch.float64)
    theirs = to_torch(ours)
    assert not theirs.bias_hh_l0.requires_grad and not theirs.bias_hh_l0.any()
    x = torch.randn(T, B, I, dtype=torch.float64)
    optimiser = torch.optim.SGD([p for p in theirs.parameters() if p.requires_grad], lr=0.5)
    theirs(x)[0].square().sum().backward()
    optimiser.step()
    assert_same(ours(x)[0], theirs(x)[0])


def test_bidirectional_becomes_torchs() -> None:
    layers = [
        recurra.Recurrent(cells.GRU(), I, H, biases=biases, dtype=torch.float64, init="torch")
        for biases in (2, 0)
    ]
    theirs = to_torch(recurra.Bidirectional(*layers).eval())
    assert (
        theirs.bidirectional
        and not theirs.training
        and theirs.weight_hh_l0_reverse is layers[1].weight_hh
    )
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert_same(recurra.Bidirectional(*layers)(x)[0], theirs(x)[0])


@pytest.mark.parametrize(
    "cell",
    [cells.ResetBeforeGRU(), cells.PeepholeLSTM(), cells.Zoneout(cells.LSTM(), h=0.1)],
    ids=repr,
)
def test_cells_that_torch_does_not_have_are_refused(cell: cells.Cell) -> None:
    text = f"cell must be one that torch.nn has (Elman, LSTM, ProjectedLSTM, GRU), got {cell!r}"
    with pytest.raises(ConversionError, match=re.escape(text)):
        to_torch(recurra.Recurrent(cell, I, H))


def test_unequal_directions_are_refused() -> None:
    both = recurra.Bidirectional(
        *(recurra.Recurrent(cells.Elman(kind), I, H) for kind in ("tanh", "relu"))
    )
    with pytest.raises(
        ConversionError,
        match=r"cell must be the same both ways in torch\.nn, got Elman.*tanh.* and Elman.*relu",
    ):
        to_torch(both)


def test_a_wide_projection_is_refused() -> None:
    with pytest.raises(
        ConversionError, match=r"proj_size must be less than hidden_size = 4 in torch\.nn, got 4"
    ):
        to_torch(recurra.Recurrent(cells.ProjectedLSTM(4), I, H))


def test_tied_parameters_stay_tied() -> None:
    ours = recurra.GRU(H, H, num_layers=2, bidirectional=True, dtype=torch.float64)
    ours.weight_hh_l1_reverse = ours.weight_hh_l1 = ours.weight_hh_l0
    theirs = to_torch(ours)
    assert (
        theirs.weight_hh_l1_reverse
        is theirs.weight_hh_l1
        is theirs.weight_hh_l0
        is ours.weight_hh_l0
    )
    x = torch.randn(T, B, H, dtype=torch.float64)
    assert_same(ours(x), theirs(x))
    cell = recurra.GRUCell(H, H)
    cell.weight_ih = cell.weight_hh
    assert to_torch(cell).weight_ih is cell.weight_hh


def test_a_computed_weight_is_refused() -> None:
    ours = recurra.GRU(I, H)
    nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
    text = (
        "weight_hh_l0 must be a parameter of GRU, got Tensor; take hooks and parametrisations off"
        " first"
    )
    with pytest.raises(
        ConversionError, match="module must be a Recurrent, RNN, LSTM or GRU layer for torch.nn"
    ):
        to_torch(ours)
    pruned = recurra.GRU(I, H)
    prune.l1_unstructured(pruned, "weight_hh_l0", 0.5)
    with pytest.raises(ArgumentError, match=re.escape(text)):
        to_torch(pruned)
