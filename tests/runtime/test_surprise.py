"""What a text costs as it streams by equals what it costs whole."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save

from recurra.errors import ArgumentError, DataError
from recurra.export import network_of
from recurra.models import Characters, LanguageModel
from recurra.network import Embedding, Linear, Matrix, Network
from recurra.runtime import Model
from recurra.runtime.surprise import Surprise

TEXT = "to be or not to be, that is the question"


def made(**options: Any) -> LanguageModel:
    vocabulary = Characters.of(TEXT)
    return LanguageModel(len(vocabulary), 4, 5, vocabulary=vocabulary, **options)


def meter_of(model: LanguageModel) -> Surprise:
    return Surprise(Model(network_of(model)))


def whole(model: LanguageModel, text: str) -> float:
    assert model.vocabulary is not None
    tokens = torch.from_numpy(model.vocabulary.encode(text))
    with torch.no_grad():
        logits, _ = model.eval()(tokens[:-1, None])
    return float(F.cross_entropy(logits[:, 0], tokens[1:], reduction="sum"))


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize(
    "options", [{}, {"tied": False, "adaptive": (6,)}], ids=["softmax", "adaptive"]
)
def test_pieces_cost_what_the_whole_costs(size: int, options: dict[str, Any]) -> None:
    model = made(**options)
    meter = meter_of(model)
    for _ in range(2):
        costs = [meter.push(TEXT[start : start + size]) for start in range(0, len(TEXT), size)]
        assert sum(count for _, count in costs) == len(TEXT) - 1
        assert sum(nats * count for nats, count in costs) == pytest.approx(
            whole(model, TEXT), abs=1e-4
        )
        meter.reset()


def test_the_first_token_and_nothing_cost_nothing() -> None:
    meter = meter_of(made())
    assert meter.push("") == (0.0, 0) and meter.push("t") == (0.0, 0) and meter.push("o")[1] == 1


def test_a_saved_place_is_gone_on_from() -> None:
    model = made()
    one, two = meter_of(model), meter_of(model)
    two.load(one.save())
    assert two.expected is None
    one.push("to be or")
    two.load(one.save())
    assert two.push(" not") == one.push(" not")
    head = json.dumps({"session": {"dtype": "U8", "shape": [0, 2**63], "data_offsets": [0, 0]}})
    no_rows = len(head).to_bytes(8, "little") + head.encode()
    for blob in (b"", b"x" * 99, one.session.save(), no_rows):
        with pytest.raises(DataError, match="blob must be what Surprise.save gave"):
            two.load(blob)


def test_an_unknown_character_leaves_the_stream_as_it_was() -> None:
    model = made()
    meter = meter_of(model)
    meter.push("to be")
    with pytest.raises(DataError, match="got 'Z' at character 2"):
        meter.push(" Z")
    nats, count = meter.push(" or")
    assert count == 3 and nats * 3 == pytest.approx(
        whole(model, "to be or") - whole(model, "to be"), abs=1e-4
    )


def test_a_vocabulary_is_needed() -> None:
    with pytest.raises(
        ArgumentError, match=r"^model must have a vocabulary to read text, got one without$"
    ):
        meter_of(LanguageModel(5, 4, 4))


@pytest.mark.parametrize("record", [{}, {"level": "character", "symbols": 5}])
def test_a_vocabulary_that_is_none_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(
        DataError, match="^vocabulary must be a record that can be read, got another "
    ):
        Surprise(Model(Network((Linear(Matrix(np.ones((2, 2), np.float32))),), record)))


def test_a_model_of_another_width_than_its_vocabulary_is_refused() -> None:
    with pytest.raises(
        ArgumentError,
        match=(
            "^model must have an output for each of its 3 tokens, got 2; it is no language model$"
        ),
    ):
        Surprise(
            Model(
                Network(
                    (Linear(Matrix(np.ones((2, 2), np.float32))),),
                    {"level": "character", "symbols": "abc"},
                )
            )
        )


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    surprise = Surprise(
        Model(
            Network(
                (Embedding(Matrix(np.eye(3, dtype=np.float32))),),
                {"level": "character", "symbols": "abc"},
            )
        )
    )
    surprise.push("ab")
    before = surprise.save()
    for logits in (np.zeros(4, np.float32), np.zeros(3, bool)):
        with pytest.raises(DataError, match="^blob must hold 3 logits in float32, got "):
            surprise.load(
                save(
                    {
                        "session": np.frombuffer(surprise.session.save(), np.uint8),
                        "expected": logits,
                    }
                )
            )
    assert surprise.save() == before


def test_what_overflows_costs_infinitely_much() -> None:
    table = Matrix(np.diag(np.full(3, 3e38, np.float32)))
    network = Network(
        (Embedding(table), Linear(Matrix(10 * np.eye(3, dtype=np.float32)))),
        {"level": "character", "symbols": "abc"},
    )
    surprise = Surprise(Model(network))
    assert surprise.push("ab") == (math.inf, 1) and surprise.push("a") == (math.inf, 1)
