"""The native module equals the loop, where it is built: values only, since it has a forward pass only."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from recurra.engine import choose_method, prepare, scan
from tests.cells.zoo import ZOO, assert_close, scene
from tests.engine.test_methods import calls, ragged

pytest.importorskip("recurra.native")


def compare(name: str, sizes: tuple[int, int, int], training: bool, keep: tuple[str, ...], **options: Any) -> None:
    """Fused in float64 to 1e-12, in float32 to the bound of the house."""
    T, B, H = sizes
    at = scene(ZOO[name], T=T, B=B, H=H, learned=True, training=training)
    results = {}
    for dtype in (torch.float64, torch.float32):
        weights = {key: weight.detach().to(dtype) for key, weight in at.weights.items()}
        state = tuple(value.detach().to(dtype) for value in at.state)
        noise = None if at.noise is None else {key: d.detach().to(dtype) for key, d in at.noise.items()}
        for method in ("loop", "fused"):
            with torch.no_grad():
                results[method, dtype] = scan(
                    at.cell, weights, at.x.detach().to(dtype), state, noise=noise, keep=keep, method=method, **options
                )
    exact = results["loop", torch.float64]
    assert_close(results["fused", torch.float64], exact)
    loop, fused = results["loop", torch.float32], results["fused", torch.float32]
    error = float((loop.h - exact.h).abs().max())
    bound = 2 * error + 16 * torch.finfo(torch.float32).eps * max(1.0, float(exact.h.abs().max()))
    assert fused.h.dtype == torch.float32 and float((fused.h - exact.h).abs().max()) <= bound


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths", "resets", "lengths resets"])
@pytest.mark.parametrize("name", ZOO)
def test_fused_equals_the_loop(name: str, kind: str, reverse: bool) -> None:
    for training in (False, True):
        compare(name, (7, 5, 5), training, ("states", "gates"), reverse=reverse, **ragged(7, 5, kind))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "Elman", "TwoPhase", "LayerNormGRU", "MinLSTM", "AllThree"])
@pytest.mark.parametrize("sizes", [(1, 1, 3), (1, 3, 8), (2, 1, 63), (9, 4, 65), (33, 17, 130)], ids=str)
def test_fused_equals_the_loop_at_odd_sizes(name: str, sizes: tuple[int, int, int]) -> None:
    compare(name, sizes, True, (), **ragged(sizes[0], sizes[1], "lengths resets"))


@given(calls(), st.sampled_from(sorted(ZOO)))
def test_fused_equals_the_loop_on_any_call(call: dict[str, Any], name: str) -> None:
    compare(name, (call.pop("T"), call.pop("B"), 5), True, (), **call)


def test_auto_takes_it_without_gradients() -> None:
    at = scene(ZOO["CoupledLSTM"])
    with torch.no_grad():
        choice = choose_method(prepare(at.cell, at.weights, at.x, None), "auto")
    assert choice.method == "fused"


def test_padding_may_hold_nan() -> None:
    at = scene(ZOO["CoupledLSTM"], T=5, B=4)
    lengths = torch.tensor([5, 0, 1, 3])
    spoilt = at.x.detach().masked_fill((torch.arange(5)[:, None] >= lengths)[..., None], torch.nan)
    with torch.no_grad():
        assert_close(
            scan(at.cell, at.weights, spoilt, lengths=lengths, method="fused"),
            scan(at.cell, at.weights, at.x, lengths=lengths, method="loop"),
        )
