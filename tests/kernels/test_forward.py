"""The native driver equals the plain loop."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recurra import native
from recurra.cells import GRU, LSTM, Cell, Elman, LayerNormLSTM, RecurrentDropout, Zoneout
from recurra.errors import ArgumentError, DtypeError, ShapeError
from recurra.kernels.forward import forward
from recurra.kernels.pool import pool
from recurra.program import trace
from tests.kernels.scene import CELLS, assert_right, fused, looped, scene

ISAS = native.info()["isas"]
LOWER = ISAS[: ISAS.index(native.info()["isa"])]
DTYPES = (torch.float32, torch.float64)
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


@every_cell
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("steps", "rows", "hidden"),
    [(5, 3, 5), (1, 1, 1), (2, 1, 63), (3, 13, 130), (4, 26, 17), (2, 2, 64)],
)
def test_driver_equals_loop(
    cell: Cell, steps: int, rows: int, hidden: int, dtype: torch.dtype
) -> None:
    assert_right(scene(cell, steps, rows, hidden), dtype)


@every_cell
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_driver_equals_loop_ragged_with_resets(
    cell: Cell, reverse: bool, dtype: torch.dtype
) -> None:
    assert_right(scene(cell, 7, 9, 5, ragged=True, reverse=reverse), dtype)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.noises()], ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_driver_equals_loop_with_noise(cell: Cell, reverse: bool, dtype: torch.dtype) -> None:
    noisy = scene(cell, 7, 6, 5, noisy=True, ragged=True, reverse=reverse)
    assert_right(noisy, dtype)
    plain = replace(noisy, noise={})
    assert any(not torch.equal(a, b) for a, b in zip(fused(noisy), fused(plain), strict=True))


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_past_a_length_is_never_read(cell: Cell, reverse: bool) -> None:
    clean = scene(cell, 6, 5, 5, noisy=True, ragged=True, reverse=reverse)
    assert clean.lengths is not None
    past = torch.arange(6)[:, None] >= clean.lengths
    steps = {name: value for name, value in clean.noise.items() if name not in cell.lasting()}
    dirty = {
        name: value.masked_fill(past[..., None], float("nan")) for name, value in steps.items()
    }
    x = clean.x.masked_fill(past[..., None], float("nan"))
    for mine, right in zip(
        fused(replace(clean, x=x, noise=clean.noise | dirty)), fused(clean), strict=True
    ):
        assert torch.equal(mine, right)
        assert mine.isfinite().all()


def test_row_past_its_length_is_held_and_silent() -> None:
    s = scene(LSTM(), 4, 3, 5)
    h, (final_h, _), states, gates = forward(
        trace(LSTM()),
        s.weights,
        s.x,
        s.state,
        lengths=torch.tensor([0, 1, 4]),
        keep=("states", "gates"),
    )
    assert states is not None and gates is not None
    assert torch.equal(final_h[0], s.state[0][0])
    assert torch.equal(states[0][3, 1], h[0, 1]) and h[0, 1].abs().min() > 0
    assert not h[:, 0].any() and not h[1:, 1].any()
    assert all(
        not gate[:, 0].any() and not gate[1:, 1].any() and gate[0, 1].all() for gate in gates
    )


def test_reset_going_backward_comes_after_the_step() -> None:
    s = scene(
        GRU(),
        3,
        2,
        5,
        resets=torch.tensor([[False, False], [True, False], [False, False]]),
        reverse=True,
    )
    h, (final,), states, _ = forward(
        trace(GRU()),
        s.weights,
        s.x,
        s.state,
        s.initial,
        resets=s.resets,
        reverse=True,
        keep=("states",),
    )
    assert states is not None
    assert torch.equal(states[0][1], h[1])
    alone, *_ = forward(trace(GRU()), s.weights, s.x[:1], s.initial, reverse=True)
    assert torch.equal(h[0, 0], alone[0, 0])
    assert torch.equal(final[0], alone[0, 0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", [LSTM(), LayerNormLSTM(), Zoneout(GRU(), h=0.3)], ids=repr)
def test_bits_do_not_depend_on_the_rows_beside(cell: Cell, dtype: torch.dtype) -> None:
    s = scene(cell, 3, 29, 33, noisy=True).to(dtype)
    whole = fused(s)
    for rows in (slice(0, 2), slice(3, 5), slice(5, 17), slice(4, 29)):
        state, initial = (tuple(value[rows] for value in values) for values in (s.state, s.initial))
        noise = {name: value[:, rows] for name, value in s.noise.items()}
        part = fused(
            replace(s, x=s.x[:, rows].contiguous(), state=state, initial=initial, noise=noise)
        )
        for mine, right in zip(part, whole, strict=True):
            assert torch.equal(mine, right[..., rows, :])


@pytest.mark.skipif(
    sys.platform != "linux", reason="threads come from the libgomp of PyTorch for Linux"
)
@pytest.mark.parametrize("cell", [LSTM(), LayerNormLSTM(), Zoneout(GRU(), h=0.3)], ids=repr)
def test_bits_do_not_depend_on_threads(cell: Cell) -> None:
    s = scene(cell, 9, 37, 63, noisy=True, ragged=True).to(torch.float32)
    one = fused(s)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert pool()[0] != 0 and pool()[3] == threads
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(fused(s), one, strict=True))


def test_chunks_equal_the_whole() -> None:
    s = scene(LSTM(), 9, 3, 5)
    whole, final, *_ = forward(trace(LSTM()), s.weights, s.x, s.state)
    first, middle, *_ = forward(trace(LSTM()), s.weights, s.x[:4], s.state)
    second, last, *_ = forward(trace(LSTM()), s.weights, s.x[4:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(last, final, strict=True))


def test_arguments_are_left_as_they_are() -> None:
    s = scene(RecurrentDropout(LSTM(), 0.3), 4, 3, 5, noisy=True, ragged=True)
    tensors: list[Tensor] = [s.x, *s.state, *s.initial, *s.weights.values(), *s.noise.values()]
    before = [tensor.clone() for tensor in tensors]
    fused(s)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_missing_biases_are_zero() -> None:
    s = scene(LSTM())
    plain = {name: value for name, value in s.weights.items() if name != "bias_hh"}
    assert_right(replace(s, weights=plain), torch.float64)
    assert not torch.equal(fused(replace(s, weights=plain))[0], fused(s)[0])


def test_strided_arguments_are_taken() -> None:
    s = scene(GRU(), 4, 3, 5)
    state = (s.state[0][:1].expand(3, 5),)
    strided = replace(s, x=s.x.transpose(0, 1).contiguous().transpose(0, 1), state=state)
    assert not strided.x.is_contiguous()
    assert torch.allclose(fused(strided)[0], looped(strided)[0], rtol=0, atol=1e-12)


def test_nan_in_one_row_stays_there() -> None:
    s = scene(LayerNormLSTM(), 4, 7, 5)
    s.x[1, 2] = float("nan")
    h = fused(s)[0]
    assert h[1:, 2].isnan().all()
    assert h[:, [0, 1, 3, 4, 5, 6]].isfinite().all()


def test_nothing_is_kept_unless_asked_for() -> None:
    s = scene(Elman())
    assert forward(trace(Elman()), s.weights, s.x, s.state)[2:] == (None, None)


def test_no_step_gives_back_the_state() -> None:
    s = scene(LSTM())
    h, final, *_ = forward(trace(LSTM()), s.weights, s.x[:0], s.state)
    assert h.shape == (0, 3, 5)
    assert all(torch.equal(a, b) for a, b in zip(final, s.state, strict=True))


IH = torch.zeros(20, 2, dtype=torch.float64)


def call(**changed: object) -> None:
    """A good call with some arguments changed."""
    s = scene(LSTM())
    given = dict(weights=s.weights, x=s.x, state=s.state, initial=s.initial) | changed
    forward(trace(LSTM()), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"x": torch.zeros(5, 3, 3).double()},
            ShapeError,
            r"x must have shape \(T, B, 2\), got \(5, 3, 3\)",
        ),
        (
            {"x": torch.zeros(5, 20).double()},
            ShapeError,
            r"x must have shape \(T, B, I\), got \(5, 20\)",
        ),
        (
            {"x": torch.zeros(5, 3, 2).half()},
            DtypeError,
            "x must be torch.float32 or torch.float64, got torch.float16",
        ),
        (
            {"x": torch.zeros(5, 3, 2)},
            DtypeError,
            "state.h must be torch.float32, as x, got torch.float64",
        ),
        (
            {"x": torch.zeros(5, 3, 2, device="meta").double()},
            DtypeError,
            "x must be on the cpu, got meta",
        ),
        (
            {"state": (torch.zeros(3, 5).double(),)},
            ShapeError,
            "state must hold h, c, got 1 values",
        ),
        (
            {"initial": (torch.zeros(3, 5).double(),)},
            ShapeError,
            "state and initial must hold h, c, got 2 and 1 values",
        ),
        (
            {"state": (torch.zeros(2, 5).double(),) * 2},
            ShapeError,
            r"state.h must have shape \(3, 5\), got \(2, 5\)",
        ),
        (
            {"initial": (torch.zeros(3, 4).double(),) * 2},
            ShapeError,
            r"initial.h must have shape \(3, 5\), got \(3, 4\)",
        ),
        (
            {"initial": (), "resets": torch.zeros(5, 3).bool()},
            ArgumentError,
            "initial must be given with resets, got None",
        ),
        (
            {"lengths": torch.zeros(4).long()},
            ShapeError,
            r"lengths must have shape \(3,\), got \(4,\)",
        ),
        (
            {"lengths": torch.zeros(3).int()},
            DtypeError,
            "lengths must be torch.int64 on the cpu, got torch.int32",
        ),
        (
            {"resets": torch.zeros(3, 5).bool()},
            ShapeError,
            r"resets must have shape \(5, 3\), got \(3, 5\)",
        ),
        (
            {"resets": torch.zeros(5, 3)},
            DtypeError,
            "resets must be torch.bool on the cpu, got torch.float32",
        ),
        (
            {"weights": {}},
            ShapeError,
            r"weights\['weight_ih'\] must have shape \(4 H, I\), got none",
        ),
        (
            {"weights": {"weight_ih": IH}},
            ArgumentError,
            "weights must hold 'weight_hh', got weight_ih",
        ),
        (
            {"weights": {"weight_ih": IH, "weight_hh": IH}},
            ShapeError,
            r"weight_hh must have shape \(20, 5\), got \(20, 2\)",
        ),
        (
            {"weights": {"weight_ih": IH, "weight_hh": torch.zeros(20, 5)}},
            DtypeError,
            "weight_hh must be torch.float64, as x, got torch.float32",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    changed: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(**changed)


def test_noise_that_is_missing_or_misshapen_is_refused() -> None:
    cell = Zoneout(LSTM(), h=0.5)
    s = scene(cell, noisy=True)
    arguments = (trace(cell, s.noise), s.weights, s.x, s.state)
    with pytest.raises(
        ArgumentError,
        match="noise must hold 'zoneout_h', got nothing; the program was traced with it",
    ):
        forward(*arguments)
    with pytest.raises(
        ShapeError, match=r"noise\['zoneout_h'\] must have shape \(5, 3, 5\), got \(4, 3, 5\)"
    ):
        forward(*arguments, noise={"zoneout_h": torch.zeros(4, 3, 5).double()})


@pytest.mark.parametrize("isa", LOWER)
def test_lower_instruction_set_passes_the_same_tests(isa: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "equals_loop and not ragged or bits",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"RECURRA_ISA": isa}, timeout=250
    )
    assert done.returncode == 0, done.stdout
