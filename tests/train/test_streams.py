"""Cutting: every target is counted once, the gradient reaches as far back as it is said to, and
chunks make the whole.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurra import cells
from recurra import state as states
from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.models import LanguageModel
from recurra.models.language_model import Features
from recurra.train import Streams, chunk_loss, contiguous, count_chunks, tbptt
from recurra.train import streams as module
from tests.cells.zoo import assert_close

IGNORED = -100
SIZES = st.tuples(
    st.integers(2, 40), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9)
).filter(lambda drawn: drawn[0] > drawn[1] and drawn[3] <= drawn[2])


@settings(max_examples=200)
@given(SIZES, st.sets(st.integers(0, 45), max_size=6))
def test_every_target_is_counted_once(sizes: tuple[int, int, int, int], starts: set[int]) -> None:
    """Tokens are their own places, so that a pair (x, y) says where it came from."""
    count, batch, window, stride = sizes
    streams = contiguous(torch.arange(count), batch, sorted(starts))
    seen: list[int] = []
    for chunk in tbptt(streams, window, stride):
        x, y = chunk.x[-chunk.counted :], chunk.y[-chunk.counted :]
        seen += y[y != IGNORED].tolist()
        assert bool((y == x + 1)[y != IGNORED].all())
    assert sorted(seen) == [place for place in range(1, count) if place not in starts]


@settings(max_examples=100)
@given(SIZES)
def test_chunks_follow_one_another(sizes: tuple[int, int, int, int]) -> None:
    count, batch, window, stride = sizes
    streams = contiguous(torch.arange(count), batch)
    steps, start = len(streams.x), 0
    chunks = list(tbptt(streams, window, stride))
    for number, chunk in enumerate(chunks):
        stop = min(start + window, steps)
        assert torch.equal(chunk.x, streams.x[start:stop]) and torch.equal(
            chunk.y, streams.y[start:stop]
        )
        assert chunk.resets is None and 1 <= chunk.counted <= len(chunk.x)
        assert chunk.carry == (stride if number < len(chunks) - 1 else min(stride, stop - start))
        assert chunk.counted == (
            stop - start if not number else stop - min(start - stride + window, steps)
        )
        if 0 < number < len(chunks) - 1:
            assert chunk.counted == stride
        start += stride
    assert sum(chunk.counted for chunk in chunks) == steps and len(chunks) == count_chunks(
        steps, window, stride
    )


@settings(max_examples=100)
@given(SIZES, st.sets(st.integers(0, 45), max_size=6))
def test_rows_follow_one_another_in_order(
    sizes: tuple[int, int, int, int], starts: set[int]
) -> None:
    count, batch, *_ = sizes
    streams = contiguous(np.arange(count) + 3, batch, sorted(starts))
    steps = -(-(count - 1) // batch)
    assert streams.x.shape == streams.y.shape == (steps, batch)
    assert streams.x.T.flatten()[: count - 1].tolist() == list(range(3, count + 2))
    filled = torch.arange(batch * steps) < count - 1
    assert bool((streams.y.T.flatten()[~filled] == IGNORED).all()) and not bool(
        streams.x.T.flatten()[~filled].any()
    )
    expected = [place for place in sorted(starts) if 0 < place < count - 1]
    assert (streams.resets is None) == (not expected)
    if streams.resets is not None:
        assert (
            streams.resets.dtype == torch.bool
            and streams.resets.T.flatten().nonzero().flatten().tolist() == expected
        )


def test_a_document_is_reset_and_not_predicted_across() -> None:
    streams = contiguous([10, 11, 12, 20, 21, 30, 31, 32], batch=1, starts=(0, 3, 5))
    assert streams.x.flatten().tolist() == [10, 11, 12, 20, 21, 30, 31]
    assert streams.y.flatten().tolist() == [11, 12, IGNORED, 21, IGNORED, 31, 32]
    assert streams.resets is not None and streams.resets.flatten().nonzero().flatten().tolist() == [
        3,
        5,
    ]


def test_a_document_of_the_last_token_alone_is_never_input() -> None:
    streams = contiguous([1, 2, 3], batch=1, starts=(2,))
    assert streams.y.flatten().tolist() == [2, IGNORED] and streams.resets is None


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_tokens_of_any_whole_type(kind: Any) -> None:
    streams = contiguous(np.array([200, 1, 2, 3]).astype(kind), batch=2)
    assert streams.x.dtype == streams.y.dtype == torch.int64 and streams.y[-1, -1] == IGNORED


def test_a_chunk_without_a_reset_says_none() -> None:
    streams = contiguous(torch.arange(10), 1, starts=(4,))
    assert [chunk.resets is None for chunk in tbptt(streams, 3)] == [True, False, True]


def test_feature_streams_are_cut_too() -> None:
    x, y = torch.randn(7, 2, 3), torch.randn(7, 2)
    parts = list(tbptt(Streams(x, y), 3))
    assert torch.equal(torch.cat([part.x for part in parts]), x) and torch.equal(
        torch.cat([part.y for part in parts]), y
    )


# The loss of a chunk

V = 6


def net(**options: Any) -> LanguageModel:
    return LanguageModel(
        **{"vocab_size": V, "embed": 4, "hidden": 5, "cell": "gru", "dropout": 0.0} | options
    )


def text(count: int = 40, seed: int = 1) -> Tensor:
    return torch.randint(V, (count,), generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("starts", [(), (5, 11, 20)])
def test_one_chunk_of_everything_is_a_plain_run(starts: tuple[int, ...]) -> None:
    model, streams = net(), contiguous(text(), 3, starts)
    (chunk,) = tbptt(streams, len(streams.x))
    loss, state = chunk_loss(model, chunk, None)
    logits, final = model(streams.x, resets=streams.resets)
    plain = F.cross_entropy(logits.flatten(0, 1), streams.y.flatten())
    assert_close((loss, state), (plain, final))
    assert_close(gradients(model, loss), gradients(model, plain))


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (5, 2), (7, 1), (3, 3), (40, 1), (6, 5)])
@pytest.mark.parametrize("starts", [(), (5, 11, 20)])
def test_chunks_weighted_by_what_they_count_make_the_whole_loss(
    window: int, stride: int, starts: tuple[int, ...]
) -> None:
    model, streams = net().eval(), contiguous(text(), 3, starts)
    total, count, state = torch.zeros(()), 0, None
    for chunk in tbptt(streams, window, stride):
        loss, state = chunk_loss(model, chunk, states.detach(state))
        counted = int((chunk.y[-chunk.counted :] != IGNORED).sum())
        total, count = total + loss.detach() * counted, count + counted
    assert count == int((streams.y != IGNORED).sum())
    assert_close(total / count, model.loss(streams.x, streams.y, resets=streams.resets)[0])


@pytest.mark.parametrize(("window", "stride"), [(5, 2), (4, 1), (6, 3), (5, 5)])
def test_the_gradient_reaches_back_as_far_as_said(window: int, stride: int) -> None:
    """dL/dx of each chunk's loss: every counted step sees its own chunk's start, at least k2 - k1
    steps back, and no further.
    """
    layer, x = nn.Linear(3, 3), torch.randn(20, 2, 3, requires_grad=True)

    class Sum(nn.Module):
        """h' = h + w x: the gradient reaches every step of the graph, so that zeros show where it
        was cut.
        """

        def features(self, x: Tensor, state: Any, resets: Any = None) -> Features:
            h = layer(x).cumsum(0) + (0 if state is None else state)
            return Features(h, h, h[-1])

        def cost(self, h: Tensor, y: Tensor) -> Tensor:
            return h.sum()

    start, state = 0, None
    for number, chunk in enumerate(tbptt(Streams(x, torch.zeros(20, 2)), window, stride)):
        loss, state = chunk_loss(Sum(), chunk, states.detach(state))  # type: ignore[arg-type]
        seen = torch.autograd.grad(loss, x)[0].abs().sum((1, 2)).nonzero().flatten()
        stop = min(start + window, 20)
        assert seen.tolist() == list(range(start, stop))
        first = stop - chunk.counted
        if number:
            assert first - start >= window - stride
        start += stride


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (5, 2), (6, 1)])
@pytest.mark.parametrize("starts", [(), (5, 11, 20)])
def test_loss_and_gradient_equal_torch_by_hand(
    window: int, stride: int, starts: tuple[int, ...]
) -> None:
    """A torch.nn.GRUCell loop, the state detached at each chunk's first step; two layers of the
    same weights.
    """
    model, streams = net(layers=1), contiguous(text(), 3, starts)
    weights = {
        name.rsplit(".", 1)[-1]: weight for name, weight in model.recurrent.named_parameters()
    }
    bottleneck = model.bottleneck

    def loop(x: Tensor, h: Tensor, resets: Tensor | None) -> list[Tensor]:
        out = []
        for step, x_t in enumerate(model.embedding(x)):
            if resets is not None:
                h = torch.where(resets[step, :, None], torch.zeros_like(h), h)
            h = torch.gru_cell(
                x_t,
                h,
                weights["weight_ih"],
                weights["weight_hh"],
                weights["bias_ih"],
                weights["bias_hh"],
            )
            out.append(h)
        return out

    state, h = None, torch.zeros(3, 5)
    for chunk in tbptt(streams, window, stride):
        loss, state = chunk_loss(model, chunk, states.detach(state))
        hidden = loop(chunk.x, h.detach(), chunk.resets)
        counted = torch.stack(hidden[-chunk.counted :])
        logits = bottleneck(counted) @ model.embedding.weight.T + model.decoder_bias
        plain = F.cross_entropy(logits.flatten(0, 1), chunk.y[-chunk.counted :].flatten())
        h = hidden[chunk.carry - 1]
        assert_close((loss, state[0].h), (plain, h))
        assert_close(gradients(model, loss), gradients(model, plain))


def test_a_mask_of_the_whole_sequence_holds_across_both_parts_of_a_chunk() -> None:
    model = net(cell=cells.RecurrentDropout(cells.GRU(), 0.5), layers=1).train()
    chunk, *_ = tbptt(contiguous(text(), 2), 8, 3)
    torch.manual_seed(5)
    loss, _ = chunk_loss(model, chunk, None)
    torch.manual_seed(5)
    whole, _ = model.loss(chunk.x, chunk.y)
    assert_close(loss, whole)


# What is refused


def test_the_two_ignored_targets_are_one() -> None:
    from recurra.models import language_model

    assert module.IGNORED == language_model.IGNORED == IGNORED


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: contiguous(torch.zeros(3, 2), 1),
            DtypeError,
            "tokens must be whole numbers, got torch.float64",
        ),
        (
            lambda: contiguous(torch.zeros(3, 2).long(), 1),
            ShapeError,
            "tokens must have shape (N,), got (3, 2)",
        ),
        (
            lambda: contiguous([1, 2, 3], 3),
            DataError,
            "tokens must be more than batch = 3, got 3; give more text or a smaller batch",
        ),
        (
            lambda: contiguous([1], 1),
            DataError,
            "tokens must be more than batch = 1, got 1; give more text or a smaller batch",
        ),
        (
            lambda: contiguous([], 1),
            DataError,
            "tokens must be more than batch = 1, got 0; give more text or a smaller batch",
        ),
        *(
            (
                lambda value=value: contiguous([1, 2, 3], value),
                ArgumentError,
                f"batch must be a positive whole number, got {value!r}",
            )
            for value in (0, -1, 1.0, True)
        ),
        *(
            (
                lambda value=value: tbptt(Streams(torch.zeros(3, 1), torch.zeros(3, 1)), value),
                ArgumentError,
                f"window must be a positive whole number, got {value!r}",
            )
            for value in (0, 2.0, True)
        ),
        *(
            (
                lambda value=value: tbptt(Streams(torch.zeros(3, 1), torch.zeros(3, 1)), 2, value),
                ArgumentError,
                f"stride must be a positive whole number, got {value!r}",
            )
            for value in (0, 1.5, True)
        ),
        (
            lambda: tbptt(Streams(torch.zeros(3, 1), torch.zeros(3, 1)), 2, 3),
            ArgumentError,
            "stride must be at most window = 2, got 3; a longer one would skip steps",
        ),
        (
            lambda: tbptt((torch.zeros(3, 1), torch.zeros(3, 1)), 2),
            ArgumentError,
            "streams must be Streams, got tuple; use recurra.train.Streams(x, y)",
        ),
        (
            lambda: Streams(torch.zeros(10, 2, 3), torch.zeros(7, 2, 1)),
            ShapeError,
            (
                "y must have the steps and rows of x, (10, 2, 3), first, got (7, 2, 1); both are"
                " (T, B, ...)"
            ),
        ),
        (
            lambda: Streams(torch.zeros(10, 2, 3), torch.zeros(10, 3)),
            ShapeError,
            (
                "y must have the steps and rows of x, (10, 2, 3), first, got (10, 3); both are (T,"
                " B, ...)"
            ),
        ),
        (
            lambda: Streams(torch.zeros(10, 2), torch.zeros(10)),
            ShapeError,
            "y must have the steps and rows of x, (10, 2), first, got (10,); both are (T, B, ...)",
        ),
        (
            lambda: Streams(torch.zeros(10, 2), torch.zeros(10, 2), torch.zeros(2, 10).bool()),
            ShapeError,
            "resets must have shape (10, 2), the steps and rows of x, got (2, 10)",
        ),
        (
            lambda: Streams(torch.zeros(10, 2), torch.zeros(10, 2), torch.zeros(10, 2)),
            DtypeError,
            "resets must be bool, True where a step begins a new document, got torch.float64",
        ),
        (
            lambda: Streams(torch.zeros(10), torch.zeros(10)),
            ShapeError,
            "x must have shape (T, B, ...), at least one step and one row, got (10,)",
        ),
        (
            lambda: Streams(torch.zeros(0, 2), torch.zeros(0, 2)),
            ShapeError,
            "x must have shape (T, B, ...), at least one step and one row, got (0, 2)",
        ),
        (
            lambda: Streams(torch.zeros(3, 1), np.zeros((3, 1))),
            DtypeError,
            "y must be a tensor, got ndarray; use torch.as_tensor",
        ),
    ],
)
def test_arguments_are_checked_at_once(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
