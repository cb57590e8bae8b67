from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from safetensors.torch import save_file

import recurra
from recurra import state
from recurra.cells.named import named_type
from recurra.checksum import checksum
from recurra.errors import ArgumentError, DataError, DtypeError, RunError, ShapeError
from tests.cells.zoo import assert_close, tensors

Pair = named_type("State", ("h", "c"))


def nested(B: int = 3) -> Any:
    """A stack's state: named, bare, torch's order, masks in use and not."""
    masked = named_type("State", ("h", "dropout_h"))
    return (
        Pair(torch.randn(B, 4), torch.randn(B, 5)),
        None,
        masked(torch.randn(B, 4), torch.ones(B, 4)),
        masked(torch.randn(B, 2), None),
        torch.randn(2, B, 3),
    )


def test_detach_cuts_every_value_and_keeps_the_form() -> None:
    whole = state.transform(nested(), lambda value: value.requires_grad_() * 2)
    cut = state.detach(whole)
    assert not any(value.requires_grad for value in tensors(cut))
    assert [type(part) for part in cut] == [type(part) for part in whole]
    assert_close(cut, whole)


def test_redraw_drops_masks_and_nothing_else() -> None:
    whole = (*nested(), named_type("State", ("mask",))(torch.ones(3, 2)))
    fresh = state.redraw(whole)
    assert fresh[2].dropout_h is None and fresh[5].mask is None and fresh[2].h is whole[2].h
    assert fresh[0].c is whole[0].c and fresh[4] is whole[4] and fresh[1] is None


def test_batch_size_is_found_wherever_a_tensor_is() -> None:
    assert state.batch_size(nested(7)) == 7
    assert state.batch_size((None, (None, torch.zeros(2, 5, 3)))) == 5
    assert state.batch_size(None) is None and state.batch_size((None, ())) is None


@pytest.mark.parametrize(
    "rows",
    [
        [1],
        [2, 0],
        [],
        torch.tensor([False, True, False]),
        [True, False, True],
        torch.tensor([1], dtype=torch.int32),
    ],
)
def test_reset_sets_some_rows_back_and_leaves_the_others(rows: Any) -> None:
    whole = nested()
    chosen = torch.as_tensor(rows)
    numbers = (
        chosen.nonzero().flatten().tolist()
        if chosen.dtype == torch.bool
        else [int(row) for row in rows]
    )
    for first in (None, nested()):
        found = state.reset(whole, rows, first)
        assert [type(part) for part in found] == [type(part) for part in whole]
        for value, before, own in zip(
            tensors(found), tensors(whole), tensors(first) or [torch.zeros(())] * 9
        ):
            own = own if own.ndim else torch.zeros_like(before)
            for row in range(3):
                assert_close(
                    value.select(-2, row), (own if row in numbers else before).select(-2, row)
                )


def test_gradients_flow_through_a_reset() -> None:
    h, first = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    state.reset((h,), [1], (first,))[0].sum().backward()
    assert h.grad.sum(1).tolist() == [2, 0, 2] and first.grad.sum(1).tolist() == [0, 2, 0]


@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 1), max_size=3))
def test_select_and_concat_are_each_others_inverse(left: list[int], right: list[int]) -> None:
    whole = nested()
    together = state.concat(
        [state.select(whole, left), state.select(nested(2), right), state.select(whole, [0, 1, 2])]
    )
    assert state.batch_size(together) == len(left) + len(right) + 3
    assert_close(state.select(together, list(range(len(left)))), state.select(whole, left))
    assert_close(
        state.select(together, list(range(len(left) + len(right), len(left) + len(right) + 3))),
        whole,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_saved_state_comes_back_with_its_form(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = state.transform(nested(), lambda value: value.to(dtype))
    state.save(whole, tmp_path / "state.safetensors")
    found = state.load(tmp_path / "state.safetensors")
    assert_close(found, whole, 0.0)
    assert [type(part) for part in found] == [type(part) for part in whole]
    assert found[1] is None and found[3].dropout_h is None


def test_values_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    h = torch.randn(2, 3, 4, requires_grad=True)
    whole = (h[0], h[1], h, h[0].expand(3, 4), h[:, :, ::2], h)
    state.save(whole, tmp_path / "state")
    assert_close(state.load(tmp_path / "state"), whole, 0.0)


def test_a_state_of_nothing_can_be_saved(tmp_path: Path) -> None:
    state.save((None, ()), tmp_path / "state")
    assert state.load(tmp_path / "state") == (None, ())


def forge(path: Path, tensors: dict[str, torch.Tensor], form: str) -> None:
    """A file whose checksum is right, whatever it says."""
    save_file(
        tensors, path, metadata={"recurra_state": form, "crc32": str(checksum(form, tensors))}
    )


def test_a_bit_of_a_saved_state_is_covered(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state.save((torch.ones(2, 3),), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"got '.*state' \(its checksum is another; it is damaged\)$"
    ):
        state.load(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"\(.*not a regular file\)$"):
        state.load(tmp_path / "pipe")


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^path must be a file that can be written, got '.*none/state' \(.*\)$"
    ):
        state.save((None,), tmp_path / "none" / "state")


@pytest.mark.parametrize(
    "form",
    [
        None,
        "missing",
        3,
        [],
        {"parts": []},
        {"fields": ["a"], "parts": []},
        {"fields": None, "parts": ["x"]},
        {"fields": ["import"], "parts": ["h"]},
        {"fields": ["__class__"], "parts": ["h"]},
        {"fields": 3, "parts": []},
        {"fields": None, "parts": 5},
        {"fields": ["a", "a"], "parts": ["h", "h"]},
    ],
)
def test_a_hostile_form_is_refused(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "state"
    forge(path, {"h": torch.zeros(1, 2)}, json.dumps(form))
    if form is None:
        save_file({"h": torch.zeros(1, 2)}, path, metadata={})
    with pytest.raises(
        DataError, match=r"^path must be a state saved by recurra.state.save, got '.*state'"
    ):
        state.load(path)


def test_what_is_no_saved_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for content in (b"", b"hello", b"\x80\x04", (10**9).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"path must be a state saved by recurra.state.save"):
            state.load(path)
    path.write_bytes(b"")
    deep = '{"fields":null,"parts":[' * 5000 + "]}" * 5000
    forge(path, {"h": torch.zeros(1)}, deep)
    with pytest.raises(DataError):
        state.load(path)


@pytest.mark.parametrize(
    "error, message, call",
    [
        (
            DtypeError,
            "state must be a tensor or a tuple of states, got list",
            lambda: state.detach([torch.zeros(1)]),
        ),
        (
            DtypeError,
            "state must be a tensor or a tuple of states, got float",
            lambda: state.select((torch.zeros(1, 2), 1.0), [0]),
        ),
        (
            ShapeError,
            "rows must have shape (3,) as a bool mask, got (2,)",
            lambda: state.reset(nested(), [True, False]),
        ),
        (ArgumentError, "rows must be in 0..2, got 3", lambda: state.reset(nested(), [3])),
        (ArgumentError, "rows must be in 0..2, got -1", lambda: state.select(nested(), [-1])),
        (
            ArgumentError,
            "rows must be whole numbers (N,) or a bool mask (3,), got int64 of shape ()",
            lambda: state.select(nested(), 1),
        ),
        (
            ShapeError,
            "state must have shape (3, 4), got (2, 4)",
            lambda: state.reset(nested(), [0], nested(2)),
        ),
        (
            ShapeError,
            "state must have the form of this model's, got another",
            lambda: state.reset((torch.zeros(1, 2),), [0], ((torch.zeros(1, 2),),)),
        ),
        (ShapeError, "states must hold at least one state, got none", lambda: state.concat([])),
        (
            ShapeError,
            "states must have one form, a tuple of 2, got others",
            lambda: state.concat([Pair(*[torch.zeros(1, 2)] * 2), (torch.zeros(1, 2),)]),
        ),
        (
            ShapeError,
            "states must have one form, got some with a value",
            lambda: state.concat([(torch.zeros(1, 2),), (None,)]),
        ),
        (
            ShapeError,
            (
                "state must have the form of this model's, got another; it comes from a different"
                " model"
            ),
            lambda: state.same_form((torch.zeros(1, 2), torch.zeros(1, 2)), (torch.zeros(1, 2),)),
        ),
    ],
)
def test_what_does_not_fit_is_named(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_same_form_lets_masks_come_and_go() -> None:
    one = named_type("State", ("h", "dropout_h"))
    state.same_form(one(torch.zeros(1, 2), None), one(torch.zeros(1, 2), torch.zeros(1, 2)))


def test_states_pickle_and_print() -> None:
    whole = Pair(torch.zeros(1, 1), torch.ones(1, 1))
    again = pickle.loads(pickle.dumps(whole))
    assert type(again) is Pair and repr(again).startswith("State(h=tensor")


def test_a_row_that_was_reset_goes_on_as_a_fresh_one() -> None:
    layer, x = recurra.Recurrent(recurra.cells.LSTM(), 3, 4), torch.randn(6, 2, 3)
    _, carried = layer(x)
    y, _ = layer(x, state.reset(carried, [1]))
    assert_close(y[:, 1], layer(x)[0][:, 1])
    assert_close(y[:, 0], layer(x, carried)[0][:, 0])
