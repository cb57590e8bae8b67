"""Streams that leave the tokens where they are equal those that copy them, window by window."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError, DtypeError, ShapeError
from recurra.train import Chunk, Cut, Streams, TokenStreams, contiguous, count_chunks, cuts, tbptt


def equal(one: Chunk, other: Chunk) -> None:
    assert (
        torch.equal(one.x, other.x)
        and torch.equal(one.y, other.y)
        and one[3:] == other[3:]
        and one.tokens == other.tokens
    )
    assert (one.resets is None) == (other.resets is None) and (
        one.resets is None or torch.equal(one.resets, other.resets)
    )  # type: ignore[arg-type]


@st.composite
def texts(draw: Any) -> tuple[np.ndarray, tuple[int, ...], int]:
    count = draw(st.integers(2, 60))
    tokens = np.array(draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), np.uint8)
    starts = sorted(draw(st.sets(st.integers(0, count - 1), max_size=8)))
    return tokens, tuple(starts), draw(st.integers(1, count - 1))


@given(texts(), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_every_chunk_is_that_of_contiguous(
    text: Any, window: int, stride: int, varied: bool
) -> None:
    tokens, starts, batch = text
    lazy, plain = TokenStreams(tokens, batch, starts), contiguous(tokens, batch, starts)
    assert (lazy.steps, lazy.batch) == (plain.steps, plain.batch) and lazy.tokens == int(
        (plain.y != -100).sum()
    )
    places = list(
        cuts(
            lazy.steps,
            window,
            None if varied else min(stride, window),
            generator_seed=3 if varied else None,
        )
    )
    for cut in places:
        equal(lazy.chunk(cut), plain.chunk(cut))
        for first, last in ((0, 1), (batch // 2, batch)):
            equal(lazy.rows(first, last).chunk(cut), plain.rows(first, last).chunk(cut))
    for one, other in zip(tbptt(lazy, window), tbptt(plain, window)):
        equal(one, other)


def test_rows_of_rows() -> None:
    lazy, plain = TokenStreams(np.arange(50, dtype=np.uint8), 7), contiguous(np.arange(50), 7)
    equal(
        lazy.rows(1, 6).rows(2, 4).chunk(Cut(2, 5, 3, 3)), plain.rows(3, 5).chunk(Cut(2, 5, 3, 3))
    )
    assert lazy.rows(1, 6).batch == 5 and lazy.batch == 7


def test_the_tokens_are_not_copied() -> None:
    tokens = np.zeros(1000, np.uint8)
    streams = TokenStreams(tokens, 4)
    tokens[:10] = 7
    assert streams.chunk(Cut(0, 5, 5, 5)).x[:, 0].tolist() == [7] * 5


@given(st.integers(1, 400), st.integers(1, 90), st.integers(0, 9))
def test_varied_windows_count_every_step_once(steps: int, window: int, seed: int) -> None:
    found = list(cuts(steps, window, generator_seed=seed))
    assert [cut.start for cut in found] == [0, *(cut.stop for cut in found[:-1])] and found[
        -1
    ].stop == steps
    assert all(cut.counted == cut.carry == cut.stop - cut.start for cut in found)
    assert all(cut.counted >= 5 for cut in found[:-1]) and found == list(
        cuts(steps, window, generator_seed=seed)
    )


def test_windows_are_about_the_given_one_or_its_half() -> None:
    lengths = np.array([cut.counted for cut in cuts(700_000, 70, generator_seed=1)][:-1])
    near = np.abs(lengths - 70) < 20
    assert (
        abs(near.mean() - 0.95) < 0.01
        and abs(lengths[near].mean() - 69.5) < 0.3
        and abs(lengths[near].std() - 5) < 0.2
    )
    assert abs(lengths[~near].mean() - 34.5) < 1 and list(cuts(700, 70, generator_seed=1)) != list(
        cuts(700, 70, generator_seed=2)
    )


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_cuts_are_as_many_as_counted(steps: int, window: int, stride: int) -> None:
    stride = min(window, stride)
    assert len(list(cuts(steps, window, stride))) == count_chunks(steps, window, stride)


def test_what_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^tokens must be more than batch = 5, got 5; give more text or a smaller batch$",
    ):
        TokenStreams(np.zeros(5, np.uint8), 5)
    with pytest.raises(ArgumentError, match=r"^batch must be a positive whole number, got 0$"):
        TokenStreams(np.zeros(5, np.uint8), 0)
    with pytest.raises(
        ArgumentError,
        match=r"^stride must be at most window = 2, got 3; a longer one would skip steps$",
    ):
        next(cuts(9, 2, 3))


def test_a_chunk_on_another_device() -> None:
    chunk = Streams(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool)).chunk(
        Cut(0, 3, 3, 3)
    )
    moved = chunk.to(torch.device("meta"))
    assert {value.device.type for value in moved[:3]} == {"meta"} and moved[3:] == chunk[3:]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tokens", "starts", "error", "message"),
    [
        (np.zeros((10, 2), np.int64), (), ShapeError, "tokens must have shape (N,), got (10, 2)"),
        (np.zeros(10), (), DtypeError, "tokens must be whole numbers, got float64"),
        (
            np.arange(10),
            (4, 2),
            ArgumentError,
            "starts must be places in the 10 tokens, each after the one before, got (4, 2)",
        ),
        (
            np.arange(10),
            (2, 2),
            ArgumentError,
            "starts must be places in the 10 tokens, each after the one before, got (2, 2)",
        ),
        (
            np.arange(10),
            (0, 11),
            ArgumentError,
            "starts must be places in the 10 tokens, each after the one before, got (0, 11)",
        ),
        (
            np.arange(10),
            (-1, 3),
            ArgumentError,
            "starts must be places in the 10 tokens, each after the one before, got (-1, 3)",
        ),
    ],
)
def test_tokens_and_starts_that_do_not_fit_are_refused(
    tokens: Any, starts: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        TokenStreams(tokens, 2, starts)
