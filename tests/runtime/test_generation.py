"""Sampling in the runtime against sampling in PyTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recurra import models
from recurra.errors import ArgumentError
from recurra.network import Linear, Network
from recurra.runtime import Model, generate, sample
from recurra.runtime.generation import distribution
from tests.network.nets import every_kind, matrix, numbers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 0},
        {"top_k": 3},
        {"top_p": 0.6},
        {"top_k": 4, "top_p": 0.9},
    ],
)
def test_the_distribution_is_that_of_the_models(options: dict[str, float]) -> None:
    for seed in range(5):
        logits = numbers(20, seed=seed, scale=2.0)
        theirs = models.generation.distribution(torch.from_numpy(logits).double(), **options)  # type: ignore[arg-type]
        assert np.allclose(distribution(logits, **options), theirs.numpy(), atol=1e-9)  # type: ignore[arg-type]


def test_tokens_follow_the_logits_and_the_seed() -> None:
    model = Model(every_kind())
    drawn = list(generate(model, [1, 2], 30, seed=3, temperature=1.0, top_k=5, top_p=0.9))
    assert drawn == list(generate(model, [1, 2], 30, seed=3, top_k=5, top_p=0.9)) and drawn != list(
        generate(model, [1, 2], 30, seed=4)
    )
    greedy, session = list(generate(model, [1, 2], 5, temperature=0)), model.session(1)
    logits = session.push(np.array([[1], [2]]))[-1]
    for token in greedy:
        assert token == int(logits.argmax())
        logits = session.push(np.array([token]))


def test_what_cannot_be_sampled_is_refused() -> None:
    model = Model(every_kind())
    for options, text in (
        (
            {"temperature": -1},
            "temperature must be a number, 0 or more, got -1; 0 takes the most",
        ),
        ({"top_k": 0}, "top_k must be a positive whole number, got 0"),
        ({"top_p": 1.5}, r"top_p must be a number in \(0, 1\], got 1.5"),
        ({"temperature": "a"}, "temperature must be a number, 0 or more, got 'a'"),
        ({"top_p": "x"}, r"top_p must be a number in \(0, 1\], got 'x'"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, got -1"),
    ):
        with pytest.raises(ArgumentError, match=text):
            generate(model, [1], 1, **options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="prompt must hold at least one token, got none"):
        generate(model, [], 1)
    with pytest.raises(ArgumentError, match=r"prompt must hold whole numbers, got \[1.7\]"):
        generate(model, [1.7], 1)  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="prompt must be text, got int; generate takes tokens"):
        sample(Model(replace(every_kind(), vocabulary={"level": "byte"})), 5)  # type: ignore[arg-type]
    assert len(list(generate(model, [1], np.int64(2), seed=np.int64(1)))) == 2  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="length must be a whole number, 0 or more, got -1"):
        generate(model, [1], -1)
    with pytest.raises(ArgumentError, match="model must be a language model"):
        generate(Model(Network((Linear(matrix(3, 3)),))), [1], 1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_said(temperature: float) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(
            ArgumentError,
            match=f"^logits must be finite, got {bad}; the model's weights are damaged",
        ):
            distribution(np.array([0.0, bad]), temperature)
    assert distribution(np.array([0.0, -np.inf])).tolist() == [1.0, 0.0]
