"""What a stream refuses is named, and leaves it as it was."""

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
from recurra import Bidirectional, Recurrent, Residual, Stack, Stream, cells
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.network.file import write
from tests.cells.zoo import assert_close
from tests.test_stream import MODELS, B, H, I, T, data, whole

USE = "use nan='pass' to let it in or nan='reset' to begin the row anew"

# What does not fit leaves everything as it was


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["lstm", "lstm_batch_first", "stack"])
def test_a_value_that_is_not_finite_is_named_and_the_state_kept(name: str, value: float) -> None:
    model = MODELS[name]()
    x, stream = data(model), Stream(model, B)
    stream.push(x[:5])
    stream.reset([0])
    bad = x[5:8].clone()
    bad[1, 2, 1] = value
    with pytest.raises(
        ArgumentError, match=f"^x must be finite, got {value} at step 1 of row 2; {USE}$"
    ):
        stream.push(bad)
    with pytest.raises(ArgumentError, match=f"got {value} at step 0 of row 2"):
        stream.push(bad[1])
    found = stream.push(x[5:])
    assert_close(found[:, 1:], whole(model, x)[5:, 1:])
    assert_close(found[:, 0], whole(model, x[5:, :1])[:, 0])


def test_large_values_whose_sum_is_not_finite_pass() -> None:
    stream = Stream(Recurrent(cells.LSTM(), I, H), B)
    assert bool(stream.push(torch.full((B, I), torch.finfo(torch.float64).max)).isfinite().all())


def test_nan_may_pass_and_stays_in_its_row() -> None:
    model = Recurrent(cells.LSTM(), I, H)
    x, stream = data(model), Stream(model, B, nan="pass")
    bad = x.clone()
    bad[4, 1, 0] = float("nan")
    found = stream.push(bad)
    assert bool(found[4:, 1].isnan().all()) and bool(found[:4].isfinite().all())
    assert_close(found[:, [0, 2]], whole(model, x)[:, [0, 2]])


@pytest.mark.parametrize("chunk", [1, 4, T])
@pytest.mark.parametrize("name", ["lstm", "lstm_batch_first", "stack"])
def test_nan_may_begin_a_row_anew(name: str, chunk: int) -> None:
    model = MODELS[name]()
    x, stream = data(model), Stream(model, B, nan="reset")
    bad = x.clone()
    bad[4, 1, 0], bad[7, 0] = float("nan"), float("inf")
    parts = [stream.push(bad[t] if chunk == 1 else bad[t : t + chunk]) for t in range(0, T, chunk)]
    found = torch.stack(parts) if chunk == 1 else torch.cat(parts)
    assert bool(found[4, 1].isnan().all()) and bool(found[7, 0].isnan().all())
    assert bool(found.isfinite().flatten(2).all(-1).sum() == T * B - 2)
    for row, at in ((1, 4), (0, 7)):
        assert_close(found[:at, row], whole(model, x)[:at, row])
        assert_close(found[at + 1 :, row], whole(model, x[at + 1 :])[:, row])
    assert_close(found[:, 2], whole(model, x)[:, 2])
    stream.push(
        bad[4]
    )  # a bad step is the last, and its row's memory is no NaN even before it begins anew
    kept: list[Tensor] = []
    recurra.state.transform(stream.state, lambda part: kept.append(part) or part)  # type: ignore[func-returns-value]
    assert kept and all(bool(part.isfinite().all()) for part in kept)


def test_a_row_begins_anew_in_a_stream_as_in_a_session() -> None:
    module = nn.LSTM(I, H, dtype=torch.float32)
    stream = Stream(recurra.convert.from_torch(module), B, nan="reset")
    session = recurra.runtime.Model(recurra.export.network_of(module)).session(B, nan="reset")
    x = torch.randn(T, B, I, dtype=torch.float32)
    x[0, 0, 1], x[6], x[T - 1, 2, 0] = float("nan"), float("inf"), float("nan")
    for part in (x, x[3:]):
        np.testing.assert_allclose(stream.push(part).numpy(), session.push(part.numpy()), atol=2e-6)


WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("lstm", torch.zeros(2, I), ShapeError, "x must have shape (3, I) or (T, 3, I), got (2, 3)"),
    (
        "lstm",
        torch.zeros(T, 2, I),
        ShapeError,
        "x must have shape (3, I) or (T, 3, I), got (11, 2, 3)",
    ),
    ("lstm", torch.zeros(I), ShapeError, "x must have shape (3, I) or (T, 3, I), got (3,)"),
    (
        "lstm",
        torch.zeros(1, T, B, I),
        ShapeError,
        "x must have shape (3, I) or (T, 3, I), got (1, 11, 3, 3)",
    ),
    (
        "lstm",
        torch.zeros(0, B, I),
        ShapeError,
        "x must have at least one step, got shape (0, 3, 3)",
    ),
    ("lstm", [[0.0] * I] * B, DtypeError, "x must be a tensor, got list; use torch.as_tensor"),
    ("lstm", np.zeros((B, I)), DtypeError, "x must be a tensor, got ndarray; use torch.as_tensor"),
    (
        "own",
        torch.zeros(B, 5, dtype=torch.float64),
        ShapeError,
        "x must have shape (T, B, 3), got (1, 3, 5)",
    ),
    (
        "own",
        torch.zeros(B, I, dtype=torch.float32),
        DtypeError,
        "x must have the dtype of the weights, torch.float64, got torch.float32",
    ),
    ("lstm", torch.zeros(B, 5), ShapeError, "input must have shape (T, B, 3)"),
    (
        "language",
        torch.zeros(2, dtype=torch.long),
        ShapeError,
        "x must have shape (3,) or (T, 3), got (2,)",
    ),
    (
        "language",
        torch.zeros(T, 2, dtype=torch.int32),
        ShapeError,
        "x must have shape (3,) or (T, 3), got (11, 2)",
    ),
    ("language", torch.zeros(B, I), ShapeError, "x must have shape (T, B), got (1, 3, 3)"),
    ("language", torch.tensor([0, 7, 0]), DataError, "x must hold tokens in 0..6, got 7"),
]


@pytest.mark.parametrize(
    ("name", "x", "error", "message"),
    WRONG,
    ids=[f"{name}: {message}" for name, _, _, message in WRONG],
)
def test_what_does_not_fit_is_named_and_the_state_kept(
    name: str, x: Any, error: type[Exception], message: str
) -> None:
    model = MODELS[name]().train()
    good, stream = data(model), Stream(model, B)
    stream.push(good[:5])
    stream.reset([1])
    modes = [part.training for part in model.modules()]
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        stream.push(x)
    assert [part.training for part in model.modules()] == modes
    found = stream.push(good[5:])
    assert_close(found[:, [0, 2]], whole(model, good)[5:, [0, 2]])
    assert_close(found[:, 1], whole(model, good[5:, 1:2])[:, 0])


# What cannot stream

FUTURE = "a bidirectional layer needs the whole future before its first output"


def both() -> Bidirectional:
    return Bidirectional(Recurrent(cells.GRU(), I, H), Recurrent(cells.GRU(), I, H))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: recurra.LSTM(I, H, bidirectional=True),
            f"model must be able to stream, got LSTM: {FUTURE}",
        ),
        (both, f"model must be able to stream, got Bidirectional: {FUTURE}"),
        (
            lambda: Stack([nn.Identity(), both()]),
            f"model must be able to stream, got Stack: layer 1: {FUTURE}",
        ),
        (
            lambda: Stack([recurra.GRU(I, I), Stack([both()])]),
            f"model must be able to stream, got Stack: layer 1: layer 0: {FUTURE}",
        ),
        (lambda: Residual(both()), f"model must be able to stream, got Residual: layer: {FUTURE}"),
        (
            lambda: nn.LSTM(I, H),
            (
                "model must be a recurra module over time, got LSTM; use"
                " recurra.Stream(recurra.layers.from_torch(model))"
            ),
        ),
        (
            lambda: None,
            (
                "model must be a recurra module over time, got NoneType; give a layer such as"
                " recurra.LSTM, a recurra.Stack or a recurra.models.LanguageModel"
            ),
        ),
    ],
)
def test_what_cannot_stream_says_why(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        Stream(make())


@pytest.mark.parametrize("batch", [0, -1, 1.0, True, "2"])
def test_the_batch_is_checked(batch: Any) -> None:
    with pytest.raises(
        ArgumentError,
        match=f"^batch must be a positive whole number, got {re.escape(repr(batch))}$",
    ):
        Stream(recurra.GRU(I, H), batch)


def test_the_choice_for_nan_is_checked() -> None:
    with pytest.raises(
        ArgumentError, match=r"^nan must be one of 'error', 'pass', 'reset', got 'ignore'$"
    ):
        Stream(recurra.GRU(I, H), nan="ignore")


class OwnForward(nn.Module):
    """A module whose forward is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = (
            nn.LSTM(I, H, dtype=torch.float32),
            nn.Linear(H, 2, dtype=torch.float32),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


def way(model: nn.Module) -> str:
    with pytest.raises(
        ArgumentError, match="^model must be a recurra module over time, got "
    ) as caught:
        Stream(model, B)
    return str(caught.value).partition("; ")[2]


def test_what_a_stream_says_to_do_works(tmp_path: Path) -> None:
    model: Any = nn.GRU(I, H)
    assert way(model) == "use recurra.Stream(recurra.layers.from_torch(model))"
    x = torch.randn(T, B, I)
    assert_close(Stream(recurra.layers.from_torch(model), B).push(x), model(x)[0].detach())

    model = nn.Sequential(nn.GRU(I, H), nn.Linear(H, 2), nn.Tanh())
    wanted = model[2](model[1](model[0](x)[0])).detach()
    assert way(model) == "use recurra.replace(model) and then recurra.Stream(recurra.Stack(model))"
    recurra.replace(model)
    assert way(model).endswith("recurra.Stream(recurra.Stack(model))")
    assert_close(Stream(recurra.Stack(model), B).push(x), wanted)

    own, single = OwnForward(), x.float()
    said = (
        "put its layers into a recurra.Stack, or export the model and open"
        " recurra.runtime.load(path).session(batch)"
    )
    assert (
        way(own)
        == said
        == way(nn.Sequential(own))
        == way(nn.Sequential(nn.GRU(I, H, batch_first=True)))
    )
    recurra.replace(own)
    assert way(own) == said
    assert_close(Stream(recurra.Stack([own.rnn, own.out]), B).push(single), own(single).detach())
    write(recurra.export.network_of(own), tmp_path / "m.rcr")
    found = recurra.runtime.load(tmp_path / "m.rcr").session(B).push(single.numpy())
    np.testing.assert_allclose(found, own(single).detach().numpy(), atol=2e-6)

    cell = recurra.GRUCell(I, H)
    for each in (cell, nn.GRUCell(I, H)):
        assert way(each).startswith(
            "a cell makes one step and hands back its state: call it with that state"
        )
