"""Memory that goes from one call to the next."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

import recurra
from recurra import native
from recurra.kernels.outputs import reused

SIZE = 3 * 2**20


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    gc.collect()
    native.release_memory()
    yield
    native.release_memory()


def test_what_is_dropped_is_used_again() -> None:
    first = reused((SIZE,), torch.float32)
    place = first.data_ptr()
    assert native.memory_kept() == 0
    del first
    assert native.memory_kept() >= 4 * SIZE
    assert reused((SIZE,), torch.float32).data_ptr() == place


def test_a_view_holds_the_memory() -> None:
    whole = reused((4, SIZE), torch.float32)
    view = whole[2:].fill_(7.0)
    del whole
    assert native.memory_kept() == 0
    other = reused((4, SIZE), torch.float32).fill_(1.0)
    assert view.unique().tolist() == [7.0] and other.unique().tolist() == [1.0]


def test_two_that_live_are_apart() -> None:
    one, two = reused((5,), torch.float64).fill_(1), reused((5,), torch.float64).fill_(2)
    assert one.sum() == 5 and two.sum() == 10


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_nothing_is_a_shape_too(shape: tuple[int, ...]) -> None:
    assert tuple(reused(shape, torch.float64).shape) == shape


def test_no_more_than_a_bound_is_kept() -> None:
    many = [reused((SIZE * 10,), torch.float32) for _ in range(4)]  # 120 MB each
    many.clear()
    assert 0 < native.memory_kept() <= 256 * 2**20
    del many
    native.release_memory()
    assert native.memory_kept() == 0


def test_a_huge_one_is_not_kept() -> None:
    native.Memory(200 * 2**20)
    assert native.memory_kept() == 0


@torch.enable_grad()
def test_a_graph_that_is_alive_keeps_what_its_backward_reads() -> None:
    torch.manual_seed(0)
    layer, x = recurra.LSTM(3, 64, dtype=torch.float64), torch.randn(40, 5, 3, dtype=torch.float64)
    first = layer(x)[0].sum()
    for _ in range(3):
        layer(torch.randn_like(x))[0].sum().backward()
    layer.zero_grad()
    first.backward()
    late = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    layer(x)[0].sum().backward()
    assert len(late) == 4 and all(
        torch.equal(a, p.grad) for a, p in zip(late, layer.parameters()) if p.grad is not None
    )
