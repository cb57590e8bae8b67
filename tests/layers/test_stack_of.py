"""torch.nn.LSTM's options on any cell: layers, both directions, dropout between, the batch
first.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recurra
from recurra import cells, parity
from recurra.cells import Cell
from recurra.errors import ArgumentError, ConversionError, ShapeError
from recurra.export import network_of
from recurra.layers import Bidirectional, Recurrent, Residual, Stack
from recurra.layers.sequence import run_time_first
from recurra.state import select
from tests.cells.zoo import CoupledLSTM, IndRNN, assert_close, gradients

T, B, I, H = 7, 3, 2, 5
CELLS = {
    "LSTM": cells.LSTM(),
    "own": CoupledLSTM(),
    "no product": IndRNN(),
    "projected": cells.ProjectedLSTM(3),
}


def both_forms(cell: Cell, **options: Any) -> tuple[Stack, Stack]:
    """A stack that takes the time first, and one of the same weights that takes the batch first."""
    net = Stack.of(cell, I, H, num_layers=2, **options).eval()
    turned = Stack.of(cell, I, H, num_layers=2, batch_first=True, **options).eval()
    turned.load_state_dict(net.state_dict())
    return net, turned


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_of_an_lstm_it_is_torchs(bidirectional: bool, bias: bool) -> None:
    theirs = nn.LSTM(I, H, 2, bias=bias, bidirectional=bidirectional, batch_first=True)
    ours = Stack.of(
        cells.LSTM(),
        I,
        H,
        2,
        bidirectional=bidirectional,
        batch_first=True,
        biases=2 if bias else 0,
    )
    with torch.no_grad():
        for mine, weight in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(weight)
    x = torch.randn(B, T, I).requires_grad_()
    y, state = ours(x)
    wanted, (h, c) = theirs(x)
    assert_close(y, wanted)
    finals = [final for layer in state for final in (layer if bidirectional else (layer,))]
    assert_close(
        [torch.stack([final.h for final in finals]), torch.stack([final.c for final in finals])],
        [h, c],
    )
    d = torch.autograd.grad(y.sum(), [x, *ours.parameters()])
    assert_close(list(d), list(torch.autograd.grad(wanted.sum(), [x, *theirs.parameters()])))


@pytest.mark.parametrize("name", CELLS)
def test_its_state_is_one_for_each_layer_whatever_the_dropout(name: str) -> None:
    for options in ({}, {"dropout": 0.3}, {"batch_first": True}):
        y, state = Stack.of(CELLS[name], I, H, num_layers=3, **options)(torch.randn(T, T, I))
        width = 3 if name == "projected" else H
        assert (
            y.shape == (T, T, width)
            and len(state) == 3
            and all(type(each) is CELLS[name].state_type() for each in state)
        )
        assert all(each.h.shape == (T, width) for each in state)
    y, state = Stack.of(CELLS[name], I, H, num_layers=2, bidirectional=True)(torch.randn(T, B, I))
    assert (
        y.shape == (T, B, 2 * width)
        and [len(pair) for pair in state] == [2, 2]
        and state[1][0].h.shape == (B, width)
    )


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_batch_first_is_the_same_turned(name: str, bidirectional: bool) -> None:
    net, turned = both_forms(CELLS[name], bidirectional=bidirectional, learned_state=True)
    x, lengths, resets = torch.randn(T, B, I), [T, 1, 4], torch.rand(T, B) < 0.3
    first = net(torch.randn(T, B, I))[1]
    for options, theirs in (
        ({}, {}),
        ({"lengths": lengths}, {"lengths": lengths}),
        ({"resets": resets}, {"resets": resets.T}),
        ({"lengths": lengths, "resets": resets}, {"lengths": lengths, "resets": resets.T.tolist()}),
    ):
        y, state = net(x, first, **options)
        again, after = turned(x.transpose(0, 1), first, **theirs)
        assert_close([again.transpose(0, 1), after], [y, state])
        assert_close(run_time_first(turned, x, first, **options), (y, state))


@pytest.mark.parametrize("name", CELLS)
def test_chunks_steps_and_streams_are_the_whole(name: str) -> None:
    net, turned = both_forms(CELLS[name])
    x = torch.randn(T, B, I)
    whole, final = net(x)
    first, state = turned(x[:3].transpose(0, 1))
    rest, state = turned(x[3:].transpose(0, 1), state)
    assert_close([torch.cat([first, rest], 1).transpose(0, 1), state], [whole, final])
    state, steps = None, []
    for x_t in x:
        y_t, state = turned.step(x_t, state)
        steps.append(y_t)
    assert_close([torch.stack(steps), state], [whole, final])
    with torch.enable_grad():  # a step that autograd follows goes the way of a whole sequence
        assert_close(turned.step(x[0].clone().requires_grad_())[0], whole[0])
    stream = recurra.Stream(turned, batch=B)
    assert_close(
        torch.cat([stream.push(x[:2]), stream.push(x[2])[None], stream.push(x[3:])]), whole
    )
    stream.reset(rows=[1])
    assert_close(stream.push(x[:2])[:, 1], whole[:2, 1])
    alone = net(x[:, 1:2])[1]
    assert_close(select(final, [1]), alone)


@pytest.mark.parametrize(
    "net",
    [
        lambda first: Stack.of(CoupledLSTM(), I, H, 2, batch_first=first),
        lambda first: recurra.LSTM(I, H, 2, batch_first=first),
    ],
    ids=["stack", "LSTM"],
)
def test_every_path_holds_whichever_comes_first(net: Any) -> None:
    for first in (False, True):
        rows = parity.verify(net(first), torch.randn(T, B, I))
        assert len(rows) > 20 and all(row.holds for row in rows)


def test_dropout_is_between_layers_when_training() -> None:
    torch.manual_seed(4)
    net, x = Stack.of(cells.GRU(), I, 40, num_layers=2, dropout=0.5), torch.randn(T, B, I)
    seen: list[torch.Tensor] = []
    net.layers[1].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    y, state = net(x)
    first = net.layers[0](x)[0]
    share = (seen[0] == 0).double().mean()
    assert abs(float(share) - 0.5) < 0.1 and not torch.equal(seen[0][0] == 0, seen[0][1] == 0)
    assert_close(seen[0][seen[0] != 0], 2 * first[seen[0] != 0])
    assert (y != 0).all() and len(state) == 2
    net.step(x[0])
    assert len(seen) == 2 and abs(float((seen[1] == 0).double().mean()) - 0.5) < 0.2
    assert_close(net.eval()(x)[0], net.layers[1](first)[0])
    plain = Stack.of(cells.GRU(), I, 40, num_layers=2)
    plain.load_state_dict(net.state_dict())


def test_a_step_at_once_drops_between_layers_too() -> None:
    net, x = Stack.of(cells.Elman("relu"), 40, 40, num_layers=2, dropout=0.9), torch.ones(1, 40)
    with torch.no_grad():
        for layer in net.layers:
            layer.weight_ih.copy_(torch.eye(40))
        y = net.step(x)[0]
    assert 20 < int((y == 0).sum()) < 40 and torch.allclose(y.unique(), torch.tensor([0.0, 10.0]))


def test_options_reach_every_layer() -> None:
    net = Stack.of(
        cells.LSTM(),
        I,
        H,
        num_layers=2,
        biases=1,
        learned_state=True,
        init="torch",
        dtype=torch.float32,
        recompute=True,
    )
    for layer in net.layers:
        assert (
            isinstance(layer, Recurrent)
            and layer.biases == 1
            and layer.init == "torch"
            and layer.recompute
        )
        assert layer.initial_h.dtype == torch.float32
    assert [layer.input_size for layer in net.layers] == [I, H]
    both = Stack.of(cells.ProjectedLSTM(3), I, H, num_layers=2, bidirectional=True, device="meta")
    assert [type(layer) for layer in both.layers] == [Bidirectional] * 2 and both.layers[
        1
    ].backward_layer.input_size == 6
    assert both.layers[0].forward_layer.weight_ih.device.type == "meta"


def test_gradients_are_those_of_the_layers_one_by_one() -> None:
    net = Stack.of(CoupledLSTM(), I, H, num_layers=2, bidirectional=True, batch_first=True)
    x = torch.randn(B, T, I).requires_grad_()
    one, two = copy.deepcopy(net.layers)
    by_hand = two(one(x.transpose(0, 1))[0])[0].transpose(0, 1)
    leaves = {"x": x} | dict(net.named_parameters())
    others = (
        {"x": x}
        | {f"layers.0.{name}": w for name, w in one.named_parameters()}
        | {f"layers.1.{n}": w for n, w in two.named_parameters()}
    )
    assert_close(gradients(net(x)[0], leaves), gradients(by_hand, others))


def test_it_is_exported_where_it_can_stream(tmp_path: Path) -> None:
    for first in (False, True):
        net = Stack.of(
            CoupledLSTM(), I, H, num_layers=2, dropout=0.2, batch_first=first, dtype=torch.float32
        ).eval()
        x = torch.randn(T, 1, I, dtype=torch.float32)
        recurra.network.file.write(network_of(net), tmp_path / "m.rcr")
        session = recurra.runtime.load(tmp_path / "m.rcr").session(1)
        y = np.stack([session.push(x_t).copy() for x_t in x.numpy()])
        assert np.allclose(y, run_time_first(net, x)[0].detach().numpy(), atol=1e-6)
        rows = parity.verify_module(net, x.numpy())
        assert all(row.holds for row in rows) and rows[-1].path == (
            "module, (B, T, C)" if first else "module, (T, B, C)"
        )
    inside = nn.Sequential(
        nn.Linear(I, 4), Stack([Recurrent(cells.GRU(), 4, H), nn.Tanh()], batch_first=True)
    ).float()
    assert [type(layer).__name__ for layer in network_of(inside).layers] == [
        "Linear",
        "Recurrent",
        "Activation",
    ]
    with pytest.raises(
        ConversionError,
        match=(
            "module.0.0 must be able to stream, got Bidirectional: a bidirectional layer needs the"
            " whole future"
        ),
    ):
        network_of(Stack([Stack.of(cells.GRU(), I, H, bidirectional=True)]))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ArgumentError,
            "num_layers must be a positive whole number, got 0",
            lambda: Stack.of(cells.GRU(), I, H, num_layers=0),
        ),
        (
            ArgumentError,
            "dropout must be a number in [0, 1), got 1.0",
            lambda: Stack.of(cells.GRU(), I, H, 2, dropout=1.0),
        ),
        (
            ArgumentError,
            "dropout must be a number in [0, 1), got '0.1'",
            lambda: Stack([nn.Tanh(), nn.Tanh()], dropout="0.1"),
        ),
        (ArgumentError, "cell must be a cell, got 'lstm'", lambda: Stack.of("lstm", I, H)),
        (
            ArgumentError,
            "hidden_size must be a positive whole number, got 0",
            lambda: Stack.of(cells.GRU(), I, 0),
        ),
        (
            ArgumentError,
            "batch_first must be True or False, got 1",
            lambda: Stack([nn.Tanh()], batch_first=1),
        ),
        (
            ArgumentError,
            "layers must be (T, B, I) inside another module",
            lambda: Stack([Stack.of(cells.GRU(), I, I, batch_first=True)]),
        ),
        (
            ArgumentError,
            "layer must be (T, B, I) inside another module",
            lambda: Residual(Stack.of(cells.GRU(), I, I, batch_first=True)),
        ),
        (
            ShapeError,
            "resets must have shape (3, 7), as the first axes of input, got (7, 3)",
            lambda: Stack.of(cells.GRU(), I, H, batch_first=True)(
                torch.zeros(B, T, I), resets=torch.zeros(T, B).bool()
            ),
        ),
    ],
    ids=range(9),
)
def test_what_does_not_fit_is_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()


def test_dropout_of_one_layer_is_warned_of() -> None:
    text = (
        "dropout of Stack acts between layers, so dropout=0.3 does nothing with one layer; use"
        " recurra.LockedDropout after the layer"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
        Stack.of(cells.GRU(), I, H, dropout=0.3)


def test_it_prints_its_options() -> None:
    assert repr(Stack([nn.Tanh(), nn.Tanh()], dropout=0.3, batch_first=True)).startswith(
        "Stack(\n  dropout=0.3, batch_first=True\n"
    )
    assert repr(Stack([nn.Tanh()])).startswith("Stack(\n  (layers)")
