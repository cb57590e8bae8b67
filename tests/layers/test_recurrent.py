from __future__ import annotations

import copy
import io
import pickle
import re
from typing import Any

import pytest
import torch

import recurra
from recurra import cells
from recurra.errors import ArgumentError, DtypeError, ShapeError
from recurra.layers import Recurrent
from tests.cells.zoo import OWN, ZOO, assert_close, gradients, scene


@pytest.mark.parametrize("name", ZOO)
def test_every_cell_steps_as_the_whole(name: str) -> None:
    layer = Recurrent(ZOO[name], 3, 5, learned_state=True).eval()
    torch.nn.init.normal_(layer.initial_h)
    x = torch.randn(6, 2, 3)
    y, final = layer(x)
    state, steps = None, []
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        steps.append(y_t)
    assert_close([torch.stack(steps), state], [y, final])
    assert layer.output_size == y.shape[-1]


@pytest.mark.parametrize("name", ZOO)
def test_every_cell_trains_by_every_layer_option(name: str) -> None:
    layer = Recurrent(ZOO[name], 3, 5, learned_state=True)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.05)
    x, target = torch.randn(5, 4, 3), torch.randn(5, 4, layer.output_size) / 3
    losses = []
    for _ in range(15):
        torch.manual_seed(1)
        y, _ = layer(x, lengths=[5, 4, 1, 0])
        loss = (y - target).square()[:, :3].mean()
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize(
    "name",
    [
        "LSTM",
        "GRU",
        "ResetBeforeGRU",
        "LayerNormLSTM",
        "LayerNormGRU",
        "PeepholeLSTM",
        "ProjectedLSTM",
        "TwoPhase",
    ],
)
def test_biases_are_as_many_as_asked_for(name: str, biases: int) -> None:
    layer = Recurrent(ZOO[name], 3, 5, biases=biases)
    names = dict(layer.named_parameters())
    assert ("bias_ih" in names, "bias_hh" in names) == (biases >= 1, biases == 2)
    y, _ = layer(torch.randn(4, 2, 3))
    assert y.isfinite().all()
    assert_close(
        layer(torch.zeros(4, 2, 3), method="checkpointed")[0],
        layer(torch.zeros(4, 2, 3), method="loop")[0],
    )


def test_an_lstm_with_one_bias_has_the_textbooks_number_of_parameters() -> None:
    layer = Recurrent(cells.LSTM(), 7, 11, biases=1)
    assert sum(p.numel() for p in layer.parameters()) == 4 * (11**2 + 11 * 7 + 11)


@pytest.mark.parametrize("name", ["Zoneout", "RecurrentDropout", "AllThree", "ZoneoutOwn"])
def test_noise_is_drawn_when_training_and_only_then(name: str) -> None:
    layer, x = Recurrent(ZOO[name], 3, 5), torch.randn(6, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    torch.manual_seed(3)
    first = layer(x)[0]
    torch.manual_seed(3)
    assert_close(layer(x, method="checkpointed")[0], first)
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_a_lasting_mask_rides_in_the_state_and_can_be_redrawn() -> None:
    layer, x = Recurrent(ZOO["RecurrentDropout"], 3, 50), torch.randn(6, 2, 3)
    _y, state = layer(x[:3])
    _, after = layer(x[3:], state)
    assert torch.equal(state.dropout_h, after.dropout_h)
    assert set(state.dropout_h.unique().tolist()) == {0.0, 1 / 0.6}
    _, other = layer(x[3:], recurra.state.redraw(after))
    assert not torch.equal(after.dropout_h, other.dropout_h)
    layer.eval()
    assert layer(x, state)[1].dropout_h is None


def test_zoneout_keeps_the_share_that_was_asked_for() -> None:
    layer = Recurrent(cells.Zoneout(cells.LSTM(), h=0.3, c=0.1), 3, 40)
    done = layer.scan(torch.randn(50, 4, 3), keep=["states"])
    for name, rate in (("h", 0.3), ("c", 0.1)):
        value = getattr(done.states, name).detach()
        assert abs(float((value[1:] == value[:-1]).double().mean()) - rate) < 0.02


def test_a_probe_has_the_gradient_of_every_hidden_state() -> None:
    layer, x = Recurrent(cells.Probed(cells.GRU()), 3, 5), torch.randn(6, 2, 3)
    probe = torch.zeros(6, 2, 5, requires_grad=True)
    done = layer.scan(x, noise={"probe_h": probe}, keep=["states"])
    done.h[-1].sum().backward()
    assert_close(probe.grad[-1], torch.ones(2, 5))
    assert 0 < float(probe.grad[0].abs().max()) < float(probe.grad[-1].abs().max())


def test_copies_pickles_and_files() -> None:
    layer, x = (
        Recurrent(cells.Zoneout(cells.LSTM(), h=0.1), 3, 5, learned_state=True).eval(),
        torch.randn(4, 2, 3),
    )
    expected = layer(x)
    blob = io.BytesIO()
    torch.save(layer, blob)
    blob.seek(0)
    for again in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(blob, weights_only=False),
    ):
        assert_close(again(x), expected)
    assert_close(pickle.loads(pickle.dumps(expected[1])), expected[1])
    with torch.no_grad():
        state = layer(x)[1]
    assert type(copy.deepcopy(state)) is type(state)
    assert repr(layer) == "Recurrent(Zoneout(cell=LSTM(), h=0.1, c=0.0), 3, 5, biases=2)"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_and_device(dtype: torch.dtype) -> None:
    for name in ZOO:
        layer = Recurrent(ZOO[name], 3, 5, dtype=dtype)
        y, state = layer(torch.randn(4, 2, 3, dtype=dtype), method="loop")
        assert y.dtype == dtype == state.h.dtype and y.isfinite().all(), name
        ghost = Recurrent(ZOO[name], 3, 5, dtype=dtype, device="meta")
        assert (
            ghost(torch.zeros(4, 2, 3, dtype=dtype, device="meta"), method="loop")[0].shape
            == y.shape
        )


@pytest.mark.parametrize("name", ["Zoneout", "LSTM", "RecurrentDropout"])
@pytest.mark.parametrize(
    "error, message, x",
    [
        (DtypeError, "x must be a tensor, got list; use torch.as_tensor", [1.0]),
        (
            DtypeError,
            "x must have the dtype of the weights, torch.float64, got torch.int64",
            torch.zeros(4, 2, 3).long(),
        ),
        (ShapeError, "x must have shape (T, B, 3), got (2, 3)", torch.zeros(2, 3)),
        (ShapeError, "x must have at least one step and one row", torch.zeros(4, 0, 3)),
    ],
)
def test_bad_input_is_named_when_training_too(
    name: str, error: type[Exception], message: str, x: Any
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Recurrent(ZOO[name], 3, 5)(x)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("lstm", 3, 5),
            "cell must be a cell, got 'lstm'; write recurra.cells.LSTM(), for example",
        ),
        ((cells.LSTM, 3, 5), "cell must be a cell, got <class 'recurra.cells.lstm.LSTM'>"),
        ((cells.LSTM(), 0, 5), "input_size must be a positive whole number, got 0"),
        ((cells.LSTM(), 3, 2.0), "hidden_size must be a positive whole number, got 2.0"),
        ((cells.LSTM(), 3, 5, 3), "biases must be a whole number in 0..2, got 3"),
        (
            (cells.LSTM(), 3, 5, 2, False, "zero"),
            "init must be one of 'orthogonal', 'torch', got 'zero'",
        ),
    ],
)
def test_bad_options_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        Recurrent(*arguments)


@pytest.mark.parametrize("name", OWN)
def test_a_users_cell_works_wherever_a_built_in_one_does(name: str) -> None:
    cell = OWN[name]
    wrapped = cells.Zoneout(
        cells.RecurrentDropout(cell, 0.2) if cell.blocks("weight_hh") else cell, h=0.1
    )
    net = recurra.Stack(
        [
            Recurrent(cell, 3, 5),
            recurra.LockedDropout(0.2),
            recurra.Residual(Recurrent(wrapped, 5, 5)),
            recurra.Bidirectional(Recurrent(cell, 5, 4), Recurrent(wrapped, 5, 4)),
        ]
    )
    y, _state = net(torch.randn(6, 3, 3), lengths=[6, 1, 0], resets=torch.rand(6, 3) < 0.3)
    assert y.shape == (6, 3, 8)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert "weight_hh" not in dict(
        net.layers[0].named_parameters()
    ) or recurra.layers.WeightDropout(net.layers[0], 0.5)(torch.zeros(2, 1, 3))


@pytest.mark.parametrize("name", ["LSTM", "MinGRU", "CoupledLSTM"])
def test_gradients_of_a_layer_are_those_of_its_scan(name: str) -> None:
    layer, x = Recurrent(ZOO[name], 2, 5), scene(ZOO[name]).x
    leaves = {"x": x} | dict(layer.named_parameters())
    d, wanted = gradients(layer(x), leaves), gradients(layer(x, method="loop"), leaves)
    for leaf in wanted:
        assert_close(d[leaf], wanted[leaf], 1e-11, leaf)


@pytest.mark.parametrize("name", ["float", "cell", "init", "weights"])
def test_a_param_that_is_called_as_an_attribute_of_a_layer_is_refused(name: str) -> None:
    equations = {"pointwise": lambda self, a, s: dict(h=a.n * getattr(s, name), n=a.n)}
    cell = type("Named", (cells.Cell,), {"gates": ("n",), "params": (name,), **equations})
    with pytest.raises(
        ArgumentError,
        match=f"must not be called as an attribute of a layer, got {name!r}; rename it$",
    ):
        Recurrent(cell(), 3, 4)
