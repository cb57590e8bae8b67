from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.errors import ArgumentError
from recurra.layers import from_torch, replace
from tests.cells.zoo import assert_close
from tests.display.markup import Markup


class Model(nn.Module):
    """Every kind of recurrent module of torch.nn, one shared, one in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.lstm = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)
        self.projected = nn.LSTM(10, 6, proj_size=4, bias=False)
        self.inner = nn.ModuleList([nn.GRU(4, 4), nn.Sequential(nn.RNN(4, 4, nonlinearity="relu"))])
        self.cells = nn.ModuleDict(
            {
                "a": nn.LSTMCell(4, 4),
                "b": nn.GRUCell(4, 4),
                "c": nn.RNNCell(4, 4, nonlinearity="relu"),
            }
        )
        self.again = self.inner[0]

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.embed(x))
        y, _ = self.projected(y)
        y, _ = self.inner[0](y)
        y, _ = self.inner[1](y)
        y, _ = self.again(y)
        h, _ = self.cells["a"](y[-1])
        return self.cells["c"](self.cells["b"](h))


def test_every_module_is_swapped_and_the_numbers_stay() -> None:
    model, x = Model().eval(), torch.randn(3, 6, 3)
    expected, before = model(x), dict(model.named_parameters())
    keys = list(model.state_dict())
    done = replace(model)
    assert set(done.replaced) == {
        "lstm",
        "projected",
        "inner.0",
        "inner.1.0",
        "cells.a",
        "cells.b",
        "cells.c",
        "again",
    }
    assert done.left == {} and "replaced lstm: LSTM(4, 5, num_layers=2" in str(done)
    assert_close(model(x), expected)
    assert list(model.state_dict()) == keys
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert model.again is model.inner[0] and isinstance(model.again, recurra.GRU)
    assert not any(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in model.modules())
    assert not model.lstm.training and model.lstm.dropout == 0.2 and model.lstm.batch_first
    assert replace(model).replaced == {}


def test_the_report_says_that_the_new_modules_are_no_longer_torchs() -> None:
    model = nn.Sequential(nn.LSTM(3, 4), nn.GRUCell(4, 4), nn.GRUCell(4, 4))
    *_, last = str(replace(model)).splitlines()
    assert (
        last == "no longer torch.nn's GRUCell, LSTM: code that asks for isinstance(module,"
        " torch.nn.GRUCell) passes them by"
    )
    assert not isinstance(model[0], nn.LSTM) and not isinstance(model[1], nn.GRUCell)
    assert "no longer" not in str(replace(model))


def test_an_optimiser_made_before_still_trains() -> None:
    model = Model()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    replace(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(torch.randn(3, 6, 3)).sum().backward()
    optimiser.step()
    assert model.lstm.training
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert {f"{name}.weight_hh_l0" for name in ("lstm", "projected", "inner.0")} | {
        "cells.a.weight_ih",
        "embed.bias",
    } <= moved, before.keys() - moved


class Own(nn.LSTM):
    """Somebody's own forward."""


def test_what_would_change_is_left_with_the_reason() -> None:
    hooked, legacy, weighted = nn.GRU(3, 4), nn.LSTM(3, 4), nn.RNN(3, 4)
    hooked.register_forward_hook(lambda *args: None)
    legacy.register_full_backward_hook(lambda *args: None)
    nn.utils.parametrizations.weight_norm(weighted, "weight_hh_l0")
    model = nn.Sequential(Own(3, 4), hooked, legacy, weighted, nn.GRU(3, 4))
    done = replace(model)
    assert set(done.replaced) == {"4"}
    assert done.left["0"] == "Own is a subclass, whose own forward would be lost"
    assert done.left["1"] == done.left["2"] == "it has hooks" and "3" in done.left
    assert "left 0: Own is a subclass" in str(done)
    assert (
        str(replace(nn.Sequential(nn.Linear(2, 2)))) == "no recurrent module of torch.nn was found"
    )


def test_a_pruned_module_is_left() -> None:
    from torch.nn.utils import prune

    model = nn.Sequential(nn.RNNCell(3, 4))
    prune.l1_unstructured(model[0], "weight_hh", 0.5)
    assert replace(model).left == {"0": "it has hooks"}


def test_a_bare_module_cannot_be_swapped_in_place() -> None:
    with pytest.raises(
        ArgumentError,
        match=re.escape("model must contain the modules to swap, got a bare LSTM(3, 4); use"),
    ):
        replace(nn.LSTM(3, 4))


def test_from_torch_refuses_what_is_not_torchs() -> None:
    with pytest.raises(
        ArgumentError, match=r"module must be a plain torch.nn recurrent module, got Linear"
    ):
        from_torch(nn.Linear(3, 4))
    with pytest.raises(
        ArgumentError,
        match=r"module must be a plain torch.nn recurrent module, got Own: Own is a subclass",
    ):
        from_torch(Own(3, 4))


def test_from_torch_keeps_frozen_parameters_frozen_and_their_dtype() -> None:
    theirs = nn.LSTM(3, 4, dtype=torch.bfloat16)
    theirs.weight_hh_l0.requires_grad_(False)
    ours = from_torch(theirs)
    assert ours.weight_hh_l0 is theirs.weight_hh_l0 and not ours.weight_hh_l0.requires_grad
    ours.reset_parameters()
    assert float(ours.weight_ih_l0.detach().float().abs().max()) <= 0.5


def test_from_torch_says_nothing_new_about_dropout_of_one_layer() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        theirs = nn.LSTM(3, 4, dropout=0.5)
    assert from_torch(theirs).dropout == 0.5


def test_what_was_done_is_a_line_its_text_and_a_table() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 5), nn.LSTM(5, 6))
    model[2].register_forward_hook(lambda *_: None)
    done = replace(model)
    assert repr(done) == "Replacement(1 replaced, 1 left)" and str(done).startswith(
        "replaced 1: GRU(4, 5)\nleft 2: it has hooks\n"
    )
    assert Markup(done._repr_html_()).cells[1:] == [
        ["1", "replaced", "GRU(4, 5)"],
        ["2", "left", "it has hooks"],
    ]
    assert "no recurrent module" in Markup(replace(nn.Linear(2, 2))._repr_html_()).words


class Tied(nn.Module):
    """One weight across layers, one across directions, one in two modules, one twice in a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.GRU(4, 4, num_layers=2)
        self.a.weight_hh_l1 = self.a.weight_hh_l0
        self.b = nn.LSTM(4, 4, num_layers=2, bidirectional=True)
        for name in ("weight_ih_l0", "weight_hh_l1", "bias_ih_l0"):
            setattr(self.b, f"{name}_reverse", getattr(self.b, name))
        self.c = nn.GRU(8, 4, bias=False)
        self.c.weight_hh_l0 = self.a.weight_hh_l0
        self.d = nn.RNNCell(4, 4)
        self.d.weight_ih = self.d.weight_hh

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.a(x)
        y, _ = self.b(y)
        y, _ = self.c(y)
        return self.d(y[-1], y[0])


def ties(model: nn.Module) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), []).append(name)
    return found


def test_tied_parameters_stay_tied() -> None:
    model, x = Tied(), torch.randn(5, 2, 4)
    expected, before = model(x), ties(model)
    gradients = torch.autograd.grad(expected.sum(), list(model.parameters()))
    assert sorted(map(len, before.values()))[-1] == 3
    replace(model)
    assert ties(model) == before
    assert_close(model(x), expected)
    for found, gradient in zip(
        torch.autograd.grad(model(x).sum(), list(model.parameters())), gradients
    ):
        assert_close(found, gradient)


def test_tied_parameters_go_both_ways_in_state_dicts() -> None:
    theirs, ours = Tied(), Tied()
    replace(ours)
    x = torch.randn(5, 2, 4)
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    for source, target in ((theirs, ours), (ours, theirs)):
        with torch.no_grad():
            source.a.weight_hh_l0.normal_()
        before = ties(target)
        target.load_state_dict(source.state_dict())
        assert ties(target) == before
        assert_close(target(x), source(x))


def test_a_weight_that_is_no_parameter_is_left() -> None:
    model = nn.Sequential(nn.GRU(3, 4), nn.LSTMCell(3, 4, bias=False))
    for module, name in ((model[0], "weight_hh_l0"), (model[1], "weight_ih")):
        weight = getattr(module, name)
        delattr(module, name)
        setattr(module, name, weight.detach())
    assert replace(model).left == {
        "0": "its weight_hh_l0 is no parameter",
        "1": "its weight_ih is no parameter",
    }
