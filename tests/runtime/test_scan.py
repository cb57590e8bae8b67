"""The runtime equals the plain loop, on NumPy arrays and without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recurra.cells import LSTM, Cell, ProjectedLSTM, Zoneout
from recurra.errors import ArgumentError, DtypeError, ShapeError
from recurra.program import from_json, to_json, trace
from recurra.runtime import scan
from recurra.runtime.scan import state_widths
from tests.kernels.scene import CELLS, Scene, looped, scene

Arrays = dict[str, Any]


def arrays(s: Scene) -> Arrays:
    """The runtime's arguments for a scene: weights, state, lengths and resets in NumPy."""
    given: Arrays = dict(
        program=from_json(to_json(trace(s.cell))),
        weights={name: value.numpy() for name, value in s.weights.items()},
        state={name: value.numpy() for name, value in zip(s.cell.state, s.state, strict=True)},
        reverse=s.reverse,
    )
    return given | {
        name: None if value is None else value.numpy()
        for name, value in (("lengths", s.lengths), ("resets", s.resets))
    }


def input_for(s: Scene) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(*s.x.shape, generator=generator, dtype=torch.float32).to(s.x.dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_runtime_equals_loop(cell: Cell, dtype: torch.dtype, reverse: bool) -> None:
    exact = scene(cell, 6, 4, 5, ragged=True, reverse=reverse)
    exact = replace(exact, initial=tuple(torch.zeros_like(value) for value in exact.initial))
    x = input_for(exact)

    def loop(s: Scene) -> list[torch.Tensor]:
        s = replace(s, x=x.to(s.x.dtype))
        return looped(s)[: 1 + len(cell.state)]

    h, state = scan(x=x.to(dtype).numpy(), **arrays(exact.to(dtype)))
    assert list(state) == list(cell.state)
    for mine, right, plain in zip(
        [h, *state.values()], loop(exact), loop(exact.to(dtype)), strict=True
    ):
        assert mine.dtype == h.dtype and torch.from_numpy(mine).dtype == dtype
        size = max(1.0, right.abs().max().item())
        bound = 1e-12 * size
        if dtype == torch.float32:
            bound = 2 * (plain - right).abs().max().item() + 16 * torch.finfo(dtype).eps * size
        assert np.abs(mine - right.numpy()).max() <= bound


def test_first_state_is_zero_or_learned() -> None:
    s = scene(LSTM(), 3, 2, 5)
    given = arrays(s) | dict(state=None)
    x = input_for(s).numpy()
    zero, _ = scan(x=x, **given)
    zeros = {name: np.zeros((2, 5)) for name in ("h", "c")}
    assert np.array_equal(zero, scan(x=x, **given | dict(state=zeros))[0])
    learned = {"initial_h": np.full(5, 0.5), "initial_c": np.linspace(-1, 1, 5)}
    rows = {name: np.broadcast_to(learned[f"initial_{name}"], (2, 5)) for name in ("h", "c")}
    got, _ = scan(x=x, **given | dict(weights=given["weights"] | learned))
    assert np.array_equal(got, scan(x=x, **given | dict(state=rows))[0])
    assert not np.array_equal(got, zero)


def test_reset_goes_back_to_the_learned_state() -> None:
    s = scene(LSTM(), 3, 2, 5)
    learned = {"initial_h": np.full(5, 0.5), "initial_c": np.linspace(-1, 1, 5)}
    given = arrays(s) | dict(weights=arrays(s)["weights"] | learned)
    x, resets = input_for(s).numpy(), np.array([[False, False], [True, True], [False, False]])
    h, _ = scan(x=x, **given | dict(resets=resets))
    alone, _ = scan(x=x[1:], **given | dict(state=None))
    assert np.allclose(h[1:], alone, rtol=0, atol=1e-14)


def test_nan_past_a_length_is_never_read() -> None:
    s = scene(LSTM(), 4, 3, 5, lengths=torch.tensor([0, 1, 4]))
    x = input_for(s).numpy()
    dirty = np.where((np.arange(4)[:, None] >= [0, 1, 4])[..., None], np.nan, x)
    assert np.array_equal(scan(x=dirty, **arrays(s))[0], scan(x=x, **arrays(s))[0])


def test_widths_are_read_off_the_weights() -> None:
    s = scene(ProjectedLSTM(3))
    given = arrays(s)
    assert state_widths(given["program"], given["weights"]) == {"h": 3, "c": 5}


def test_given_arrays_are_left_as_they_are() -> None:
    s = scene(LSTM(), 3, 2, 5)
    given = arrays(s)
    before = {name: value.copy() for name, value in given["state"].items()}
    scan(x=input_for(s).numpy(), **given)
    assert all(np.array_equal(given["state"][name], value) for name, value in before.items())


BAD = [
    ({"x": np.zeros((4, 2))}, ShapeError, r"x must have shape \(T, B, 2\), got \(4, 2\)"),
    ({"x": np.zeros((4, 2, 3))}, ShapeError, r"x must have shape \(T, B, 2\), got \(4, 2, 3\)"),
    ({"x": [[[0.0]]]}, DtypeError, "x must be a NumPy array, got list; use numpy.asarray"),
    (
        {"x": np.zeros((4, 2, 2), int)},
        DtypeError,
        r"x must be float32 or float64, got int64; use x.astype\('float32'\)",
    ),
    (
        {"x": np.zeros((4, 2, 2), "float32")},
        DtypeError,
        r"weight_ih must have the dtype of x, float32, got float64; use astype\('float32'\)",
    ),
    ({"state": {"h": np.zeros((2, 5))}}, ArgumentError, "state must hold 'c', got h"),
    (
        {"state": {"hh": np.zeros((2, 5))}},
        ArgumentError,
        "state must be one of 'c', 'h', got 'hh'; did you mean 'h'?",
    ),
    (
        {"state": dict.fromkeys("hc", np.zeros((3, 5)))},
        ShapeError,
        r"state.h must have shape \(2, 5\), got \(3, 5\)",
    ),
    ({"lengths": [1, 5]}, ArgumentError, "lengths must be between 0 and T = 4, got 5"),
    ({"lengths": [-1, 4]}, ArgumentError, "lengths must be between 0 and T = 4, got -1"),
    ({"lengths": [1.0, 4.0]}, DtypeError, "lengths must be whole numbers, got float64"),
    ({"lengths": [1, 2, 3]}, ShapeError, r"lengths must have shape \(2,\), got \(3,\)"),
    (
        {"resets": np.zeros((2, 4), bool)},
        ShapeError,
        r"resets must have shape \(4, 2\), got \(2, 4\)",
    ),
    (
        {"resets": np.zeros((4, 2))},
        DtypeError,
        "resets must be bool, True where a step begins a new segment, got float64",
    ),
    ({"weights": {}}, ArgumentError, "weights must hold 'weight_ih', got nothing"),
    (
        {"weights": {"weight_ih": np.zeros((19, 2))}},
        ShapeError,
        "weight_ih must have rows for 4 gates of one size, got 19",
    ),
    (
        {"weights": {"weight_ih": np.zeros(20)}},
        ShapeError,
        r"weight_ih must have shape \(rows, columns\), got \(20,\)",
    ),
    (
        {"weights": {"weight_ih": np.zeros((20, 2))}},
        ArgumentError,
        "weights must hold 'weight_hh', got weight_ih",
    ),
    (
        {
            "weights": {
                "weight_ih": np.zeros((20, 2)),
                "weight_hh": np.zeros((20, 5)),
                "bias_ih": np.zeros(5),
            }
        },
        ShapeError,
        r"bias_ih must have shape \(20,\), got \(5,\)",
    ),
    (
        {"program": trace(Zoneout(LSTM(), h=0.1), ["zoneout_h"])},
        ArgumentError,
        "program must be that of a cell at evaluation, got one with noise zoneout_h",
    ),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD)
def test_what_does_not_fit_is_refused(
    changed: Arrays, error: type[Exception], message: str
) -> None:
    s = scene(LSTM(), 4, 2, 5)
    with pytest.raises(error, match=message):
        scan(**(arrays(s) | {"x": input_for(s).numpy()} | changed))


def test_learned_state_of_another_size_is_refused() -> None:
    s = scene(LSTM(), 4, 2, 5)
    weights = arrays(s)["weights"] | {"initial_h": np.zeros(4)}
    with pytest.raises(ShapeError, match=r"initial_h must have shape \(5,\), got \(4,\)"):
        scan(**(arrays(s) | {"x": input_for(s).numpy(), "weights": weights}))


def test_layer_norm_without_its_gain_is_refused() -> None:
    s = scene(next(cell for cell in CELLS if cell.input_norm), 4, 2, 5)
    weights = {name: value for name, value in arrays(s)["weights"].items() if name != "gain_ih"}
    with pytest.raises(
        ArgumentError, match="weights must hold 'gain_ih', got weight_ih, weight_hh"
    ):
        scan(**(arrays(s) | {"x": input_for(s).numpy(), "weights": weights}))


def test_runs_without_torch_and_loads_nothing_heavy() -> None:
    code = """
import sys
import recurra.runtime
heavy = {"torch", "rich", "matplotlib", "onnx", "IPython"} & set(sys.modules)
import numpy
from recurra.program.serial import from_json
program = from_json(sys.stdin.read())
weights = {"weight_ih": numpy.ones((4, 1)), "weight_hh": numpy.ones((4, 1))}
h, state = recurra.runtime.scan(program, weights, numpy.ones((2, 1, 1)))
print(len(heavy), "torch" in sys.modules, *h.ravel())
"""
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=to_json(trace(LSTM())),
            capture_output=True,
            text=True,
        )
        for _ in range(3)
    ]
    assert not done[0].stderr
    assert all(each.stdout.split()[1] == "False" for each in done)
    assert all(each.stdout.split()[0] == "0" for each in done)
    ones = scene(LSTM(), 2, 1, 1)
    weights = {name: torch.ones(4, 1).double() for name in ("weight_ih", "weight_hh")}
    ones = replace(
        ones,
        weights=weights,
        x=torch.ones(2, 1, 1).double(),
        state=(torch.zeros(1, 1).double(),) * 2,
    )
    assert np.allclose(
        [float(value) for value in done[0].stdout.split()[2:]],
        looped(ones)[0].ravel(),
        rtol=0,
        atol=1e-15,
    )
