from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from recurra.cells import LSTM, Elman, ResetBeforeGRU
from recurra.convert.textbook import from_textbook
from recurra.errors import ConversionError, DtypeError, ShapeError
from tests.textbook import elman, gru, lstm
from tests.textbook.scalar import run
from tests.textbook.scene import CASES, Scene, arrays, assert_equal, stepped

FORMS = {
    "RNN": ("", elman.elman, Elman()),
    "LSTM": ("fico", lstm.lstm, LSTM()),
    "GRU": ("zrh", gru.reset_before, ResetBeforeGRU()),
}


def printed(form: str, inputs: int = 3, units: int = 5) -> dict[str, np.ndarray]:
    """Random weights by their printed names."""
    draw = np.random.default_rng(10 * inputs + units).standard_normal
    if form == "RNN":
        return {"W_h": draw((units, units)), "W_x": draw((units, inputs)), "b": draw(units)}
    return {
        name: value
        for k in FORMS[form][0]
        for name, value in ((f"W_{k}", draw((units, units + inputs))), (f"b_{k}", draw(units)))
    }


def scene_of(cell: Any, weights: dict[str, torch.Tensor], inputs: int, units: int) -> Scene:
    """Seven steps of three rows through the converted cell."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(7, 3, inputs, generator=generator, dtype=torch.float64)
    state = {
        name: torch.randn(3, units, generator=generator, dtype=torch.float64) for name in cell.state
    }
    return Scene(cell, CASES["LSTM"], weights, x, state)


@pytest.mark.parametrize("sizes", [(3, 5), (1, 1), (5, 1), (1, 5)], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_converted_cell_equals_the_printed_equations(form: str, sizes: tuple[int, int]) -> None:
    p = printed(form, *sizes)
    cell, weights = from_textbook(**p)
    assert repr(cell) == repr(FORMS[form][2])
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == cell.weights(
        *sizes, biases=1
    )
    at = scene_of(cell, weights, *sizes)
    assert_equal(stepped(cell, at), run(FORMS[form][1], p, at.x.numpy(), arrays(at.state)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "turn",
    [
        np.ndarray.tolist,
        torch.tensor,
        np.asfortranarray,
        lambda w: w[::-1].copy()[::-1],
        lambda w: w.astype(">f8"),
    ],
)
def test_arrays_lists_and_tensors_give_the_same_weights(form: str, turn: Any) -> None:
    p = printed(form)
    _, expected = from_textbook(**p)
    cell, found = from_textbook(
        **dict(reversed([(name, turn(value)) for name, value in p.items()]))
    )
    assert type(cell) is type(FORMS[form][2])
    for name in expected:
        assert found[name].dtype == torch.float64 and found[name].is_contiguous()
        assert torch.equal(found[name], expected[name])


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_are_copies_without_a_graph(form: str) -> None:
    p = {name: torch.tensor(value).requires_grad_() for name, value in printed(form).items()}
    _, weights = from_textbook(**p)
    before = {name: weight.clone() for name, weight in weights.items()}
    with torch.no_grad():
        for value in p.values():
            value.zero_()
    for name, weight in weights.items():
        assert not weight.requires_grad
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_copied_too(form: str) -> None:
    p = printed(form)
    _, weights = from_textbook(**p)
    before = {name: weight.clone() for name, weight in weights.items()}
    for value in p.values():
        value[...] = 0.0
    assert all(torch.equal(weights[name], before[name]) for name in weights)


def test_the_widest_dtype_given_wins_and_integers_count_as_float64() -> None:
    p = printed("RNN")
    low = {name: value.astype(np.float32) for name, value in p.items()}
    assert {weight.dtype for weight in from_textbook(**low)[1].values()} == {torch.float32}
    assert {weight.dtype for weight in from_textbook(**(low | {"b": p["b"]}))[1].values()} == {
        torch.float64
    }
    for zeros in (
        np.zeros(5, dtype=np.int64),
        torch.zeros(5, dtype=torch.int32),
        [0] * 5,
        np.zeros(5, dtype=np.longdouble),
    ):
        assert {weight.dtype for weight in from_textbook(**(low | {"b": zeros}))[1].values()} == {
            torch.float64
        }
    half = {name: torch.tensor(value, dtype=torch.bfloat16) for name, value in p.items()}
    assert {weight.dtype for weight in from_textbook(**half)[1].values()} == {torch.bfloat16}


def renamed(form: str, old: str, new: str) -> dict[str, np.ndarray]:
    return {new if name == old else name: value for name, value in printed(form).items()}


NAMES = [
    (
        {},
        (
            "weights must be named as one printed form, got none; the forms are W_h, W_x, b (RNN);"
            " W_f, b_f, W_i, "
        ),
    ),
    ({"kernel": [0.0]}, "weights must be named as one printed form, got kernel; the forms are "),
    (
        renamed("LSTM", "W_c", "W_g"),
        (
            "weights of the LSTM must be named W_f, b_f, W_i, b_i, W_c, b_c, W_o, b_o, got 'W_g';"
            " did you mean 'W_c'?"
        ),
    ),
    (renamed("LSTM", "b_o", "bo"), "got 'bo'; did you mean 'b_o'?"),
    (
        renamed("GRU", "W_r", "Wr"),
        (
            "weights of the GRU must be named W_z, b_z, W_r, b_r, W_h, b_h, got 'Wr'; did you mean"
            " 'W_r'?"
        ),
    ),
    (
        renamed("RNN", "W_x", "U"),
        "weights of the RNN must be named W_h, W_x, b, got 'U'; leave it out",
    ),
    (printed("LSTM") | {"W_z": [[0.0]]}, "got 'W_z'; leave it out"),
    (
        printed("RNN") | {"W_y": [[0.0]]},
        (
            "weights must be the recurrent layer's alone, got 'W_y'; load W_y and b_y into a"
            " torch.nn.Linear"
        ),
    ),
    (
        {k: v for k, v in printed("GRU").items() if k not in ("W_r", "b_r")},
        "got W_z, b_z, W_h, b_h; add W_r, b_r",
    ),
    (
        {k: v for k, v in printed("RNN").items() if k != "b"},
        "got W_h, W_x; add b (a bias that is not there is zeros)",
    ),
    (
        {"W_h": np.zeros((5, 8)), "b_h": np.zeros(5)},
        (
            "weights of the GRU must be W_z, b_z, W_r, b_r, W_h, b_h, got W_h, b_h; add W_z, b_z,"
            " W_r, b_r"
        ),
    ),
]


@pytest.mark.parametrize(
    ("weights", "message"), NAMES, ids=lambda value: value[-30:] if isinstance(value, str) else ""
)
def test_names_that_are_no_form_are_refused(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(message)):
        from_textbook(**weights)


SHAPES = [
    ("RNN", {"W_h": np.zeros((5, 3))}, "W_h must have shape (5, 5), got (5, 3)"),
    ("RNN", {"W_h": np.zeros(())}, "W_h must have shape (H, H), got ()"),
    ("RNN", {"W_x": np.zeros((3, 5))}, "W_x must have shape (5, 5), got (3, 5)"),
    ("RNN", {"W_x": np.zeros(5)}, "W_x must have shape (5, I), got (5,)"),
    ("RNN", {"W_x": np.zeros((5, 0))}, "W_x must have shape (5, I), got (5, 0)"),
    ("RNN", {"b": np.zeros((5, 1))}, "b must have shape (5,), got (5, 1)"),
    ("RNN", {"b": 0.0}, "b must have shape (5,), got ()"),
    ("LSTM", {"W_f": np.zeros((8, 5))}, "W_f must have shape (H, H + I), got (8, 5); transpose it"),
    (
        "LSTM",
        {"W_f": np.zeros((5, 5))},
        "W_f must have shape (H, H + I), got (5, 5); its columns are those of h, then those of x",
    ),
    ("LSTM", {"W_f": np.zeros(8)}, "W_f must have shape (H, H + I), got (8,); its columns are"),
    ("LSTM", {"W_o": np.zeros((5, 7))}, "W_o must have shape (5, 8), got (5, 7)"),
    ("LSTM", {"b_c": np.zeros(4)}, "b_c must have shape (5,), got (4,)"),
    ("GRU", {"W_h": np.zeros((5, 5))}, "W_h must have shape (5, 8), got (5, 5)"),
    ("GRU", {"b_r": np.zeros((1, 5))}, "b_r must have shape (5,), got (1, 5)"),
    (
        "GRU",
        {"W_z": [[1.0, 2.0], [3.0]]},
        (
            "W_z must have rows of one length, got ragged ones; fill them up or leave the longer"
            " ones out"
        ),
    ),
]


@pytest.mark.parametrize(
    ("form", "wrong", "message"), SHAPES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_shape_that_does_not_fit_is_named_beside_the_right_one(
    form: str, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        from_textbook(**(printed(form) | wrong))


DTYPES = [
    (np.zeros(5, dtype=complex), "b must hold real numbers, got complex128; pass floats"),
    (["a"] * 5, "b must hold real numbers, got <U1; pass floats"),
    (None, "b must hold real numbers, got object; pass floats"),
    ([True] * 5, "b must hold real numbers, got bool; pass floats"),
    (
        torch.zeros(5, dtype=torch.complex64),
        "b must hold real numbers, got torch.complex64; pass floats",
    ),
    (torch.zeros(5, dtype=torch.bool), "b must hold real numbers, got torch.bool; pass floats"),
    (torch.zeros(5, device="meta"), "b must be on cpu like W_h, got meta; move it with .to()"),
]


@pytest.mark.parametrize(
    ("bias", "message"), DTYPES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_holds_no_real_numbers_is_refused(bias: Any, message: str) -> None:
    with pytest.raises(DtypeError, match=re.escape(message)):
        from_textbook(**(printed("RNN") | {"b": bias}))
