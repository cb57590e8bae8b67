from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra import cells
from recurra.errors import ArgumentError, ShapeError
from recurra.layers import (
    GRU,
    Bidirectional,
    LockedDropout,
    Recurrent,
    Residual,
    Stack,
    WeightDropout,
)
from recurra.state import redraw
from tests.cells.zoo import assert_close, gradients


def rich() -> Stack:
    """One of everything that can stream."""
    return Stack(
        [
            nn.Linear(3, 4),
            Recurrent(cells.LayerNormLSTM(), 4, 5),
            LockedDropout(0.3),
            nn.Linear(5, 6),
            Residual(
                Recurrent(
                    cells.Zoneout(cells.RecurrentDropout(cells.LSTM(), 0.2), h=0.1, c=0.05), 6, 6
                )
            ),
            Residual(Stack([GRU(6, 6, num_layers=2), LockedDropout(0.1)])),
            Recurrent(cells.MinGRU(), 6, 2, learned_state=True),
        ]
    )


def test_steps_and_chunks_equal_the_whole() -> None:
    net, x = rich().eval(), torch.randn(9, 2, 3)
    y, final = net(x)
    state, parts = None, []
    for start, stop in ((0, 1), (1, 5), (5, 9)):
        part, state = net(x[start:stop], state)
        parts.append(part)
    assert_close([torch.cat(parts), state], [y, final])
    state, parts = None, []
    for x_t in x:
        part, state = net.step(x_t, state)
        parts.append(part)
    assert_close([torch.stack(parts), state], [y, final])


def test_chunks_equal_the_whole_in_training_too_where_no_noise_is_drawn_each_step() -> None:
    net = Stack(
        [
            Recurrent(cells.RecurrentDropout(cells.GRU(), 0.4), 3, 6),
            LockedDropout(0.4),
            Residual(Recurrent(cells.LSTM(), 6, 6)),
        ]
    )
    x = torch.randn(8, 2, 3)
    _, masks = net(x)
    first = tuple(recurra.state.transform(state, torch.zeros_like) for state in masks)
    first = (first[0]._replace(dropout_h=masks[0].dropout_h), masks[1], first[2])
    whole, _ = net(x, first)
    start, state = net(x[:3], first)
    end, _ = net(x[3:], state)
    assert_close(torch.cat([start, end]), whole)
    assert not torch.equal(net(x, redraw(first))[0], whole)


def test_ragged_rows_equal_each_row_run_alone_and_padding_may_hold_nan() -> None:
    net = Stack([*rich().layers, nn.Linear(2, 3), nn.Tanh()]).eval()
    lengths, x = [6, 1, 4], torch.randn(6, 3, 3)
    padding = torch.arange(6)[:, None] >= torch.tensor(lengths)
    spoilt = x.masked_fill(padding[..., None], torch.nan).requires_grad_()
    y, state = net(spoilt, lengths=lengths)
    assert float(y.detach()[padding].abs().sum()) == 0
    for row, n in enumerate(lengths):
        alone, final = net(x[:n, row : row + 1])
        assert_close(y[:n, row : row + 1], alone)
        assert_close(recurra.state.select(state, [row]), final)
    leaves = {"x": spoilt} | dict(net.named_parameters())
    assert all(value.isfinite().all() for value in gradients(y, leaves).values())


def test_bidirectional_is_one_scan_each_way() -> None:
    there, back = Recurrent(cells.LSTM(), 3, 4), Recurrent(cells.GRU(), 3, 5)
    both, x = Bidirectional(there, back), torch.randn(6, 2, 3)
    y, (first, second) = both(x, lengths=[6, 2])
    assert_close(y[:, 0, :4], there(x[:, 0:1])[0][:, 0])
    assert_close(y[:2, 1, 4:], back(x[:2, 1:2].flip(0))[0][:, 0].flip(0))
    assert_close([first.h[1], second.h[1]], [y[1, 1, :4], y[0, 1, 4:]])
    again, _ = both(x, (first, second), resets=torch.zeros(6, 2).bool())
    assert not torch.equal(again, y)
    masked = Bidirectional(WeightDropout(there, 0.5), back)
    assert masked(x)[0].shape == (6, 2, 9)


@pytest.mark.parametrize(
    "net, path",
    [
        (lambda both: both, "a bidirectional layer needs"),
        (lambda both: Stack([nn.Linear(4, 4), both]), "layer 1: a bidirectional layer needs"),
        (lambda both: Residual(both), "layer: a bidirectional layer needs"),
        (
            lambda both: Stack([Stack([nn.Tanh(), Residual(both)])]),
            "layer 0: layer 1: layer: a bidirectional layer needs",
        ),
        (
            lambda both: Stack([GRU(4, 4, bidirectional=True)]),
            "layer 0: a bidirectional layer needs",
        ),
    ],
)
def test_what_cannot_stream_says_where_and_why(net: Any, path: str) -> None:
    net = net(Bidirectional(Recurrent(cells.GRU(), 4, 2), Recurrent(cells.GRU(), 4, 2)))
    assert net.streaming_obstacle().startswith(path)
    with pytest.raises(
        ArgumentError,
        match=f"^step must be called on a module that can stream, got {type(net).__name__}: {path}",
    ):
        net.step(torch.zeros(2, 4))


def test_residual_adds_its_input_within_the_lengths() -> None:
    inner, x = Recurrent(cells.LSTM(), 4, 4), torch.randn(5, 2, 4)
    y, _ = Residual(inner)(x, lengths=[5, 2])
    assert_close(y[:2], x[:2] + inner(x)[0][:2])
    assert float(y.detach()[2:, 1].abs().sum()) == 0


LAYER = Recurrent(cells.GRU(), 4, 5, dtype=torch.float64)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (ArgumentError, "layers must be modules, got 'lstm'", lambda: Stack(["lstm"])),
        (ArgumentError, "layers must hold at least one module, got none", lambda: Stack([])),
        (
            ArgumentError,
            "layers must be recurra's, got torch.nn's LSTM(3, 4); use recurra.layers.from_torch",
            lambda: Stack([nn.LSTM(3, 4)]),
        ),
        (
            ArgumentError,
            (
                "layers must be (T, B, I) inside another module, got GRU(3, 4, batch_first=True);"
                " leave batch_first out"
            ),
            lambda: Stack([GRU(3, 4, batch_first=True)]),
        ),
        (
            ArgumentError,
            "layer must be (T, B, I) inside another module",
            lambda: Residual(GRU(4, 4, batch_first=True)),
        ),
        (
            ArgumentError,
            "layer must be a module over time, got Linear",
            lambda: Residual(nn.Linear(4, 4)),
        ),
        (
            ArgumentError,
            "forward must be a Recurrent layer, got Linear",
            lambda: Bidirectional(nn.Linear(3, 4), LAYER),
        ),
        (
            ArgumentError,
            "backward must be a Recurrent layer, got GRU",
            lambda: Bidirectional(LAYER, GRU(3, 4)),
        ),
        (
            ShapeError,
            "state must be a tuple of 1, one for each layer, got 2",
            lambda: Stack([LAYER])(torch.zeros(2, 1, 4), (None, None)),
        ),
        (
            ShapeError,
            "state must be a tuple of 1, one for each layer, got Tensor",
            lambda: Stack([LAYER])(torch.zeros(2, 1, 4), torch.zeros(1)),
        ),
        (
            ShapeError,
            "state must be a pair (forward, backward), got Tensor",
            lambda: Bidirectional(LAYER, LAYER)(torch.zeros(2, 1, 4), torch.zeros(1)),
        ),
        (
            ShapeError,
            "layer must give back the shape of x, (2, 1, 4), got (2, 1, 5)",
            lambda: Residual(LAYER)(torch.zeros(2, 1, 4)),
        ),
        (
            ShapeError,
            "state.mask must have shape (2, 4), got (1, 4)",
            lambda: LockedDropout(0.5)(
                torch.ones(3, 2, 4), LockedDropout(0.5)(torch.ones(3, 1, 4))[1]
            ),
        ),
        (ArgumentError, "rate must be a number in [0, 1), got 1.0", lambda: LockedDropout(1.0)),
        (ArgumentError, "rate must be a number in [0, 1), got '0.1'", lambda: LockedDropout("0.1")),
        (
            ArgumentError,
            "rate must be a number in [0, 1), got True",
            lambda: WeightDropout(LAYER, True),
        ),
        (
            ArgumentError,
            "layer must be a Recurrent layer, got GRU",
            lambda: WeightDropout(GRU(3, 4), 0.5),
        ),
        (
            ArgumentError,
            (
                "names must be one of 'bias_hh', 'bias_ih', 'weight_hh', 'weight_ih', got"
                " 'weight_h'; did you mean"
            ),
            lambda: WeightDropout(LAYER, 0.5, ["weight_h"]),
        ),
    ],
)
def test_what_does_not_fit_is_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


def test_locked_dropout_keeps_one_mask_for_a_sequence() -> None:
    dropout, x = LockedDropout(0.4), torch.ones(5, 3, 200)
    y, state = dropout(x)
    assert torch.equal(y, state.mask.expand(5, 3, 200))
    assert set(state.mask.unique().tolist()) == {0.0, 1 / 0.6}
    assert abs(float((state.mask == 0).double().mean()) - 0.4) < 0.05
    assert torch.equal(dropout(x, state)[0], y) and not torch.equal(dropout(x)[0], y)
    assert dropout.eval()(x, state)[0] is x
    assert LockedDropout(0)(x)[0] is x and repr(LockedDropout(0.4)) == "LockedDropout(0.4)"


def test_weight_dropout_drops_weights_in_training_and_leaves_the_parameters() -> None:
    layer, x = Recurrent(cells.LSTM(), 3, 30), torch.randn(5, 2, 3)
    dropped = WeightDropout(layer, 0.5, ["weight_hh", "weight_ih"])
    before = layer.weight_hh.detach().clone()
    used = dropped.weights()
    assert (
        abs(float((used["weight_hh"] == 0).double().mean()) - 0.5) < 0.05
        and (used["weight_ih"] == 0).any()
    )
    assert_close(used["weight_hh"][used["weight_hh"] != 0], 2 * before[used["weight_hh"] != 0])
    assert not torch.equal(dropped(x)[0], dropped(x)[0])
    dropped(x)[0].sum().backward()
    assert layer.weight_hh.grad is not None and torch.equal(layer.weight_hh, before)
    assert list(dict(dropped.named_parameters())) == [f"layer.{name}" for name in layer.weights()]
    assert_close(dropped.eval()(x), layer(x))
    assert repr(dropped).startswith("WeightDropout(\n  0.5, names=('weight_hh', 'weight_ih')")
