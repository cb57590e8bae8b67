"""Penalties on activations, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.models.features import Features, penalty
from tests.cells.zoo import assert_close

T, B, H = 6, 3, 4


def features(dtype: torch.dtype = torch.float64) -> Features:
    return Features(torch.randn(T, B, H).to(dtype), torch.randn(T, B, H).to(dtype), None)


def by_hand(
    given: Features, activation: float, temporal: float, resets: Tensor | None = None
) -> float:
    """Sums over every unit, step and row, one by one."""
    loud = sum(
        float(given.dropped[t, b, k]) ** 2 for t in range(T) for b in range(B) for k in range(H)
    ) / (T * B * H)
    pairs = [
        (t, b) for t in range(1, T) for b in range(B) if resets is None or not bool(resets[t, b])
    ]
    fast = sum(
        float(given.raw[t, b, k] - given.raw[t - 1, b, k]) ** 2 for t, b in pairs for k in range(H)
    )
    return activation * loud + temporal * fast / ((T - 1) * B * H)


@pytest.mark.parametrize(
    ("activation", "temporal"), [(2.0, 1.0), (2.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
)
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_penalty_by_hand(activation: float, temporal: float, share: float | None) -> None:
    given = features()
    resets = None if share is None else torch.rand(T, B) < share
    found = penalty(given, activation=activation, temporal=temporal, resets=resets)
    assert found.shape == () and found.item() == pytest.approx(
        by_hand(given, activation, temporal, resets), abs=1e-12
    )


def test_a_chunk_of_one_step_does_not_change() -> None:
    given = Features(torch.ones(1, B, H), torch.ones(1, B, H), None)
    assert (
        penalty(given, temporal=1.0).item() == 0.0
        and penalty(given, activation=1.0, temporal=1.0).item() == 1.0
    )
    assert penalty(given, temporal=1.0, resets=torch.ones(1, B, dtype=torch.bool)).item() == 0.0


def test_the_gradient_of_each_goes_where_it_belongs() -> None:
    given = Features(
        torch.randn(T, B, H, requires_grad=True), torch.randn(T, B, H, requires_grad=True), None
    )
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3, 1] = True
    dropped, raw = torch.autograd.grad(penalty(given, 2.0, 1.0, resets), [given.dropped, given.raw])
    assert_close(dropped, 4 * given.dropped / (T * B * H))
    change = given.raw[1:] - given.raw[:-1]
    change = 2 * change * ~resets[1:, :, None] / ((T - 1) * B * H)
    assert_close(raw, torch.cat([-change[:1], change[:-1] - change[1:], change[-1:]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    given = features(dtype)
    found = penalty(given, 2.0, 1.0)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(
        by_hand(given, 2.0, 1.0), rel=1e-2
    )
