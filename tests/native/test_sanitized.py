"""What a sanitizer should see: every cell both ways, at odd sizes, and programs that were changed
at random.

`make sanitize` runs this file on an instrumented module, with the threads of RECURRA_TEST_POOL.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra import native
from recurra.cells import (
    GRU,
    LSTM,
    Cell,
    Elman,
    LayerNormGRU,
    LayerNormLSTM,
    ProjectedLSTM,
    Zoneout,
)
from recurra.kernels.backward import Seeds, backward
from recurra.kernels.encode import arguments
from recurra.kernels.forward import run
from recurra.kernels.launch import NONE, Array, Made
from recurra.kernels.outputs import Options, place
from recurra.kernels.pool import FUNCTIONS
from recurra.program import trace
from tests.kernels.scene import CELLS, Scene, looped, scene
from tests.kernels.test_backward import encoded, expected, leaves, seeds_for

LIBRARY = os.environ.get("RECURRA_TEST_POOL")
DTYPES = {torch.float32: 2e-4, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The threads that RECURRA_TEST_POOL names instead of PyTorch's; the number of threads is as
    before afterwards.
    """
    before = torch.get_num_threads()
    if LIBRARY:
        library = ctypes.CDLL(LIBRARY)
        addresses = [
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in FUNCTIONS
        ]
        for place in ("pool", "forward", "backward"):
            monkeypatch.setattr(f"recurra.kernels.{place}.pool", lambda: (*addresses, COUNT[0]))
    yield
    use(before)


COUNT = [1]


def use(count: int) -> None:
    """Threads for the scans to come; under a sanitizer PyTorch keeps to one, for its own cannot be
    followed.
    """
    COUNT[0] = count
    if not LIBRARY:
        torch.set_num_threads(count)


def wider(s: Scene, size: int) -> Scene:
    """The same scene with `size` inputs a step."""
    generator = torch.Generator().manual_seed(size)
    shape = s.weights["weight_ih"].shape[0], size
    weight = torch.randn(shape, generator=generator) * size**-0.5
    x = torch.randn((*s.x.shape[:2], size), generator=generator)
    return replace(s, x=x, weights=s.weights | {"weight_ih": weight})


def both_ways(s: Scene, recompute: bool) -> list[Tensor]:
    """h, final states, gates and gradients by the native module."""
    double, dtype = seeds_for(s.to(torch.float64)), s.x.dtype
    assert double.h is not None
    final, each = (
        [None if value is None else value.to(dtype) for value in values]
        for values in (double.final, double.states)
    )
    seeds = Seeds(double.h.to(dtype), final, each)
    code, arrays = encoded(s)
    with torch.no_grad():
        out = run(
            code,
            arrays,
            Options(
                s.reverse, states=True, gates=True, saving=True, recompute=recompute, noise=True
            ),
        )
        needed = [tensor is not None for tensor in leaves(arrays)]
        made = backward(
            code, arrays, Made(out.h, states=out.states, saved=out.saved), seeds, needed
        )
    return [out.h, *out.final, *out.gates, *made]


def assert_near(found: list[Tensor], right: list[Tensor], bound: float) -> None:
    assert len(found) == len(right)
    for number, (mine, value) in enumerate(zip(found, right, strict=True)):
        error = (mine.double() - value).abs().max().item() if mine.numel() else 0.0
        assert error <= bound * max(1.0, value.abs().max().item() if mine.numel() else 0.0), number


def assert_right(s: Scene, *, recompute: bool = False) -> None:
    """Hold values and gradients to the plain loop in float64, and float32 to a coarser bound."""
    outputs = looped(s)
    gradients = [d for d in expected(s, seeds_for(s)) if d is not None]
    states = len(s.state)
    right = [
        each.detach() for each in outputs[: 1 + states] + outputs[1 + 2 * states :]
    ] + gradients
    for dtype, bound in DTYPES.items():
        assert_near(both_ways(s.to(dtype), recompute), right, bound)


every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_every_cell_both_ways(cell: Cell, reverse: bool, recompute: bool) -> None:
    assert_right(
        scene(cell, 5, 4, 5, noisy=True, ragged=True, reverse=reverse), recompute=recompute
    )


@pytest.mark.parametrize("cell", [Elman(), ProjectedLSTM(3), LayerNormGRU()], ids=repr)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 5), (1, 4, 63), (4, 1, 130), (1, 13, 5), (7, 3, 63), (2, 5, 130)], ids=str
)
@pytest.mark.parametrize("inputs", [1, 7, 33])
def test_odd_sizes(cell: Cell, sizes: tuple[int, int, int], inputs: int) -> None:
    assert_right(wider(scene(cell, *sizes, ragged=True), inputs))


@pytest.mark.parametrize("cell", [Elman(), LSTM(), GRU()], ids=repr)
def test_one_of_everything(cell: Cell) -> None:
    assert_right(wider(scene(cell, 1, 1, 1), 1))


THREADED = (LSTM(), ProjectedLSTM(3), LayerNormLSTM(), Zoneout(GRU(), h=0.3))


@pytest.mark.parametrize("cell", THREADED, ids=repr)
@pytest.mark.parametrize("split", ["rows", "units"])
@pytest.mark.parametrize("recompute", [False, True])
def test_threads_share_a_scan(
    cell: Cell, split: str, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECURRA_SPLIT", split)
    s = wider(scene(cell, 9, 37, 63, noisy=True, ragged=True), 33).to(torch.float32)
    use(1)
    one = both_ways(s, recompute)
    for count in (2, 3):
        use(count)
        for mine, alone in zip(both_ways(s, recompute), one, strict=True):
            assert torch.equal(mine, alone)


BASES = [
    (LSTM(), True),
    (LayerNormGRU(), False),
    (Zoneout(GRU(), h=0.3), True),
    (ProjectedLSTM(3), False),
]


def base(number: int) -> dict[str, Any]:
    """What the native module is told of a cell of five units."""
    cell, noisy = BASES[number]
    s = scene(cell, 3, 2, 5, noisy=noisy)
    widths = {"hidden": 5} | {
        name: value.shape[-1] for name, value in zip(cell.state, s.state, strict=True)
    }
    return arguments(trace(cell, s.noise), widths, 3, True)


def integers(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every integer of nested lists."""
    if isinstance(tree, int) and not isinstance(tree, bool):
        yield path
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list | tuple)
        else ()
    )
    for key, value in items:
        yield from integers(value, (*path, key))


def changed(tree: Any, path: tuple[Any, ...], value: int) -> Any:
    """The same lists with one integer replaced."""
    if not path:
        return value
    made = dict(tree) if isinstance(tree, dict) else list(tree)
    made[path[0]] = changed(tree[path[0]], path[1:], value)
    return tuple(made) if isinstance(tree, tuple) else made


class Room:
    """Arrays of just the sizes that a program's lists declare."""

    def __init__(self) -> None:
        self.held: list[Tensor] = []

    def of(self, *shape: int) -> Array:
        self.held.append(torch.full(shape, 0.25))
        return place(self.held[-1])

    def weights(self, lists: dict[str, Any]) -> list[tuple[Array, Array, Array]]:
        made = []
        for product in (lists["input"], *(phase[1] for phase in lists["phases"])):
            if product is None:
                made.append((NONE, NONE, NONE))
                continue
            weighted, _, blocks, total, unit, reads, _ = product
            rows = (total if weighted else blocks) * unit
            made.append((self.of(rows, reads) if weighted else NONE, self.of(rows), self.of(rows)))
        return made


def run_both_ways(lists: dict[str, Any], program: native.Program) -> None:
    """Run a program over arrays that end where it says that they end."""
    steps, rows, room = 3, 2, Room()
    sizes, states, params = (steps, rows), lists["states"], lists["params"]

    def each(widths: list[int], *shape: int) -> list[Array]:
        return [room.of(*shape, width) for width in widths]

    common: dict[str, Any] = dict(
        program=program,
        dtype="float64",
        sizes=sizes,
        reverse=False,
        x=room.of(*sizes, lists["input"][5]),
        h=room.of(*sizes, states[0]),
        weights=room.weights(lists),
        noise=[(array, False) for array in each(lists["noises"], *sizes)],
        params=each(params),
        saved=room.of(*sizes, program.saved_size),
        lengths=NONE,
        resets=NONE,
        pool=(0, 0, 0, 1),
    )
    first, records = each(states, rows), [NONE, *each(states[1:], *sizes)]
    gates = each([lists["hidden"]] * lists["gates"], *sizes)
    native.forward(
        state=(first, [], each(states, rows)), kept=(records, gates), held=False, **common
    )
    dnoise = each(lists["noises"], *sizes)
    native.backward(
        state=(first, []),
        states=records,
        given=(room.of(*sizes, states[0]), each(states, rows), []),
        wanted=(
            room.of(*sizes, lists["input"][5]),
            each(states, rows),
            [],
            room.weights(lists),
            dnoise,
            each(params),
        ),
        **common,
    )


@settings(max_examples=300)
@given(st.data())
def test_changed_program_is_refused_or_stays_within_its_arrays(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(BASES) - 1))
    lists = base(number)
    path = data.draw(st.sampled_from(list(integers(lists))))
    value = data.draw(st.integers(-2, 12) | st.sampled_from([513, -(2**31), 2**31 - 1, 2**20 + 1]))
    lists = changed(lists, path, value)
    try:
        program = native.Program(**lists)
    except ValueError as error:
        assert " must " in str(error)
        return
    run_both_ways(lists, program)


def test_unchanged_programs_run() -> None:
    for number in range(len(BASES)):
        lists = base(number)
        run_both_ways(lists, native.Program(**lists))
