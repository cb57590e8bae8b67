"""What a file claims of its model is compared with its weights before the model is built."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from recurra.errors import DataError, RecurraError
from recurra.models import LanguageModel, claims
from recurra.models.claims import build

OPTIONS: list[dict[str, Any]] = [
    {},
    {"cell": "gru", "layers": 1},
    {"hidden": [5, 6, 7], "layers": 3, "weight_dropout": 0.1, "locked": True, "init": 0.1},
    {"tied": False, "adaptive": [2, 4], "div_value": 2.0},
    {"tied": False, "init": "torch", "dropout": 0.0},
]


def made(**options: Any) -> LanguageModel:
    return LanguageModel(**{"vocab_size": 6, "embed": 3, "hidden": 4} | options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_with_its_options(options: dict[str, Any], dtype: torch.dtype) -> None:
    model = made(**options).to(dtype)
    back = build(model.options, model.state_dict())
    assert back.options == model.options and all(
        torch.equal(a, b) for a, b in zip(back.parameters(), model.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 100_000},
        {"layers": 10**400},
        {"hidden": [4] * 10**6, "layers": 10**6},
        {"hidden": 10**9},
        {"embed": 10**9},
        {"vocab_size": 10**12},
        {"hidden": 30_000},
        {"tied": False, "adaptive": list(range(1, 10**5))},
        {"cell": "gru"},
        {"layers": True},
        {"layers": "2"},
        {"hidden": "4"},
        {"vocab_size": None},
        {"colour": 1},
        {"cell": ["lstm"]},
        {"zoneout": 3},
    ],
    ids=lambda options: str(options)[:40],
)
def test_claims_that_the_weights_do_not_bear_out_are_refused_before_memory_is_taken(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made()
    built: list[str] = []

    def counted(*args: Any, **given: Any) -> LanguageModel:
        built.append(torch.zeros(0).device.type)
        return LanguageModel(*args, **given)

    monkeypatch.setattr(claims, "LanguageModel", counted)
    with pytest.raises(RecurraError):
        build(model.options | options, model.state_dict())
    many = options.get("layers") in (100_000, 10**6) or "adaptive" in options
    assert built == [] if many else built in ([], ["meta"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("decoder_bias"),
            "weights must be those of the options, got none called 'decoder_bias'",
        ),
        (
            lambda w: w.update(extra=torch.zeros(1)),
            "weights must be those of the options, got one more called 'extra'",
        ),
        (
            lambda w: w.update(decoder_bias=torch.zeros(7)),
            "decoder_bias must have shape (6,), got (7,)",
        ),
        (
            lambda w: w.update(decoder_bias=torch.zeros(6).half()),
            "weights must be of one floating dtype, got torch.float16, torch.float32",
        ),
        (
            lambda w: w.update({k: v.to(torch.int8) for k, v in w.items()}),
            "weights must be of one floating dtype, got torch.int8",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_options_are_named(change: Any, message: str) -> None:
    model = made().float()
    weights = dict(model.state_dict())
    change(weights)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        build(model.options, weights)
