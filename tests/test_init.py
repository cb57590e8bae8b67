from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

import recurra
from recurra import cells, init
from recurra.errors import ArgumentError
from recurra.layers import Recurrent
from tests.cells.zoo import ZOO, assert_close


@pytest.mark.parametrize("name", ZOO)
def test_everything_starts_orthogonal_with_forget_bias_one(name: str) -> None:
    layer = Recurrent(ZOO[name], 3, 5)
    weights = layer.weights()
    for key, weight in weights.items():
        weight = weight.detach()
        if key in ("weight_ih", "weight_hh"):
            columns = 3 if key == "weight_ih" or "Projected" in name else 5
            for block in weight.split(5):
                assert_close(block.T @ block, torch.eye(columns), 1e-6)
        elif key == "weight_hr":
            assert_close(weight @ weight.T, torch.eye(3), 1e-6)
        elif key.startswith("gain"):
            assert torch.equal(weight, torch.ones_like(weight))
        elif key == "bias_ih" and "f" in layer.cell.gates:
            at = layer.cell.gates.index("f")
            expected = torch.zeros_like(weight)
            expected[5 * at : 5 * at + 5] = 1
            assert torch.equal(weight, expected)
        else:
            assert torch.equal(weight, torch.zeros_like(weight))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_orthogonal_is_as_exact_as_its_dtype(dtype: torch.dtype) -> None:
    weight = recurra.GRU(3, 6, dtype=dtype).weight_hh_l0.detach()[:6].double()
    assert float((weight @ weight.T - torch.eye(6)).abs().max()) < 8 * torch.finfo(dtype).eps


def test_forget_bias_sets_the_sum_of_both_biases() -> None:
    layer = recurra.LSTM(3, 5, num_layers=2, init="torch")
    before = layer.bias_hh_l1.detach().clone()
    init.forget_bias(layer, 2.5)
    for number in range(2):
        total = getattr(layer, f"bias_ih_l{number}") + getattr(layer, f"bias_hh_l{number}")
        assert_close(total[5:10], torch.full((5,), 2.5))
    assert_close(layer.bias_hh_l1[:5], before[:5])
    with pytest.raises(ArgumentError, match="module must hold a cell with a forget gate"):
        init.forget_bias(recurra.GRU(3, 4))


@pytest.mark.parametrize(
    "name, signs",
    [
        ("LSTM", {"f": 1, "i": -1}),
        ("GRU", {"z": 1}),
        ("ResetBeforeGRU", {"z": -1}),
        ("LayerNormLSTM", {"f": 1, "i": -1}),
        ("MinGRU", {"z": -1}),
        ("MinLSTM", {"f": 1, "i": -1}),
    ],
)
def test_chrono_spreads_memory_from_one_step_to_the_longest(
    name: str, signs: dict[str, int]
) -> None:
    layer = Recurrent(
        ZOO[name],
        3,
        4000,
        init=lambda module: [weight.detach().zero_() for weight in module.parameters()],
    )
    init.chrono(layer, 100)
    blocks = dict(zip(layer.cell.gates, layer.bias_ih.detach().chunk(len(layer.cell.gates))))
    first = None
    for gate, sign in signs.items():
        bias = sign * blocks[gate]
        assert float(bias.min()) >= 0 and float(bias.max()) <= math.log(99)
        assert abs(float(bias.exp().mean()) - 50) < 3
        first = bias if first is None else first
        assert_close(bias, first)
    assert all(float(blocks[gate].abs().max()) == 0 for gate in blocks if gate not in signs)


def test_chrono_says_what_does_not_fit() -> None:
    with pytest.raises(
        ArgumentError, match="longest must be a number, 3 or more, got 2; it counts"
    ):
        init.chrono(recurra.LSTM(3, 4), 2)
    with pytest.raises(
        ArgumentError,
        match=(
            r"module must hold cells with gates that keep and a bias, got"
            r" Elman\(nonlinearity='tanh'\)"
        ),
    ):
        init.chrono(recurra.RNN(3, 4), 10)
    with pytest.raises(
        ArgumentError, match=r"module must hold cells with gates that keep and a bias, got LSTM\(\)"
    ):
        init.chrono(recurra.LSTM(3, 4, bias=False), 10)


def test_identity_makes_an_elman_network_carry() -> None:
    layer = recurra.RNN(3, 5, nonlinearity="relu", init=lambda module: init.identity(module, 0.5))
    assert_close(layer.weight_hh_l0, 0.5 * torch.eye(5))
    assert float(layer.bias_ih_l0.detach().abs().sum() + layer.bias_hh_l0.detach().abs().sum()) == 0
    gru = Recurrent(cells.ResetBeforeGRU(), 3, 5)
    before = gru.weight_ih.detach().clone()
    init.identity(gru)
    assert_close(gru.weight_hh, torch.eye(5).repeat(3, 1))
    assert torch.equal(gru.weight_ih, before)


@pytest.mark.parametrize("name", ZOO)
def test_torch_uniform_has_torchs_bound(name: str) -> None:
    layer = Recurrent(ZOO[name], 3, 25, init="torch")
    for key, weight in layer.weights().items():
        if key.startswith("gain"):
            assert torch.equal(weight, torch.ones_like(weight))
        else:
            assert 0.15 < float(weight.detach().abs().max()) <= 0.2


def test_initialisers_reach_every_layer_of_a_model() -> None:
    net = nn.ModuleList(
        [
            recurra.LSTM(3, 4, bidirectional=True),
            recurra.LSTMCell(3, 4),
            recurra.Stack([Recurrent(cells.PeepholeLSTM(), 3, 4)]),
        ]
    )
    assert len(list(init.parts(net))) == 4
    init.torch_uniform(net)
    init.default(net)
    assert (
        net[0].bias_ih_l0_reverse.tolist()[4:8] == [1.0] * 4
        and net[1].bias_ih.tolist()[4:8] == [1.0] * 4
    )
    assert all(torch.equal(net[2].layers[0].p_i, torch.zeros(4)) for _ in range(1))
    with pytest.raises(ArgumentError, match="module must hold a recurra layer, got Linear"):
        init.orthogonal(nn.Linear(3, 4))


def test_a_learned_state_starts_at_zero_and_shared_weights_keep_their_gradient_flag() -> None:
    layer = Recurrent(cells.LSTM(), 3, 4, learned_state=True, init="torch")
    assert float(layer.initial_h.detach().abs().sum() + layer.initial_c.detach().abs().sum()) == 0
    assert all(p.requires_grad and p.is_leaf for p in layer.parameters())


def test_an_unknown_initialiser_is_named() -> None:
    with pytest.raises(
        ArgumentError,
        match=re.escape(
            "init must be one of 'orthogonal', 'torch', got 'torhc'; did you mean 'torch'?"
        ),
    ):
        recurra.GRU(3, 4, init="torhc")


@pytest.mark.parametrize("name", ["weight_of_time", "gain_of_time"])
def test_a_param_starts_at_zero_whatever_it_is_called(name: str) -> None:
    equations = {"pointwise": lambda self, a, s: dict(h=a.n * getattr(s, name), n=a.n)}
    cell = type("Named", (cells.Cell,), {"gates": ("n",), "params": (name,), **equations})
    assert not getattr(Recurrent(cell(), 3, 4), name).any()
