from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.errors import ArgumentError, DtypeError, ShapeError
from tests.cells.zoo import assert_close, gradients

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNNCell": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", dict(nonlinearity="relu")),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
}
ZEROS = torch.zeros(2, 5, dtype=torch.float64)


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    name, more = KINDS[kind]
    theirs, ours = (
        getattr(nn, name)(4, 5, **more, **options),
        getattr(recurra, name)(4, 5, **more, **options),
    )
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("rows", [None, 1, 3])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_torch(
    kind: str, bias: bool, with_state: bool, rows: int | None
) -> None:
    theirs, ours = pair(kind, bias=bias)
    shape = () if rows is None else (rows,)
    x, h, c = (torch.randn(*shape, size).requires_grad_() for size in (4, 5, 5))
    hx = None if not with_state else (h, c) if "LSTM" in kind else h
    found, expected = ours(x, hx), theirs(x, hx)
    assert type(found) is type(expected)
    assert_close(found, expected)
    leaves = {"x": x, "h": h, "c": c}
    d, wanted = (
        gradients(found, leaves | dict(ours.named_parameters())),
        gradients(expected, leaves | dict(theirs.named_parameters())),
    )
    for name in wanted:
        assert_close(d[name], wanted[name], what=name)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_copies_and_dtype(kind: str) -> None:
    theirs, ours = pair(kind)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 4)
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_close(again(x), ours(x))
    name, more = KINDS[kind]
    assert {
        p.dtype for p in getattr(recurra, name)(4, 5, dtype=torch.bfloat16, **more).parameters()
    } == {torch.bfloat16}
    assert {
        p.device.type for p in getattr(recurra, name)(4, 5, device="meta", **more).parameters()
    } == {"meta"}
    assert repr(ours).startswith(name + "(4, 5")


@pytest.mark.parametrize(
    "error, message, call",
    [
        (
            ShapeError,
            "input must have shape (B, 4) or (4,), got (2, 9)",
            lambda cell: cell(torch.zeros(2, 9)),
        ),
        (
            ShapeError,
            "input must have shape (B, 4) or (4,), got (3, 2, 4)",
            lambda cell: cell(torch.zeros(3, 2, 4)),
        ),
        (ShapeError, "input must have shape (B, 4) or (4,), got list", lambda cell: cell([1.0])),
        (
            ShapeError,
            "hx must be a tuple (h, c), got Tensor",
            lambda cell: cell(ZEROS[:, :4], ZEROS),
        ),
        (
            ShapeError,
            "hx must be a tuple (h, c), got tuple",
            lambda cell: cell(ZEROS[:, :4], (ZEROS,)),
        ),
        (
            ShapeError,
            "hx (h) must have shape (2, 5), got (1, 5); nothing is broadcast",
            lambda cell: cell(ZEROS[:, :4], (ZEROS[:1], ZEROS)),
        ),
        (
            DtypeError,
            "hx (c) must have the dtype of x, torch.float64, got torch.float32",
            lambda cell: cell(ZEROS[:, :4], (ZEROS, ZEROS.float())),
        ),
        (
            DtypeError,
            "hx (c) must be a tensor, got float",
            lambda cell: cell(ZEROS[:, :4], (ZEROS, 1.0)),
        ),
        (
            DtypeError,
            "hx (h) must be a tensor, got float",
            lambda cell: cell(ZEROS[0, :4], (1.0, ZEROS[0])),
        ),
        (
            DtypeError,
            "input must have the dtype of the weights, torch.float64, got torch.float32",
            lambda cell: cell(ZEROS[:, :4].float()),
        ),
    ],
)
def test_bad_input_is_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(recurra.LSTMCell(4, 5))


def test_bad_options_are_named() -> None:
    with pytest.raises(ArgumentError, match="input_size must be a positive whole number, got 0"):
        recurra.GRUCell(0, 5)
    with pytest.raises(ArgumentError, match="hidden_size must be a positive whole number, got '5'"):
        recurra.GRUCell(4, "5")
    with pytest.raises(ArgumentError, match="nonlinearity must be one of"):
        recurra.RNNCell(4, 5, nonlinearity="sin")
    with pytest.raises(ArgumentError, match="init must be one of"):
        recurra.LSTMCell(4, 5, init="zeros")
