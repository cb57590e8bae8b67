"""What RNN, LSTM and GRU say about options and input that do not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import recurra
from recurra.errors import ArgumentError, DtypeError, ShapeError


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(input_size=0), "input_size must be a positive whole number, got 0"),
        (dict(hidden_size=-1), "hidden_size must be a positive whole number, got -1"),
        (dict(hidden_size=4.0), "hidden_size must be a positive whole number, got 4.0"),
        (dict(num_layers=0), "num_layers must be a positive whole number, got 0"),
        (dict(num_layers=True), "num_layers must be a positive whole number, got True"),
        (dict(dropout=1.5), "dropout must be a number in [0, 1], got 1.5"),
        (dict(dropout=True), "dropout must be a number in [0, 1], got True"),
        (dict(dropout="0.1"), "dropout must be a number in [0, 1], got '0.1'"),
        (dict(proj_size=4), "proj_size must be a whole number in 0..3, got 4"),
        (dict(proj_size=-1), "proj_size must be a whole number in 0..3, got -1"),
        (
            dict(init="orthogonall"),
            (
                "init must be one of 'orthogonal', 'torch', got 'orthogonall'; did you mean"
                " 'orthogonal'?"
            ),
        ),
        (dict(init=["torch"]), "init must be one of 'orthogonal', 'torch', got ['torch']"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        recurra.LSTM(**(dict(input_size=3, hidden_size=4) | options))


def test_an_unknown_nonlinearity_is_named() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"^nonlinearity must be one of 'relu', 'tanh', got 'tahn'; did you mean 'tanh'",
    ):
        recurra.RNN(3, 4, nonlinearity="tahn")


ONE, PAIR = (
    torch.zeros(1, 2, 5, dtype=torch.float64),
    (torch.zeros(1, 2, 5, dtype=torch.float64),) * 2,
)
BATCH = torch.zeros(3, 2, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (
            DtypeError,
            "input must be a tensor or a PackedSequence, got list",
            lambda net: net([1.0]),
        ),
        (
            ShapeError,
            "input must have shape (T, B, 4) or (T, 4) for one sequence, got (3, 2, 9)",
            lambda net: net(torch.zeros(3, 2, 9)),
        ),
        (
            ShapeError,
            "input must have shape (T, B, 4) or (T, 4) for one sequence, got (4,)",
            lambda net: net(torch.zeros(4)),
        ),
        (
            ShapeError,
            "input must have shape (T, 4), got (3, 9)",
            lambda net: net(torch.zeros(3, 9)),
        ),
        (
            ShapeError,
            "input must have shape (N, 4), got (3, 9)",
            lambda net: net(pack_sequence([torch.zeros(3, 9)])),
        ),
        (
            ArgumentError,
            "lengths and resets must be None for a PackedSequence, got one",
            lambda net: net(pack_sequence([BATCH[:, 0]]), lengths=[3]),
        ),
        (ShapeError, "hx must be a tuple (h, c), got Tensor", lambda net: net(BATCH, ONE)),
        (ShapeError, "hx must be a tuple (h, c), got a tuple of 1", lambda net: net(BATCH, (ONE,))),
        (ShapeError, "hx must hold tensors, got float", lambda net: net(BATCH, (ONE, 1.0))),
        (
            ShapeError,
            "hx (h) must have shape (1, 2, 5), got (1, 1, 5)",
            lambda net: net(BATCH, (ONE[:, :1], ONE)),
        ),
        (
            ShapeError,
            "hx (c) must have shape (1, 2, 5), got (2, 2, 5)",
            lambda net: net(BATCH, (ONE, torch.cat([ONE, ONE]))),
        ),
        (
            ShapeError,
            "hx (h) must have shape (1, 5), got (1, 2, 5)",
            lambda net: net(BATCH[:, 0], PAIR),
        ),
        (
            DtypeError,
            "must have the dtype of x, torch.float64, got torch.float32",
            lambda net: net(BATCH, (ONE.float(), ONE)),
        ),
        (
            ShapeError,
            "lengths must have shape (2,), one for each row, got (3,)",
            lambda net: net(BATCH, lengths=[1, 2, 3]),
        ),
        (
            ShapeError,
            "lengths must be one number for one sequence, got shape (2,)",
            lambda net: net(BATCH[:, 0], lengths=[1, 2]),
        ),
        (
            ShapeError,
            "resets must have shape (3,) for one sequence, got (3, 2)",
            lambda net: net(BATCH[:, 0], resets=torch.zeros(3, 2).bool()),
        ),
        (ArgumentError, "method must be one of", lambda net: net(BATCH, method="fast")),
        (ShapeError, "x must have at least one step", lambda net: net(BATCH[:0])),
        (
            ShapeError,
            "input must have shape (B, 4) or (4,) for one sequence, got (2, 9)",
            lambda net: net.step(torch.zeros(2, 9)),
        ),
        (
            ShapeError,
            "input must have shape (B, 4) or (4,) for one sequence, got (3, 2, 4)",
            lambda net: net.step(BATCH),
        ),
    ],
)
def test_bad_input_is_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=f"{re.escape(message)}"):
        call(recurra.LSTM(4, 5))


def test_resets_of_a_batch_first_layer_follow_the_input() -> None:
    net = recurra.GRU(4, 5, batch_first=True)
    with pytest.raises(
        ShapeError,
        match=re.escape("resets must have shape (3, 2), as the first axes of input, got (2, 3)"),
    ):
        net(BATCH, resets=torch.zeros(2, 3).bool())
    with pytest.raises(
        ShapeError,
        match=re.escape(
            "input must have shape (B, T, 4) or (T, 4) for one sequence, got (3, 2, 9)"
        ),
    ):
        net(torch.zeros(3, 2, 9))
