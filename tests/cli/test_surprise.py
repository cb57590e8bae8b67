"""What a text costs as it streams by equals what it costs whole."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from recurra.cli.surprise import Surprise
from recurra.errors import ArgumentError, DataError
from recurra.models import Characters, LanguageModel

TEXT = "to be or not to be, that is the question"


def made() -> LanguageModel:
    vocabulary = Characters.of(TEXT)
    return LanguageModel(len(vocabulary), 4, 5, vocabulary=vocabulary)


def whole(model: LanguageModel, text: str) -> float:
    assert model.vocabulary is not None
    tokens = torch.from_numpy(model.vocabulary.encode(text))
    with torch.no_grad():
        logits, _ = model.eval()(tokens[:-1, None])
    return float(F.cross_entropy(logits[:, 0], tokens[1:], reduction="sum"))


@pytest.mark.parametrize("size", [1, 7, 40])
def test_pieces_cost_what_the_whole_costs(size: int) -> None:
    model = made()
    meter = Surprise(model.train())
    for _ in range(2):
        costs = [meter.push(TEXT[start : start + size]) for start in range(0, len(TEXT), size)]
        assert sum(count for _, count in costs) == len(TEXT) - 1
        assert sum(nats * count for nats, count in costs) == pytest.approx(whole(model, TEXT), abs=1e-10)
        meter.reset()


def test_the_first_token_and_nothing_cost_nothing() -> None:
    meter = Surprise(made())
    assert meter.push("") == (0.0, 0) and meter.push("t") == (0.0, 0) and meter.push("o")[1] == 1


def test_an_impossible_token_costs_infinity() -> None:
    model = made()
    with torch.no_grad():
        model.decoder_bias[0] = -math.inf
    assert Surprise(model).push("t ") == (math.inf, 1)


def test_an_unknown_character_leaves_the_stream_as_it_was() -> None:
    model = made()
    meter = Surprise(model)
    meter.push("to be")
    with pytest.raises(DataError, match="got 'Z' at character 2"):
        meter.push(" Z")
    nats, count = meter.push(" or")
    assert count == 3 and nats * 3 == pytest.approx(whole(model, "to be or") - whole(model, "to be"), abs=1e-10)


def test_a_vocabulary_is_needed() -> None:
    with pytest.raises(ArgumentError, match=r"^model must have a vocabulary to read text, got one without$"):
        Surprise(LanguageModel(5, 4, 4))
