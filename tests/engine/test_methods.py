"""Every method equals the loop, in values and in every gradient."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from recurra import cells
from recurra.cells import Cell, LinearCell
from recurra.engine import Scan, scan
from tests.cells.zoo import ZOO, Scene, assert_close, gradients, scene

VENDOR = (cells.Elman, cells.LSTM, cells.GRU, cells.ProjectedLSTM)


def methods(cell: Cell, keep: tuple[str, ...] = ()) -> list[str]:
    """The methods with gradients that fit a cell."""
    found = ["checkpointed"]
    if isinstance(cell, LinearCell):
        found.append("parallel")
    return [*found, "vendor"] if type(cell) in VENDOR and not keep else found


def ragged(T: int, B: int, kind: str) -> dict[str, Any]:
    """Lengths and resets: lengths have a 0, a 1 and T among them, resets also lie past them."""
    generator = torch.Generator().manual_seed(T + B)
    lengths = torch.tensor(([T, 0, 1, max(T - 2, 0), T] * B)[:B])
    resets = torch.rand(T, B, generator=generator) < 0.3
    resets[:, 0] = False
    resets[-1, 0] = resets[0, -1] = True
    return {k: v for k, v in (("lengths", lengths), ("resets", resets)) if k in kind}


def compare(
    at: Scene, method: str, keep: tuple[str, ...], given_state: bool, **options: Any
) -> None:
    """One method against the loop."""
    state = at.state if given_state else None
    loop = scan(
        at.cell, at.weights, at.x, state, noise=at.noise, keep=keep, method="loop", **options
    )
    found = scan(
        at.cell, at.weights, at.x, state, noise=at.noise, keep=keep, method=method, **options
    )
    assert [part is None for part in found] == [part is None for part in loop]
    assert (
        type(found.final) is type(loop.final)
        and type(found.states) is type(loop.states)
        and type(found.gates) is type(loop.gates)
    )
    assert_close(found, loop, what="value")
    d, d_loop = gradients(found, at.leaves()), gradients(loop, at.leaves())
    for name in d_loop:
        assert_close(d[name], d_loop[name], 1e-11, f"d {name}")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths", "resets", "lengths resets"])
@pytest.mark.parametrize("name", ZOO)
def test_every_method_equals_the_loop(name: str, kind: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=7, B=5, learned=True, training=True)
    for given_state in (False, True):
        for keep in ((), ("states", "gates")):
            for method in methods(at.cell, keep):
                compare(at, method, keep, given_state, reverse=reverse, **ragged(7, 5, kind))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "Elman", "MinGRU", "TwoPhase", "LayerNormLSTM"])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (1, 3, 5), (2, 1, 63), (9, 4, 1), (17, 2, 5)], ids=str
)
def test_every_method_equals_the_loop_at_odd_sizes(name: str, sizes: tuple[int, int, int]) -> None:
    T, B, H = sizes
    at = scene(ZOO[name], T=T, B=B, I=1, H=H)
    for method in methods(at.cell):
        for reverse in (False, True):
            compare(at, method, (), True, reverse=reverse, **ragged(T, B, "lengths resets"))


@st.composite
def calls(draw: Any) -> dict[str, Any]:
    """Shapes, lengths, resets and direction of one call."""
    T, B = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    resets = draw(st.lists(st.lists(st.booleans(), min_size=B, max_size=B), min_size=T, max_size=T))
    lengths = draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B))
    return dict(
        T=T,
        B=B,
        lengths=lengths,
        resets=draw(st.sampled_from([None, resets])),
        reverse=draw(st.booleans()),
    )


@given(calls(), st.sampled_from(["LSTM", "GRU", "Elman", "ProjectedLSTM", "MinLSTM", "Decay"]))
def test_every_method_equals_the_loop_on_any_call(call: dict[str, Any], name: str) -> None:
    at = scene(ZOO[name], T=call.pop("T"), B=call.pop("B"), learned=True)
    for method in methods(at.cell):
        compare(at, method, (), True, **call)


def stepped(at: Scene, lengths: Tensor | None, resets: Tensor | None, reverse: bool) -> Scan:
    """The rules of ragged rows and resets said another way: row by row, step by step."""
    T, B = at.x.shape[:2]
    h = [[torch.zeros(1, at.cell.width("h", at.state[-1].shape[-1]))] * B for _ in range(T)]
    finals = []
    own = [
        at.weights.get(f"initial_{name}", torch.zeros(1))[None].expand(1, value.shape[1])
        for name, value in zip(at.cell.state, at.state)
    ]
    for row in range(B):
        steps = list(range(T if lengths is None else int(lengths[row])))
        state = at.cell.state_type()(
            *(value[row : row + 1] for value in at.state), *[None] * len(at.cell.lasting())
        )
        for t in reversed(steps) if reverse else steps:
            again = resets is not None and bool(resets[t, row])
            if again and not reverse:
                state = state._replace(**dict(zip(at.cell.state, own)))
            u = at.cell.project(at.weights, at.x[t, row : row + 1])
            state, _ = at.cell.step(
                at.weights,
                u,
                state,
                {name: d[t, row : row + 1] for name, d in (at.noise or {}).items()},
            )
            h[t][row] = state.h
            if again and reverse:
                state = state._replace(**dict(zip(at.cell.state, own)))
        finals.append(state)
    final = [torch.cat([getattr(state, name) for state in finals]) for name in at.cell.state]
    return Scan(torch.stack([torch.cat(rows) for rows in h]), tuple(final))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths", "resets", "lengths resets"])
@pytest.mark.parametrize(
    "name",
    ["LSTM", "ResetBeforeGRU", "ProjectedLSTM", "LayerNormGRU", "MinLSTM", "LeakyElman", "Probed"],
)
@pytest.mark.parametrize("learned", [False, True])
def test_ragged_rows_equal_each_row_run_alone(
    name: str, kind: str, reverse: bool, learned: bool
) -> None:
    at = scene(ZOO[name], T=6, B=5, learned=learned)
    options = ragged(6, 5, kind)
    expected = stepped(at, options.get("lengths"), options.get("resets"), reverse)
    found = scan(
        at.cell,
        at.weights,
        at.x,
        at.state,
        noise=at.noise,
        method="loop",
        reverse=reverse,
        **options,
    )
    assert_close([found.h, found.final[: len(at.state)]], [expected.h, expected.final])
    d, wanted = (
        gradients([found.h, found.final], at.leaves()),
        gradients([expected.h, expected.final], at.leaves()),
    )
    for leaf in wanted:
        assert_close(d[leaf], wanted[leaf], what=f"d {leaf}")


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_may_hold_nan(name: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=5, B=4, training=True)
    lengths = torch.tensor([5, 0, 1, 3])
    padding = torch.arange(5)[:, None] >= lengths
    spoilt = at.x.detach().masked_fill(padding[..., None], torch.nan).requires_grad_()
    for method in ["loop", *methods(at.cell)]:
        for keep in ((), ("states", "gates")) if method != "vendor" else ((),):
            options = dict(
                lengths=lengths, reverse=reverse, method=method, keep=keep, noise=at.noise
            )
            clean = scan(at.cell, at.weights, at.x, at.state, **options)
            found = scan(at.cell, at.weights, spoilt, at.state, **options)
            assert_close(found, clean)
            assert float(found.h.detach()[padding].abs().sum()) == 0
            d, wanted = gradients(found, at.leaves() | {"x": spoilt}), gradients(clean, at.leaves())
            for leaf in wanted:
                assert_close(d[leaf], wanted[leaf], what=f"d {leaf}")
            assert float(d["x"][padding].abs().sum()) == 0


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "MinGRU", "LeakyElman"])
def test_a_reset_goes_to_the_own_state_and_never_to_the_given_one(name: str, reverse: bool) -> None:
    at = scene(ZOO[name], T=4, B=2, learned=True)
    resets = torch.zeros(4, 2, dtype=torch.bool)
    resets[0 if not reverse else 3, 1] = True
    for method in ["loop", *methods(at.cell)]:
        found = scan(
            at.cell, at.weights, at.x, at.state, resets=resets, reverse=reverse, method=method
        )
        spoilt = tuple(value.detach().clone() for value in at.state)
        for value in spoilt:
            value[1] += 100
        other = scan(
            at.cell, at.weights, at.x, spoilt, resets=resets, reverse=reverse, method=method
        )
        own = scan(
            at.cell, at.weights, at.x[:3] if reverse else at.x, None, reverse=reverse, method="loop"
        )
        rows = slice(0, 3) if reverse else slice(0, 4)
        assert_close(found.h[rows, 1], own.h[:, 1])
        assert_close(other.h[rows, 1], own.h[:, 1])


def test_a_reset_clears_a_state_that_is_not_finite() -> None:
    at = scene(ZOO["MinGRU"], T=4, B=2)
    spoilt = (at.state[0].detach().clone(),)
    spoilt[0][1] = torch.nan
    resets = torch.zeros(4, 2, dtype=torch.bool)
    resets[0, 1] = True
    for method in ("loop", "checkpointed", "parallel"):
        assert (
            scan(at.cell, at.weights, at.x, spoilt, resets=resets, method=method).h.isfinite().all()
        ), method


@pytest.mark.parametrize("method", ["loop", "checkpointed", "parallel", "vendor"])
def test_resets_past_a_length_do_nothing(method: str) -> None:
    at = scene(cells.MinGRU() if method == "parallel" else cells.GRU(), T=6, B=3, learned=True)
    lengths = torch.tensor([2, 6, 0])
    resets = torch.zeros(6, 3, dtype=torch.bool)
    resets[2:, 0] = resets[:, 2] = True
    for reverse in (False, True):
        found = scan(
            at.cell,
            at.weights,
            at.x,
            at.state,
            lengths=lengths,
            resets=resets,
            reverse=reverse,
            method=method,
        )
        assert_close(
            found,
            scan(
                at.cell, at.weights, at.x, at.state, lengths=lengths, reverse=reverse, method="loop"
            ),
        )
        assert_close(found.final.h[2], at.state[0][2])


@pytest.mark.parametrize("name", ["MinGRU", "MinLSTM", "Decay"])
def test_linear_cells_run_in_parallel_over_a_long_time(name: str) -> None:
    at = scene(ZOO[name], T=1025, B=2, H=3)
    compare(at, "parallel", (), True)
    compare(at, "parallel", ("states",), False, reverse=True, **ragged(1025, 2, "lengths resets"))
