"""The native module equals the loop, values and every gradient, for every cell and every kind of
call.
"""

from __future__ import annotations

import warnings
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.utils.checkpoint
from hypothesis import given, settings
from torch import Tensor

import recurra
from recurra import cells
from recurra.engine import choose_method, prepare, scan
from recurra.errors import MethodUnavailable, SlowWarning
from tests.cells.zoo import ZOO, Scene, assert_close, gradients, scene, tensors
from tests.engine.test_methods import calls, ragged

pytest.importorskip("recurra.native")
EPS = torch.finfo(torch.float32).eps


def cast(at: Scene, dtype: torch.dtype, noise_gradients: bool = False) -> Scene:
    """The same numbers in another dtype, as new leaves."""

    def leaf(value: Tensor, requires_grad: bool = True) -> Tensor:
        return value.detach().to(torch.float32).to(dtype).requires_grad_(requires_grad)

    noise = at.noise and {
        name: leaf(value, value.requires_grad or noise_gradients)
        for name, value in at.noise.items()
    }
    weights = {name: leaf(weight) for name, weight in at.weights.items()}
    return Scene(at.cell, weights, leaf(at.x), tuple(leaf(value) for value in at.state), noise)


def results(at: Scene, method: str, given_state: bool = True, **options: Any) -> list[Tensor]:
    """Every value and every gradient of one scan."""
    found = scan(
        at.cell,
        at.weights,
        at.x,
        at.state if given_state else None,
        noise=at.noise,
        method=method,
        **options,
    )
    return [*tensors(found), *gradients(found, at.leaves()).values()]


def compare(
    at: Scene,
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32),
    noise_gradients: bool = False,
    **options: Any,
) -> None:
    """Fused in float64 close to the loop, in float32 to the bound of the house."""
    names = ["value"] * 99
    exact = results(
        cast(at, torch.float64, noise_gradients),
        "loop",
        **{k: v for k, v in options.items() if k != "recompute"},
    )
    for dtype in dtypes:
        here = cast(at, dtype, noise_gradients)
        found = results(here, "fused", **options)
        assert len(found) == len(exact)
        if dtype == torch.float64:
            assert_close(found, exact, 1e-10)
            continue
        loop = results(here, "loop", **{k: v for k, v in options.items() if k != "recompute"})
        for name, mine, plain, right in zip(names, found, loop, exact):
            error, own = (
                float((value.double() - right).detach().abs().max()) for value in (mine, plain)
            )
            bound = 2 * own + 16 * EPS * max(1.0, float(right.detach().abs().max()))
            assert mine.dtype == torch.float32 and error <= bound, (
                f"{name}: {error} where {bound} may be"
            )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths resets"])
@pytest.mark.parametrize("name", ZOO)
def test_fused_equals_the_loop(name: str, kind: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=6, B=5, learned=True, training=reverse)
    compare(
        at, keep=("states",), reverse=reverse, given_state=kind == "plain", **ragged(6, 5, kind)
    )


@pytest.mark.parametrize(
    "name",
    [
        "LSTM",
        "GRU",
        "ElmanRelu",
        "ProjectedLSTM",
        "LayerNormLSTM",
        "ResetBeforeGRU",
        "MinLSTM",
        "AllThree",
    ],
)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (1, 3, 63), (3, 1, 130), (2, 17, 257), (4, 2, 64)], ids=str
)
def test_fused_equals_the_loop_at_odd_sizes(name: str, sizes: tuple[int, int, int]) -> None:
    T, B, H = sizes
    cell = cells.ProjectedLSTM(max(1, H // 2)) if name == "ProjectedLSTM" else ZOO[name]
    compare(
        scene(cell, T=T, B=B, I=H // 3 + 1, H=H, learned=True, training=True),
        **ragged(T, B, "lengths resets"),
    )


@settings(max_examples=40)
@given(
    calls(),
    st.sampled_from(sorted(ZOO)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), ("states",)]),
)
def test_fused_equals_the_loop_on_any_call(
    call: dict[str, Any], name: str, training: bool, recompute: bool, keep: tuple[str, ...]
) -> None:
    at = scene(ZOO[name], T=call.pop("T"), B=call.pop("B"), learned=True, training=training)
    compare(at, (torch.float64,), training, keep=keep, recompute=recompute, **call)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", range(4))
def test_a_reset_may_be_anywhere(step: int, reverse: bool) -> None:
    at = scene(cells.LSTM(), T=4, B=2, learned=True)
    resets = torch.zeros(4, 2, dtype=torch.bool)
    resets[step, 0] = True
    compare(at, (torch.float64,), resets=resets, reverse=reverse)


@pytest.mark.parametrize(
    "name", ["Zoneout", "ZoneoutProjected", "RecurrentDropout", "AllThree", "ZoneoutOwn"]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_noise_has_gradients_when_it_asks_for_them(name: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=5, B=4, training=True)
    names = [
        key
        for key in cast(at, torch.float64, noise_gradients=True).leaves()
        if key in ZOO[name].noises()
    ]
    assert names == [key for key in at.noise or {}]
    for recompute in (False, True):
        compare(
            at,
            (torch.float64,),
            noise_gradients=True,
            reverse=reverse,
            recompute=recompute,
            **ragged(5, 4, "lengths resets"),
        )


def test_some_leaves_may_need_no_gradient() -> None:
    at = scene(ZOO["PeepholeLSTM"])
    whole = gradients(scan(at.cell, at.weights, at.x, at.state, method="loop"), at.leaves())
    for name in whole:
        for leaf in at.leaves().values():
            leaf.requires_grad_(False)
        at.leaves()[name].requires_grad_(True)
        found = scan(at.cell, at.weights, at.x, at.state, method="fused")
        assert_close(gradients(found, {name: at.leaves()[name]}), {name: whole[name]}, 1e-11, name)


def test_strided_tensors_are_taken() -> None:
    at = scene(cells.GRU(), T=5, B=4, I=3)
    x = at.x.detach().permute(1, 2, 0).contiguous().permute(2, 0, 1).requires_grad_()
    weights = {
        name: w.detach().mT.contiguous().mT.requires_grad_() if w.ndim > 1 else w
        for name, w in at.weights.items()
    }
    state = (at.state[0].detach()[:1].expand(4, 5).requires_grad_(),)
    assert not (
        x.is_contiguous() or weights["weight_hh"].is_contiguous() or state[0].is_contiguous()
    )
    found = {}
    for method in ("loop", "fused"):
        h = scan(at.cell, weights, x, state, method=method).h
        seed = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(1)).permute(1, 0, 2)
        found[method] = [
            h,
            *torch.autograd.grad(h, [x, *state, *weights.values()], seed, retain_graph=True),
        ]
        found[method] += torch.autograd.grad(
            h.sum(), [x, *state, *weights.values()]
        )  # an expanded scalar
    assert_close(found["fused"], found["loop"], 1e-11)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "LayerNormGRU", "AllThree", "ProjectedLSTM"])
def test_padding_may_hold_nan(name: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=5, B=4, training=True)
    lengths = torch.tensor([5, 0, 1, 3])
    past = (torch.arange(5)[:, None] >= lengths)[..., None]
    spoilt = at.x.detach().masked_fill(past, torch.nan).requires_grad_()
    drawn = at.noise or {}
    noise = {
        key: d.detach().masked_fill(past, torch.nan) if d.ndim == 3 else d
        for key, d in drawn.items()
    }
    found = scan(
        at.cell,
        at.weights,
        spoilt,
        at.state,
        noise=noise,
        lengths=lengths,
        reverse=reverse,
        method="fused",
    )
    right = scan(
        at.cell,
        at.weights,
        at.x,
        at.state,
        noise=at.noise,
        lengths=lengths,
        reverse=reverse,
        method="loop",
    )
    assert_close(found, right)
    leaves = {key: leaf for key, leaf in at.leaves().items() if not key.startswith("probe")}
    d, expected = gradients(found, leaves | {"x": spoilt}), gradients(right, leaves)
    assert_close(d, expected, 1e-11)
    assert not d["x"].masked_select(past).any()


@pytest.mark.parametrize("split", [None, "rows", "units"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "name",
    ["LSTM", "GRU", "LayerNormLSTM", "AllThree", "ResetBeforeGRU", "ProjectedLSTM", "MinLSTM"],
)
def test_bits_depend_on_neither_the_run_nor_the_threads(
    name: str, recompute: bool, split: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = cast(scene(ZOO[name], T=9, B=21, I=19, H=33, training=True), torch.float32)
    options: dict[str, Any] = dict(recompute=recompute, **ragged(9, 21, "lengths resets"))
    try:
        one = results(at, "fused", **options)
        if split:
            monkeypatch.setenv("RECURRA_SPLIT", split)
        for threads in (1, 2, 2, 3):
            torch.set_num_threads(threads)
            assert all(
                torch.equal(a, b) for a, b in zip(results(at, "fused", **options), one, strict=True)
            )
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ZOO)
def test_recomputing_gives_the_same_bits(name: str, dtype: torch.dtype) -> None:
    at = cast(scene(ZOO[name], T=5, B=3, learned=True, training=True), dtype)
    once, again = (
        results(at, "fused", recompute=recompute, **ragged(5, 3, "lengths resets"))
        for recompute in (False, True)
    )
    assert all(torch.equal(a, b) for a, b in zip(again, once, strict=True))


def held(cell: cells.Cell, recompute: bool) -> float:
    """Numbers that the backward pass holds, a step, row and unit, beside the input, the output and
    the weights.
    """
    at, sizes = scene(cell, T=64, B=8, I=4, H=32), dict[int, int]()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 8
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = scan(at.cell, at.weights, at.x, method="fused", recompute=recompute)
    own = (at.x, found.h, *at.weights.values())
    for tensor in own:
        sizes.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(sizes.values()) / (64 * 8 * 32)


def test_the_backward_pass_holds_little() -> None:
    assert 4 < held(cells.LSTM(), False) <= 5.1
    assert 1 <= held(cells.LSTM(), True) <= 1.1
    assert held(cells.GRU(), False) <= 4.1 and held(cells.GRU(), True) < 0.1


def test_auto_takes_it_with_and_without_gradients() -> None:
    for name in ("LSTM", "MinGRU", "CoupledLSTM"):
        at = scene(ZOO[name])
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                assert (
                    choose_method(prepare(at.cell, at.weights, at.x, None), "auto").method
                    == "fused"
                )


@pytest.mark.parametrize(
    ("rows", "grad", "method"),
    [(1, False, "fused"), (4, False, "fused"), (5, False, "loop"), (1, True, "loop")],
)
def test_auto_takes_a_step_only_where_it_packs_no_weights(
    rows: int, grad: bool, method: str
) -> None:
    at = scene(cells.LSTM(), T=1, B=rows)
    with torch.set_grad_enabled(grad):
        choice = choose_method(prepare(at.cell, at.weights, at.x, None), "auto")
    assert choice.method == method
    assert (
        method == "fused"
        or choice.refused["fused"]
        == "it packs the weights at every call, which a single step does not repay"
    )


def test_gates_that_are_kept_have_gradients_by_the_loop() -> None:
    at = scene(cells.LSTM())
    with pytest.raises(
        MethodUnavailable, match="the fused scan finds no gradient of gates that are kept"
    ):
        scan(at.cell, at.weights, at.x, method="fused", keep=("gates",))
    found, right = (
        scan(at.cell, at.weights, at.x, method=method, keep=("gates",))
        for method in ("auto", "loop")
    )
    assert_close(gradients(found, at.leaves()), gradients(right, at.leaves()))
    with torch.no_grad():
        assert_close(scan(at.cell, at.weights, at.x, method="fused", keep=("gates",)), right)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "loop",
            (
                "recompute=True cannot run this: only 'fused' does, got 'loop'; use"
                " method='checkpointed' without recompute"
            ),
        ),
        ("vendor", "only 'fused' does, got 'vendor'"),
    ],
)
def test_only_fused_recomputes(method: str, message: str) -> None:
    at = scene(cells.LSTM())
    with pytest.raises(MethodUnavailable, match=message):
        scan(at.cell, at.weights, at.x, method=method, recompute=True)
    assert (
        choose_method(prepare(at.cell, at.weights, at.x, None, recompute=True), "auto").method
        == "fused"
    )
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(MethodUnavailable, match="recompute=True cannot run this: no fused"),
    ):
        scan(at.cell, at.weights, at.x, recompute=True)


def test_layers_hand_recompute_through() -> None:
    x = torch.randn(6, 2, 3)
    for make in (
        lambda **o: recurra.LSTM(3, 4, num_layers=2, bidirectional=True, **o),
        lambda **o: recurra.GRU(3, 4, **o),
        lambda **o: recurra.RNN(3, 4, **o),
        lambda **o: recurra.Recurrent(cells.LSTM(), 3, 4, **o),
    ):
        layer, plain = make(recompute=True), make()
        plain.load_state_dict(layer.state_dict())
        assert "recompute=True" in repr(layer) and "recompute" not in repr(plain)
        found = [
            torch.autograd.grad(each(x)[0].square().sum(), list(each.parameters()))
            for each in (layer, plain)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        with recurra.engine.forcing("loop"):
            with pytest.raises(MethodUnavailable, match="only 'fused' does, got 'loop'"):
                layer(x)
            with torch.no_grad():
                layer(x)


def test_ten_thousand_small_calls_leave_memory_flat() -> None:
    at = cast(scene(cells.LSTM(), T=2, B=1), torch.float32)

    def run(count: int) -> int:
        for _ in range(count):
            scan(at.cell, at.weights, at.x, at.state, method="fused").h.sum().backward()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    before = run(300)
    assert run(1000) - before < 300  # pages of 4 KB; a kilobyte leaked by each call would be 250


@pytest.mark.filterwarnings(
    "ignore"
)  # torch warns that shapes are fixed, and that torch.jit is old
def test_traced_layer_goes_by_another_method() -> None:
    layer, x = recurra.Recurrent(cells.LSTM(), 3, 4).requires_grad_(False), torch.randn(5, 2, 3)
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: layer(x)[0], (x,), check_trace=False)
        assert_close(traced(2 * x), layer(2 * x)[0])
        with pytest.raises(
            MethodUnavailable, match="torch.jit.trace sees nothing of the native module"
        ):
            torch.jit.trace(lambda x: layer(x, method="fused")[0], (x,), check_trace=False)


def test_inference_mode_and_checkpoints_around_a_layer_give_the_same() -> None:
    layer, x = recurra.GRU(3, 4), torch.randn(5, 2, 3)
    with torch.inference_mode():
        inferred = layer(x)[0]
    y = torch.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    assert torch.equal(inferred, y)
    found = [
        torch.autograd.grad(each.square().sum(), list(layer.parameters()))
        for each in (y, layer(x)[0])
    ]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_autocast_goes_by_another_method() -> None:
    at = scene(cells.LSTM())
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowWarning)  # where oneDNN has no bfloat16
        chosen = choose_method(prepare(at.cell, at.weights, at.x, None), "auto")
    assert chosen.method == ("vendor" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "loop")
