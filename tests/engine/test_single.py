"""One step at once gives the general way's bits, and leaves it whatever is out of the ordinary."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from recurra import cells
from recurra.engine import forcing, listening, probing, scan, single
from tests.cells.zoo import ZOO, Scene, scene, tensors

native = pytest.importorskip("recurra.native")
SCAN: Any = importlib.import_module("recurra.engine.scan")


@pytest.fixture
def without_gradients() -> Any:
    with torch.no_grad():
        yield


def plainly(*arguments: Any) -> Any:
    """A scan the general way."""
    with listening(lambda job, choice: None):
        return scan(*arguments)


def same(found: Any, expected: Any) -> None:
    """Equal in every bit, form and kind."""
    assert type(found) is type(expected) and type(found.final) is type(expected.final)
    assert len(found.final) == len(expected.final) and found.states is None and found.gates is None
    for mine, other in zip(tensors(found), tensors(expected), strict=True):
        assert (
            mine.dtype == other.dtype
            and mine.shape == other.shape
            and mine.is_contiguous()
            and torch.equal(mine, other)
        )


def cast(
    at: Scene, dtype: torch.dtype
) -> tuple[Any, dict[str, Tensor], Tensor, tuple[Tensor, ...]]:
    """Cell, weights, x and state without gradients, in a dtype."""
    weights = {name: weight.detach().to(dtype) for name, weight in at.weights.items()}
    return (
        at.cell,
        weights,
        at.x.detach().to(dtype),
        tuple(value.detach().to(dtype) for value in at.state),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("B", [1, 4])
@pytest.mark.parametrize("name", ZOO)
def test_every_cell_gives_the_bits_of_the_general_way(
    name: str, B: int, dtype: torch.dtype, without_gradients: None
) -> None:
    for H, learned in ((5, True), (33, False)):
        cell, weights, x, state = cast(scene(ZOO[name], T=1, B=B, H=H, learned=learned), dtype)
        for before in (state, None, cell.state_type()(*state, *[None] * len(cell.lasting()))):
            done = single.run(cell, weights, x, before)
            assert done is not None
            same(done, plainly(cell, weights, x, before))
            same(scan(cell, weights, x, before), done)
            short = single.run(cell, weights, x[0], before)
            assert short is not None and torch.equal(short.h, done.h[0])


@pytest.mark.parametrize("biases", [0, 1, 2])
def test_weights_that_may_be_missing_may(biases: int, without_gradients: None) -> None:
    for cell in (cells.LSTM(), cells.GRU(), cells.LayerNormLSTM(), cells.PeepholeLSTM()):
        weights = {name: torch.randn(shape) for name, shape in cell.weights(3, 5, biases).items()}
        x, turned = torch.randn(1, 2, 3), dict(reversed(weights.items()))
        expected = plainly(cell, weights, x)
        for given in (weights, turned):
            done = single.run(cell, given, x, None)
            assert done is not None
            same(done, expected)


def test_what_is_strided_is_read_where_it_lies(without_gradients: None) -> None:
    cell, weights, x, state = cast(scene(cells.LSTM(), T=1, B=3, I=4), torch.float64)
    spread = tuple(torch.stack([value, value + 1], -1)[..., 0] for value in state)
    wide = torch.stack([x, x + 1], -1)[..., 0]
    assert not wide.is_contiguous() and not spread[0].is_contiguous()
    done = single.run(cell, weights, wide, spread)
    assert done is not None
    same(done, plainly(cell, weights, x, state))
    turned = weights | {"weight_hh": weights["weight_hh"].T.contiguous().T}
    assert single.run(cell, turned, x, state) is None
    same(scan(cell, turned, x, state), done)


def test_what_comes_out_shares_no_memory(without_gradients: None) -> None:
    cell, weights, x, state = cast(scene(cells.LSTM(), T=1, B=2), torch.float32)
    first = scan(cell, weights, x, state)
    again = scan(cell, weights, x, state)
    places = [
        value.untyped_storage().data_ptr()
        for value in (*tensors(first), *tensors(again), x, *state, *weights.values())
    ]
    assert len(set(places)) == len(places)
    assert all(
        not value.requires_grad and value.untyped_storage().nbytes() == 4 * value.numel()
        for value in tensors(first)
    )


def test_weights_are_read_anew_at_each_step(without_gradients: None) -> None:
    cell, weights, x, state = cast(scene(cells.GRU(), T=1, B=2), torch.float64)
    parameters = {name: torch.nn.Parameter(weight) for name, weight in weights.items()}
    seen = [scan(cell, parameters, x, state).h]
    changes: list[Callable[[], Any]] = [
        lambda: parameters["weight_hh"].add_(1),
        lambda: parameters["weight_hh"].data.mul_(2),
        lambda: setattr(parameters["bias_hh"], "data", torch.randn_like(weights["bias_hh"])),
        lambda: parameters.update(
            weight_ih=torch.nn.Parameter(torch.randn_like(weights["weight_ih"]))
        ),
    ]
    for change in changes:
        change()
        found = single.run(cell, parameters, x, state)
        assert found is not None and not any(torch.equal(found.h, before) for before in seen)
        same(found, plainly(cell, parameters, x, state))
        seen.append(found.h)


def test_gradients_are_left_to_the_general_way_and_only_where_one_is_asked_for() -> None:
    cell, weights, x, state = cast(scene(cells.LSTM(), T=1, B=2), torch.float64)
    assert single.run(cell, weights, x, state) is not None
    for name in weights:
        assert (
            single.run(cell, weights | {name: weights[name].clone().requires_grad_()}, x, state)
            is None
        )
    assert single.run(cell, weights, x.clone().requires_grad_(), state) is None
    assert single.run(cell, weights, x, (state[0], state[1].clone().requires_grad_())) is None
    wanted = state[1].clone().requires_grad_()
    scan(cell, weights, x, (state[0], wanted)).h.sum().backward()
    assert wanted.grad is not None
    with torch.inference_mode():
        assert single.run(cell, weights, x, (state[0], wanted)) is not None


class Silent(TorchDispatchMode):
    """Lets everything pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Quiet(TorchFunctionMode):
    """Likewise, above autograd."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "context",
    [
        lambda: forcing("loop"),
        lambda: listening(print),
        probing,
        lambda: torch.autocast("cpu"),
        Silent,
        Quiet,
        lambda: torch.autograd.forward_ad.dual_level(),
    ],
)
def test_what_must_see_a_step_or_changes_it_gets_the_general_way(
    context: Any, without_gradients: None
) -> None:
    cell, weights, x, state = cast(scene(cells.LSTM(), T=1, B=2), torch.float64)
    with context():
        assert single.run(cell, weights, x, state) is None
        assert single.run_layers(cell, [weights], x[0], [value[None] for value in state]) is None
    assert single.run(cell, weights, x, state) is not None


@pytest.mark.filterwarnings("ignore:.torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_transforms_and_traces_get_the_general_way(without_gradients: None) -> None:
    cell, weights, x, state = cast(scene(cells.GRU(), T=1, B=2), torch.float64)
    expected = scan(cell, weights, x, state).h
    torch.testing.assert_close(
        torch.vmap(lambda each: scan(cell, weights, each, state).h)(x[None])[0],
        expected,
        atol=1e-12,
        rtol=0,
    )
    traced = torch.jit.trace(lambda each: scan(cell, weights, each, state).h, x, check_trace=False)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(
        traced(2 * x), scan(cell, weights, 2 * x, state).h, atol=1e-12, rtol=0
    )


class Branching(cells.Cell):
    """Has no program."""

    gates = ("n",)

    def pointwise(self, a: Any, s: Any) -> Any:
        return dict(h=a.n if bool(a.n.sum() > -1e9) else s.h, n=a.n)


class Unhashable(cells.LSTM):
    """Cannot be remembered."""

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "case",
    [
        lambda c, w, x, s: (
            Branching(),
            {n: torch.randn(shape) for n, shape in Branching().weights(2, 5).items()},
            x,
            s[:1],
        ),
        lambda c, w, x, s: (Unhashable(), w, x, s),
        lambda c, w, x, s: (c, w, torch.randn(1, native.UNPACKED + 1, 2), None),
        lambda c, w, x, s: (c, w, torch.randn(2, 2, 2), s),
        lambda c, w, x, s: (
            c,
            {n: weight.bfloat16() for n, weight in w.items()},
            x.bfloat16(),
            None,
        ),
        lambda c, w, x, s: (
            c,
            {n: weight.to_sparse_csr() if n == "weight_hh" else weight for n, weight in w.items()},
            x,
            s,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_what_runs_otherwise_is_left_alone(case: Any, without_gradients: None) -> None:
    cell, weights, x, state = case(*cast(scene(cells.LSTM(), T=1, B=2), torch.float64))
    for _ in range(2):
        assert single.run(cell, weights, x, state) is None


WRONG: dict[str, Callable[..., Any]] = {
    "width": lambda c, w, x, s: (c, w, torch.randn(1, 2, 3), s),
    "no row": lambda c, w, x, s: (c, w, torch.randn(1, 0, 2), s),
    "axes": lambda c, w, x, s: (c, w, x[0], s),
    "dtype": lambda c, w, x, s: (c, w, x.float(), s),
    "whole numbers": lambda c, w, x, s: (c, w, x.long(), s),
    "no tensor": lambda c, w, x, s: (c, w, x.tolist(), s),
    "device": lambda c, w, x, s: (c, w, x.to("meta"), s),
    "no cell": lambda c, w, x, s: ("lstm", w, x, s),
    "no weight_ih": lambda c, w, x, s: (c, {n: v for n, v in w.items() if n != "weight_ih"}, x, s),
    "no weight_hh": lambda c, w, x, s: (c, {n: v for n, v in w.items() if n != "weight_hh"}, x, s),
    "another weight": lambda c, w, x, s: (c, w | {"p_i": w["bias_hh"]}, x, s),
    "a weight's shape": lambda c, w, x, s: (c, w | {"weight_hh": w["weight_hh"][:, 1:]}, x, s),
    "a bias's shape": lambda c, w, x, s: (c, w | {"bias_hh": w["bias_hh"][None]}, x, s),
    "rows of the state": lambda c, w, x, s: (c, w, x, tuple(value[:1] for value in s)),
    "width of the state": lambda c, w, x, s: (c, w, x, tuple(value[:, 1:] for value in s)),
    "dtype of the state": lambda c, w, x, s: (c, w, x, tuple(value.float() for value in s)),
    "a list for the state": lambda c, w, x, s: (c, w, x, list(s)),
    "too many values": lambda c, w, x, s: (c, w, x, (*s, s[0])),
    "too few values": lambda c, w, x, s: (c, w, x, s[:1]),
    "another cell's state": lambda c, w, x, s: (c, w, x, cells.GRU().state_type()(s[0])),
    "a value that is no tensor": lambda c, w, x, s: (c, w, x, (s[0], None)),
    "rows of the learned state": lambda c, w, x, s: (
        c,
        w | {"initial_h": torch.zeros(3, 5), "initial_c": torch.zeros(3, 5)},
        x,
        None,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_gets_the_general_ways_error(name: str, without_gradients: None) -> None:
    good = cast(scene(cells.LSTM(), T=1, B=2), torch.float64)
    bad = WRONG[name](*good)
    same(
        scan(*good), plainly(*good)
    )  # what is remembered of the good one must not let the bad one through
    with pytest.raises(Exception) as expected:
        plainly(*bad)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        scan(*bad)
    same(scan(*good), plainly(*good))


def test_options_of_a_scan_are_not_lost(
    monkeypatch: pytest.MonkeyPatch, without_gradients: None
) -> None:
    cell, weights, x, state = cast(
        scene(cells.Zoneout(cells.LSTM(), h=0.5), T=1, B=2), torch.float64
    )
    noise = {"zoneout_h": torch.ones(1, 2, 5, dtype=torch.float64)}
    assert torch.equal(scan(cell, weights, x, state, noise=noise).h[0], state[0])
    assert scan(cell, weights, x, state, keep=["states"]).states is not None
    assert float(scan(cell, weights, x, state, lengths=[0, 1]).h[0, 0].abs().sum()) == 0
    fresh = scan(cell, weights, x)
    assert torch.equal(
        scan(cell, weights, x, state, resets=torch.ones(1, 2, dtype=torch.bool)).h, fresh.h
    )
    monkeypatch.setattr(SCAN, "prepare", None)
    assert torch.equal(scan(cell, weights, x).h, fresh.h), "the short way checks no job"
    for more in (dict(method="loop"), dict(reverse=True), dict(recompute=True)):
        with pytest.raises(TypeError, match="not callable"):
            scan(cell, weights, x, **more)


@pytest.mark.parametrize("rows", [(), (1,), (3,)])
def test_layers_run_one_over_the_other(rows: tuple[int, ...], without_gradients: None) -> None:
    cell = cells.ProjectedLSTM(2)
    layers = [
        {name: torch.randn(shape) for name, shape in cell.weights(width, 5).items()}
        for width in (3, 2, 2)
    ]
    x, state = torch.randn(*rows, 3), [torch.randn(3, *rows, width) for width in (2, 5)]
    done = single.run_layers(cell, layers, x, state)
    assert done is not None
    h = x.view(1, -1, 3)
    for number, weights in enumerate(layers):
        step = plainly(
            cell, weights, h, tuple(value[number].view(h.shape[1], -1) for value in state)
        )
        h = step.h
        for after, value in zip(done[1], step.final):
            assert torch.equal(after[number].view_as(value), value)
    assert done[0].shape == (*rows, 2) and torch.equal(done[0].view_as(h), h)
    assert single.run_layers(cell, layers[:2], x, state) is None
    assert single.run_layers(cell, layers, x[None, None] if rows else x.sum(), state) is None
    if rows:
        assert single.run_layers(cell, layers, x[None], state) is None
    assert (
        single.run_layers(cell, [layers[0], layers[0]], x, [value[:2] for value in state]) is None
    )
