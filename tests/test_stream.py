"""A stream gives the numbers of the whole, forgets what it is told to forget, and grows by
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import LockedDropout, Recurrent, Residual, Stack, Stream, cells
from recurra import state as states
from recurra.errors import DataError, ShapeError
from recurra.models import LanguageModel
from tests.cells.zoo import ZOO, CoupledLSTM, assert_close, tensors
from tests.display.markup import Markup

I, H, T, B = 3, 4, 11, 3


def learned(cell: Any, width: int = I) -> Recurrent:
    layer = Recurrent(cell, width, H, learned_state=True)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.startswith("initial_"):
                weight.normal_()
    return layer


def stacked() -> Stack:
    return Stack(
        [
            Recurrent(cells.LayerNormLSTM(), I, H),
            LockedDropout(0.5),
            nn.Dropout(0.5),
            Residual(learned(cells.Zoneout(cells.GRU(), h=0.3), H)),
            recurra.WeightDropout(Recurrent(cells.RecurrentDropout(cells.LSTM(), 0.4), H, H), 0.5),
            nn.Linear(H, 2),
        ]
    )


MODELS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: recurra.LSTM(I, H, 2, dropout=0.5),
    "lstm_batch_first": lambda: recurra.LSTM(I, H, 2, dropout=0.5, batch_first=True),
    "lstm_projected": lambda: recurra.LSTM(I, H, 2, proj_size=2, batch_first=True),
    "gru": lambda: recurra.GRU(I, H, 2),
    "rnn": lambda: recurra.RNN(I, H, batch_first=True),
    "own": lambda: Recurrent(CoupledLSTM(), I, H),
    "learned": lambda: learned(cells.LSTM()),
    "linear": lambda: learned(cells.MinGRU()),
    "stack": stacked,
    "nested": lambda: Stack([stacked(), recurra.GRU(2, 2)]),
    "language": lambda: LanguageModel(7, I, H),
}


def data(model: Any, steps: int = T, rows: int = B) -> Tensor:
    generator = torch.Generator().manual_seed(steps + 100 * rows)
    if isinstance(model, LanguageModel):
        return torch.randint(7, (steps, rows), generator=generator)
    return torch.randn(steps, rows, I, generator=generator)


def whole(model: Any, x: Tensor) -> Tensor:
    """What the model says at evaluation, time-major."""
    turned = getattr(model, "batch_first", False)
    modes = [part.training for part in model.modules()]
    with torch.no_grad():
        y = model.eval()(x.transpose(0, 1) if turned else x)[0]
    for part, mode in zip(model.modules(), modes):
        part.training = mode
    return y.transpose(0, 1) if turned else y


@pytest.mark.parametrize("name", MODELS)
def test_steps_equal_chunks_equal_whole(name: str) -> None:
    model = MODELS[name]().train()
    for part in list(model.modules())[2::3]:
        part.training = False
    modes = [part.training for part in model.modules()]
    x, random = data(model), torch.random.get_rng_state()
    expected = whole(model, x)
    assert_close(Stream(model, B).push(x), expected)
    stream = Stream(model, B)
    assert_close(torch.stack([stream.push(x_t) for x_t in x]), expected)
    stream = Stream(model, B)
    assert_close(
        torch.cat(
            [stream.push(x[:1]), stream.push(x[1])[None], stream.push(x[2:9]), stream.push(x[9:])]
        ),
        expected,
    )
    assert [part.training for part in model.modules()] == modes and torch.equal(
        torch.random.get_rng_state(), random
    )


@pytest.mark.parametrize("cell", ZOO.values(), ids=ZOO)
def test_every_cell_streams_saves_and_goes_on(cell: Any, tmp_path: Path) -> None:
    model = learned(cell).train()
    x, stream = data(model), Stream(model, B)
    expected = whole(model, x)
    first = stream.push(x[:5])
    stream.save(tmp_path / "state")
    assert_close(torch.cat([first, stream.push(x[5:])]), expected)
    other = Stream(model, B)
    other.load(tmp_path / "state")
    assert_close(torch.stack([other.push(x_t) for x_t in x[5:]]), expected[5:])


@pytest.mark.parametrize("name", MODELS)
def test_a_reset_row_is_as_new_and_the_others_go_on(name: str) -> None:
    model = MODELS[name]()
    x, stream = data(model), Stream(model, B)
    expected = whole(model, x)
    stream.push(x[:5])
    stream.reset([1])
    found = torch.cat([stream.push(x[5])[None], stream.push(x[6:])])
    assert_close(found[:, [0, 2]], expected[5:, [0, 2]])
    assert_close(found[:, 1], whole(model, x[5:, 1:2])[:, 0])
    assert not torch.allclose(found[:, 1], expected[5:, 1])


@pytest.mark.parametrize(
    "rows",
    [None, [0, 1, 2], torch.tensor([2, 1, 0]), torch.tensor([True] * 3), np.arange(3), range(3)],
    ids=str,
)
def test_every_row_reset_is_a_fresh_stream(rows: Any) -> None:
    model = learned(cells.LSTM())
    x, stream = data(model), Stream(model, B)
    stream.push(x)
    stream.reset(rows)
    assert_close(stream.push(x), whole(model, x))


def test_rows_by_mask_are_the_rows_by_number() -> None:
    model, streams = learned(cells.GRU()), []
    x = data(model)
    for rows in ([0, 2], [True, False, True], torch.tensor([2, 0], dtype=torch.int32)):
        stream = Stream(model, B)
        stream.push(x[:4])
        stream.reset(rows)
        streams.append(stream.push(x[4:]))
    assert_close(streams[1:], [streams[0]] * 2)


def test_resets_add_up_and_last_one_push() -> None:
    model = learned(cells.GRU())
    x, stream = data(model), Stream(model, B)
    expected = whole(model, x)
    stream.reset([0])
    assert_close(stream.push(x[:4]), expected[:4])
    stream.reset([])
    stream.reset([0])
    stream.reset([2])
    found = torch.cat([stream.push(x[4:6]), stream.push(x[6:])])
    fresh = whole(model, x[4:])
    assert_close(found, torch.stack([fresh[:, 0], expected[4:, 1], fresh[:, 2]], 1))


def test_reset_of_all_undoes_a_reset_that_is_due() -> None:
    model = learned(cells.GRU())
    stream = Stream(model, B)
    stream.reset([1])
    stream.reset()
    assert_close(stream.push(data(model)), whole(model, data(model)))


# Save and load


@pytest.mark.parametrize("name", MODELS)
def test_saved_in_the_middle_it_goes_on_elsewhere(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    x, stream, path = data(model), Stream(model, B), tmp_path / "state"
    stream.push(x[:5])
    stream.reset([1])
    stream.save(path)
    expected = stream.push(x[5:])
    for other in (Stream(model, B), stream):
        other.load(str(path))
        assert_close(other.push(x[5:]), expected)


def test_a_fresh_stream_saved_is_a_fresh_stream(tmp_path: Path) -> None:
    model = learned(cells.GRU())
    Stream(model, B).save(tmp_path / "state")
    stream = Stream(model, B)
    stream.push(data(model))
    stream.load(tmp_path / "state")
    assert_close(stream.push(data(model)), whole(model, data(model)))


def test_load_refuses_what_is_no_stream(tmp_path: Path) -> None:
    model = Recurrent(cells.LSTM(), I, H)
    stream, x = Stream(model, B), data(model)
    stream.push(x[:5])
    before = stream.state
    states.save(before, tmp_path / "state")
    states.save((before,), tmp_path / "single")
    states.save(before.h, tmp_path / "bare")
    for name in ("state", "single", "bare"):
        path = tmp_path / name
        message = (
            f"path must be a file that Stream.save wrote, got {str(path)!r}, another kind of state"
        )
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            stream.load(path)
    (tmp_path / "text").write_text("abc")
    with pytest.raises(
        DataError, match=r"^path must be a state saved by recurra\.state\.save, got '.*text'"
    ):
        stream.load(tmp_path / "text")
    with pytest.raises(
        DataError,
        match=r"^path must be a state saved by recurra\.state\.save, got '.*none' \(.+\)$",
    ):
        stream.load(tmp_path / "none")
    assert_close(stream.push(x[5:]), whole(model, x)[5:])


@pytest.mark.parametrize(
    "due",
    [torch.zeros(B, dtype=torch.bool), torch.zeros(B, 2, dtype=torch.bool), torch.tensor(False)],
    ids=str,
)
def test_load_refuses_rows_that_are_due_of_another_shape(tmp_path: Path, due: torch.Tensor) -> None:
    states.save((None, due), tmp_path / "state")
    with pytest.raises(DataError, match="another kind of state$"):
        Stream(Recurrent(cells.GRU(), I, H), B).load(tmp_path / "state")


def test_load_takes_a_nan_only_where_one_may_be(tmp_path: Path) -> None:
    model = Recurrent(cells.GRU(), I, H)
    stream = Stream(model, B, nan="pass")
    stream.push(torch.full((B, I), torch.nan))
    stream.save(tmp_path / "state")
    for nan in ("error", "reset"):
        with pytest.raises(
            DataError,
            match=(
                r"^path must hold finite numbers, got others in '.*state'; open the stream with"
                r" nan='pass'$"
            ),
        ):
            Stream(model, B, nan=nan).load(tmp_path / "state")
    Stream(model, B, nan="pass").load(tmp_path / "state")


def test_load_refuses_a_value_of_another_batch(tmp_path: Path) -> None:
    states.save((torch.zeros(B + 1, H), torch.zeros(B, 1, dtype=torch.bool)), tmp_path / "state")
    with pytest.raises(
        ShapeError,
        match=(
            rf"^path must hold a stream's state of batch {B}, got a value of shape \({B + 1},"
            rf" {H}\)$"
        ),
    ):
        Stream(Recurrent(cells.GRU(), I, H), B).load(tmp_path / "state")


def test_load_refuses_another_batch_and_another_model(tmp_path: Path) -> None:
    path = tmp_path / "state"
    other = Stream(Recurrent(cells.GRU(), I, H), 2)
    other.push(torch.zeros(2, I))
    other.save(path)
    with pytest.raises(
        ShapeError, match=r"^path must hold a stream's state of batch 3, got batch 2$"
    ):
        Stream(Recurrent(cells.GRU(), I, H), 3).load(path)
    used = Stream(Recurrent(cells.LSTM(), I, H), 2)
    used.push(torch.zeros(2, I))
    with pytest.raises(
        ShapeError,
        match=(
            r"^state must have the form of this model's, got another; it comes from a different"
            r" model$"
        ),
    ):
        used.load(path)
    wide = Stream(Recurrent(cells.GRU(), I, 5), 2)
    wide.push(torch.zeros(2, I))
    with pytest.raises(ShapeError, match=re.escape("state must have shape (2, 5), got (2, 4)")):
        wide.load(path)
    fresh = Stream(Recurrent(cells.LSTM(), I, H), 2)
    fresh.load(path)
    with pytest.raises(ShapeError, match=r"^state must be a tuple"):
        fresh.push(torch.zeros(2, I))


# Memory


@pytest.mark.parametrize("name", MODELS)
def test_the_state_holds_no_graph_and_no_more_than_itself(name: str) -> None:
    model = MODELS[name]()
    stream, sizes = Stream(model, B), []
    for steps in (1, 50, 200, 1):
        y = stream.push(data(model, steps))
        assert not y.requires_grad and all(
            not value.requires_grad for value in tensors(stream.state)
        )
        storages = {
            value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
            for value in tensors(stream.state)
        }
        sizes.append(sum(storages.values()))
    own = sum(value.numel() * value.element_size() for value in tensors(stream.state))
    assert max(sizes) <= own, f"a state of {own} bytes keeps {sizes} alive"


def test_outputs_carry_no_gradient_and_parameters_stay_trainable() -> None:
    model = recurra.GRU(I, H)
    Stream(model, B).push(data(model).requires_grad_())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_a_stream_is_a_line_and_a_table_of_its_state() -> None:
    stream = Stream(
        Stack([Recurrent(cells.LSTM(), I, H), Recurrent(cells.GRU(), H, H)]), batch=B, nan="reset"
    )
    assert repr(stream) == "Stream(Stack, batch=3, nan='reset')"
    assert "The next step starts from" in Markup(stream._repr_html_()).words
    stream.push(torch.randn(B, I))
    stream.reset([1])
    lines = Markup(stream._repr_html_()).cells
    assert lines[:4] == [
        ["model", "Stack"],
        ["batch", "3"],
        ["nan", "reset"],
        ["rows to begin anew", "1"],
    ]
    assert lines[5:] == [[name, "(3, 4)", "torch.float64", "cpu"] for name in ("0.h", "0.c", "1.h")]


def test_a_model_of_several_lines_is_named_by_its_kind() -> None:
    assert repr(Stream(recurra.LSTM(I, H))) == "Stream(LSTM(3, 4), batch=1, nan='error')"
    assert (
        repr(Stream(LanguageModel(5, embed=2, hidden=3)))
        == "Stream(LanguageModel, batch=1, nan='error')"
    )
