"""The softmax's share of a training step, at tiny sizes."""

from __future__ import annotations

import json

import torch

from benchmarks.__main__ import NAMES, QUICK
from benchmarks.softmax import Size, _softmax, _step, measure, text, words
from recurra.models import LanguageModel

TINY = Size(vocab_size=60, hidden=16, layers=1, steps=5, rows=3, cutoffs=(10, 30))


def test_both_softmaxes_are_measured_beside_their_step() -> None:
    rows = measure(2, TINY)
    assert [row["softmax"] for row in rows] == ["full", "adaptive"] and json.loads(json.dumps(rows))
    assert all(row["step_ms"] > 0 and row["softmax_ms"] > 0 and row["share"] > 0 for row in rows)
    head, *lines = text(rows).splitlines()
    assert head == "1 x 16, V = 60, T = 5, B = 3" and [line.split()[0] for line in lines] == [
        "full",
        "adaptive",
    ]
    assert all(line.endswith("%") for line in lines)


def test_it_is_in_the_registry_at_the_size_of_the_recipe() -> None:
    assert "softmax" in NAMES and "softmax" in QUICK
    assert Size() == (33_278, 200, 2, 35, 20, (2000, 10_000))


def test_words_are_as_frequent_as_their_number_says() -> None:
    drawn = words(Size(steps=1999))
    assert drawn.shape == (2000, 20) and drawn.dtype == torch.int64 and int(drawn.max()) < 33_278
    assert 0.7 < float((drawn < 2000).float().mean()) < 0.8, (
        "three quarters are among the 2000 most frequent"
    )


def test_a_step_trains_and_the_softmax_alone_leaves_nothing_behind() -> None:
    tokens = words(TINY)
    model = LanguageModel(60, 16, 16, 1, dropout=0.0, tied=False, adaptive=(10, 30))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = _softmax(model, tokens)()
    assert all(gradient is not None for gradient in gradients[:2])  # type: ignore[index]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    first = float(_step(model, tokens)())  # type: ignore[arg-type]
    step = _step(model, tokens)
    for _ in range(50):
        last = float(step())  # type: ignore[arg-type]
    assert last < first
