"""Weights that hooks of torch.nn.utils compute are read as a call would compute them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import recurra
from recurra import cells
from recurra.convert import to_keras_weights, to_torch
from recurra.convert.keras import Backward
from recurra.errors import ArgumentError, ConversionError
from recurra.export.from_torch import network_of
from recurra.layers import from_torch
from recurra.layers.weight_hooks import copy_module
from recurra.network import Loop
from recurra.parity import verify, verify_module

pytestmark = pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated")
I, H = 3, 4


def spectral(module: nn.Module, name: str) -> None:
    nn.utils.spectral_norm(module, name)


HOOKS: dict[str, Callable[[nn.Module, str], Any]] = {
    "prune": lambda module, name: prune.l1_unstructured(module, name, 0.5),
    "prune twice": lambda module, name: prune.random_unstructured(
        prune.l1_unstructured(module, name, 0.25), name, 0.5
    ),
    "weight norm": lambda module, name: nn.utils.weight_norm(module, name),
    "spectral norm": spectral,
    "parametrized weight norm": lambda module, name: parametrizations.weight_norm(module, name),
    "parametrized spectral norm": lambda module, name: parametrizations.spectral_norm(module, name),
}
MODULES: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "torch LSTM": (lambda: nn.LSTM(I, H), "", "weight_hh_l0"),
    "torch GRU": (lambda: nn.Sequential(nn.GRU(I, H)), "0", "weight_ih_l0"),
    "torch cell": (lambda: nn.GRUCell(I, H), "", "weight_hh"),
    "Linear": (lambda: nn.Sequential(nn.Linear(I, H), nn.Tanh()), "0", "weight"),
    "LSTM": (lambda: recurra.LSTM(I, H), "", "weight_hh_l0"),
    "Recurrent": (lambda: recurra.Recurrent(cells.GRU(), I, H), "", "weight_hh"),
    "cell": (lambda: recurra.GRUCell(I, H), "", "weight_ih"),
    "WeightDropout": (
        lambda: recurra.WeightDropout(recurra.Recurrent(cells.GRU(), I, H), 0.5),
        "layer",
        "weight_hh",
    ),
    "Stack": (
        lambda: recurra.Stack([recurra.Recurrent(cells.GRU(), I, H), nn.Linear(H, 2)]),
        "layers.1",
        "weight",
    ),
}
PAIRS = [(hook, module) for hook in HOOKS for module in MODULES]


def hooked(hook: str, module: str) -> nn.Module:
    make, place, name = MODULES[module]
    made = make()
    HOOKS[hook](made.get_submodule(place), name)
    return made


def loaded(hook: str, module: str) -> nn.Module:
    """A module that was given another's state dict and has not run since."""
    one, other = hooked(hook, module), hooked(hook, module)
    other.load_state_dict(one.state_dict())
    return other


def whole(module: nn.Module, x: Tensor) -> Tensor:
    """The outputs of a module at evaluation, of a copy that runs first with its own hooks."""
    twin = module.eval()
    with torch.no_grad():
        if isinstance(twin, (nn.GRUCell, recurra.GRUCell)):
            h, outputs = None, []
            for step in x:
                h = twin(step, h)
                outputs.append(h)
            return torch.stack(outputs)
        done = twin(x)
        return done[0] if isinstance(done, tuple) else done


@pytest.mark.parametrize(("hook", "module"), PAIRS)
def test_what_was_just_loaded_is_exported_as_it_runs(hook: str, module: str) -> None:
    made, x = loaded(hook, module), torch.randn(6, 2, I)
    network = network_of(made, check=False)
    found = Loop(network, 2).run(x.numpy())
    np.testing.assert_allclose(found, whole(made, x).numpy(), rtol=0, atol=1e-6)
    network_of(loaded(hook, module))


@pytest.mark.parametrize(("hook", "module"), PAIRS)
def test_an_optimiser_step_is_in_the_export(hook: str, module: str) -> None:
    made, x = hooked(hook, module), torch.randn(6, 2, I)
    optimiser = torch.optim.SGD(made.parameters(), lr=1e-3)
    for _ in range(2):
        optimiser.zero_grad()
        done = made(x[0]) if "cell" in module else made(x)
        (done[0] if isinstance(done, tuple) else done).square().sum().backward()
        optimiser.step()
    found = Loop(network_of(made), 2).run(x.numpy())
    np.testing.assert_allclose(found, whole(made, x).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("module", list(MODULES))
def test_reading_moves_no_buffer_of_spectral_norm(module: str) -> None:
    made = hooked("spectral norm", module).train()
    before = copy.deepcopy(dict(made.named_buffers()))
    network_of(made)
    x = torch.randn(6, 2, I)
    if module not in ("torch cell", "cell"):
        assert all(row.holds for row in verify_module(made, x.float().numpy()))
    if isinstance(made, recurra.Recurrent):
        to_keras_weights(made)
    assert all(torch.equal(value, before[name]) for name, value in made.named_buffers()) and before


@pytest.mark.parametrize("hook", list(HOOKS))
@pytest.mark.parametrize("module", ["LSTM", "Recurrent", "WeightDropout", "Stack"])
def test_a_stream_reads_what_was_loaded(hook: str, module: str) -> None:
    made, x = loaded(hook, module), torch.randn(6, 2, I)
    stream = recurra.Stream(made, batch=2)
    found = torch.stack([stream.push(step) for step in x])
    torch.testing.assert_close(found, whole(made, x), rtol=0, atol=1e-12)
    assert all(row.holds for row in verify(made, x)) and all(
        row.holds for row in verify_module(made, x.numpy())
    )


@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_container_that_scans_a_layer_runs_its_hooks(hook: str) -> None:
    def layer() -> recurra.Recurrent:
        made = recurra.Recurrent(cells.GRU(), I, H)
        HOOKS[hook](made, "weight_hh")
        return made

    for make in (
        lambda: recurra.Bidirectional(layer(), layer()),
        lambda: recurra.WeightDropout(layer(), 0.0),
        lambda: Backward(layer()),
    ):
        module, x = make(), torch.randn(5, 2, I)
        inner = next(each for each in module.modules() if isinstance(each, recurra.Recurrent))
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(2):  # twice: a weight that is not computed anew has a graph that is gone
            optimiser.zero_grad()
            module(x)[0].square().sum().backward()
            optimiser.step()
        module.eval()
        given = x.flip(0) if isinstance(module, Backward) else x
        torch.testing.assert_close(module(x)[0][..., :H], inner(given)[0], rtol=0, atol=1e-12)


def test_spectral_norm_iterates_in_training_inside_a_container() -> None:
    layer = recurra.Recurrent(cells.GRU(), I, H)
    spectral(layer, "weight_hh")
    both = recurra.Bidirectional(layer, recurra.Recurrent(cells.GRU(), I, H))
    before = layer.weight_hh_u.clone()
    both(torch.randn(3, 1, I))
    after = layer.weight_hh_u.clone()
    assert not torch.equal(before, after)
    both.eval()(torch.randn(3, 1, I))
    assert torch.equal(layer.weight_hh_u, after)


def test_conversions_read_computed_weights_or_refuse_them() -> None:
    layer = loaded("prune", "Recurrent")
    weights = to_keras_weights(layer)
    layer(torch.zeros(1, 1, I))
    assert np.array_equal(np.asarray(weights[1]), np.asarray(to_keras_weights(layer)[1]))
    with pytest.raises(
        ConversionError,
        match="^weight_hh must be a parameter, got one that a hook or a parametrisation computes",
    ):
        to_torch(layer)
    with pytest.raises(ArgumentError, match=re.escape("got LSTM: it has hooks")):
        from_torch(loaded("prune", "torch LSTM"))


def test_a_copy_leaves_the_module_its_graph() -> None:
    for module in (hooked("prune", "torch LSTM"), hooked("spectral norm", "LSTM")):
        y = module(torch.randn(2, 1, I))[0]
        weight = module.weight_hh_l0
        assert not weight.is_leaf
        twin = copy_module(module)
        assert module.weight_hh_l0 is weight and not twin.training and module.training
        y.sum().backward()
