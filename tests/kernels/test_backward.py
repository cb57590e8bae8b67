"""The native derivative of a whole scan, called directly, and the steps that are gone through again
for gradients of gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.cells import GRU, LSTM, Cell, Probed, Zoneout
from recurra.errors import DtypeError, ShapeError
from recurra.kernels.backward import Seeds, backward
from recurra.kernels.encode import Encoded, encode
from recurra.kernels.forward import run
from recurra.kernels.launch import Arrays, Made, gather, gather_noise
from recurra.kernels.outputs import Options
from recurra.kernels.replay import replay
from recurra.program import trace
from tests.kernels.scene import CELLS, Scene, looped, scene

every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


@pytest.fixture(autouse=True)
def with_gradients(without_gradients: None) -> Iterator[None]:
    with torch.enable_grad():
        yield


def encoded(s: Scene, noise_gradients: bool = True) -> tuple[Encoded, Arrays]:
    widths = tuple(value.shape[-1] for value in s.state)
    code = encode(trace(s.cell, s.noise), s.hidden, widths, s.x.shape[-1], noise_gradients)
    initial = s.initial if s.resets is not None else ()
    return code, Arrays(
        s.x,
        s.state,
        initial,
        gather(code, s.weights),
        gather_noise(code, s.noise),
        s.lengths,
        s.resets,
        s.reverse,
    )


def leaves(arrays: Arrays) -> list[Tensor | None]:
    return [arrays.x, *arrays.state, *arrays.initial, *arrays.weights, *arrays.noise]


def seeds_for(s: Scene) -> Seeds:
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=s.x.dtype)

    steps, rows, _ = s.x.shape
    widths = [value.shape[-1] for value in s.state]
    return Seeds(
        normal(steps, rows, widths[0]),
        [normal(rows, w) for w in widths],
        [normal(steps, rows, w) for w in widths],
    )


def found_by(
    s: Scene, seeds: Seeds, *, recompute: bool = False, noise_gradients: bool = True
) -> list[Tensor | None]:
    """The gradient of every tensor that is there, by the native module."""
    code, arrays = encoded(s, noise_gradients)
    with torch.no_grad():
        out = run(
            code,
            arrays,
            Options(s.reverse, saving=True, recompute=recompute, noise=noise_gradients),
        )
        needed = [tensor is not None for tensor in leaves(arrays)]
        if not noise_gradients:
            needed[len(needed) - len(arrays.noise) :] = [False] * len(arrays.noise)
        made = iter(
            backward(code, arrays, Made(out.h, states=out.states, saved=out.saved), seeds, needed)
        )
    return [next(made) if flag else None for flag in needed]


def expected(s: Scene, seeds: Seeds) -> list[Tensor | None]:
    """The same by autograd through the plain loop."""
    for tensor in (found := leaves(encoded(s)[1])):
        if tensor is not None:
            tensor.requires_grad_()
    h, *rest = looped(s)
    outputs = list(zip([h, *rest], [seeds.h, *seeds.final, *seeds.states], strict=False))
    total = sum(((out * seed).sum() for out, seed in outputs if seed is not None), torch.zeros(()))
    there = [tensor for tensor in found if tensor is not None]
    made = iter(torch.autograd.grad(total, there, allow_unused=True))
    for tensor in there:
        tensor.requires_grad_(False)
    return [
        None if tensor is None else (torch.zeros_like(tensor) if (d := next(made)) is None else d)
        for tensor in found
    ]


def assert_same(found: list[Any], right: list[Any]) -> None:
    assert [each is None for each in found] == [each is None for each in right]
    for number, (mine, d) in enumerate(zip(found, right, strict=True)):
        if d is not None:
            assert mine.shape == d.shape
            assert (mine - d).abs().max() <= 1e-10 * max(1.0, d.abs().max()), number


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_derivative_equals_autograd_of_the_loop(cell: Cell, reverse: bool, recompute: bool) -> None:
    s = scene(cell, 5, 4, 5, noisy=True, ragged=True, reverse=reverse)
    seeds = seeds_for(s)
    assert_same(found_by(s, seeds, recompute=recompute), expected(s, seeds))


@every_cell
def test_what_is_left_of_a_row_counts_once(cell: Cell) -> None:
    s = scene(
        cell, 3, 2, 131, noisy=True
    )  # a tile and three units: gradients of parameters and masks are sums over steps
    seeds = seeds_for(s)
    assert_same(found_by(s, seeds), expected(s, seeds))


@every_cell
def test_derivative_of_the_output_alone(cell: Cell) -> None:
    s = scene(cell, 4, 3, 7)
    seeds = Seeds(seeds_for(s).h, [None] * len(s.state))
    assert_same(found_by(s, seeds), expected(s, seeds))


def test_without_seeds_every_gradient_is_zero() -> None:
    s = scene(LSTM(), 4, 3, 5, ragged=True)
    assert all(d is None or not d.any() for d in found_by(s, Seeds(None, [None, None])))


def test_noise_without_gradients_changes_no_other() -> None:
    s = scene(Zoneout(LSTM(), h=0.2, c=0.3), 4, 3, 5, noisy=True)
    seeds = seeds_for(s)
    whole, without = found_by(s, seeds), found_by(s, seeds, noise_gradients=False)
    assert [d is None for d in without[-2:]] == [True, True]
    assert_same(without[:-2], whole[:-2])


def test_only_what_is_needed_is_found() -> None:
    s = scene(GRU(), 4, 3, 5)
    code, arrays = encoded(s)
    out = run(code, arrays, Options(saving=True))
    made, seeds = Made(out.h, saved=out.saved), Seeds(torch.ones_like(out.h), [None])
    flags = [tensor is not None for tensor in leaves(arrays)]
    whole = backward(code, arrays, made, seeds, flags)
    for number in range(len(flags)):
        [alone] = backward(code, arrays, made, seeds, [i == number for i in range(len(flags))])
        assert torch.equal(alone, whole[number])
    assert backward(code, arrays, made, seeds, [False] * len(flags)) == []


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 5, 63), (7, 1, 130), (2, 26, 257)], ids=str)
def test_derivative_at_odd_sizes(sizes: tuple[int, int, int]) -> None:
    s = scene(LSTM(), *sizes, ragged=True)
    seeds = seeds_for(s)
    assert_same(found_by(s, seeds), expected(s, seeds))


def test_gradients_past_a_length_are_zero_and_never_read() -> None:
    s = scene(LSTM(), 4, 3, 5, lengths=torch.tensor([0, 1, 4]))
    past = (torch.arange(4)[:, None] >= torch.tensor([0, 1, 4]))[..., None]
    seeds = seeds_for(s)._replace(states=())
    assert seeds.h is not None
    clean = found_by(s, seeds)
    dirty = found_by(
        replace(s, x=s.x.masked_fill(past, torch.nan)),
        seeds._replace(h=seeds.h.masked_fill(past, torch.nan)),
    )
    assert_same(dirty, clean)
    assert clean[0] is not None and not clean[0].masked_select(past).any()


def test_arguments_are_left_as_they_are() -> None:
    s = scene(Probed(Zoneout(GRU(), h=0.3)), 4, 3, 5, noisy=True, ragged=True)
    seeds = seeds_for(s)
    given = [
        t for t in (*leaves(encoded(s)[1]), seeds.h, *seeds.final, *seeds.states) if t is not None
    ]
    before = [tensor.clone() for tensor in given]
    found_by(s, seeds)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


def test_what_does_not_fit_is_refused() -> None:
    s = scene(LSTM(), 4, 3, 5)
    code, arrays = encoded(s)
    out = run(code, arrays, Options(saving=True))
    made, seeds = Made(out.h, states=out.states, saved=out.saved), Seeds(None, [None, None])
    with pytest.raises(ShapeError, match=r"state.c must have shape \(3, 5\), got \(2, 5\)"):
        backward(code, arrays._replace(state=[s.state[0], s.state[1][:2]]), made, seeds, [])
    with pytest.raises(
        DtypeError, match="x must be torch.float32 or torch.float64, got torch.float16"
    ):
        backward(code, arrays._replace(x=s.x.half()), made, seeds, [])
    for what, message in (
        (dict(made=made._replace(h=out.h[1:])), r"h must have shape \(4, 3, 5\), got \(3, 3, 5\)"),
        (
            dict(made=made._replace(saved=out.h)),
            r"saved must have shape \(4, 3, 20\), got \(4, 3, 5\)",
        ),
        (dict(made=made._replace(states=[])), r"states must hold c, got 0 values"),
        (
            dict(seeds=Seeds(out.h[1:], [None, None])),
            r"the gradient of h must have shape \(4, 3, 5\), got \(3, 3, 5\)",
        ),
        (dict(seeds=Seeds(None, [None])), "final must hold h, c, got 1 values"),
        (
            dict(seeds=Seeds(None, [None, out.h])),
            r"the gradient of final.c must have shape \(3, 5\), got \(4, 3, 5\)",
        ),
    ):
        with pytest.raises(ShapeError, match=message):
            backward(code, arrays, **(dict(made=made, seeds=seeds, needed=[False] * 12) | what))
    with pytest.raises(
        DtypeError, match="the gradient of h must be torch.float64, as x, got torch.float32"
    ):
        backward(code, arrays, made, Seeds(out.h.float(), [None, None]), [])


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_going_through_the_steps_again_gives_the_same_values(cell: Cell, reverse: bool) -> None:
    s = scene(cell, 5, 4, 5, noisy=True, ragged=True, reverse=reverse)
    done = replay(*encoded(s))
    right = looped(s)[: 1 + 2 * len(s.state)]
    for mine, value in zip([done.h, *done.final, *done.states], right, strict=True):
        assert torch.allclose(mine, value, rtol=0, atol=1e-12)
