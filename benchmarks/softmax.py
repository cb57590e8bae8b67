"""What share of a training step the softmax over a large vocabulary takes: over all words at once,
and adaptive.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.bench.timing import in_turn
from recurra.models import LanguageModel

TESTS = ("tests/models/test_softmax.py", "tests/bench/test_softmax.py")


class Size(NamedTuple):
    """Of the model and of a chunk: the recipe wikitext2-adaptive."""

    vocab_size: int = 33_278
    hidden: int = 200
    layers: int = 2
    steps: int = 35
    rows: int = 20
    cutoffs: Sequence[int] = (2000, 10_000)


def measure(rounds: int = 9, size: Size | None = None) -> list[dict[str, Any]]:
    """Milliseconds of a training step and of its softmax alone, and the share of one in the other:
    medians over the rounds.

    A step is forward, backward, clipping and an update by Adam; the softmax is its cost and the
    gradients of it, down to the features. All four are timed in turn.
    """
    size = size or Size()
    tokens = words(size)
    ways: dict[str, Callable[[], object]] = {}
    for name, cutoffs in (("full", ()), ("adaptive", size.cutoffs)):
        torch.manual_seed(0)
        model = LanguageModel(
            size.vocab_size,
            size.hidden,
            size.hidden,
            size.layers,
            dropout=0.2,
            tied=False,
            adaptive=cutoffs,
        )
        ways |= {f"{name} step": _step(model, tokens), f"{name} softmax": _softmax(model, tokens)}
    seconds = in_turn(ways, rounds)
    return [
        {
            "softmax": name,
            "size": size,
            "step_ms": statistics.median(seconds[f"{name} step"]) * 1e3,
            "softmax_ms": statistics.median(seconds[f"{name} softmax"]) * 1e3,
            "share": statistics.median(
                part / whole
                for part, whole in zip(seconds[f"{name} softmax"], seconds[f"{name} step"])
            ),
        }
        for name in ("full", "adaptive")
    ]


def words(size: Size) -> Tensor:
    """(T + 1, B), words as often as Zipf's law has them, numbered by frequency: the r-th in
    proportion to 1 / r.
    """
    chances = 1.0 / torch.arange(1, size.vocab_size + 1)
    count = (size.steps + 1) * size.rows
    return torch.multinomial(
        chances, count, replacement=True, generator=torch.Generator().manual_seed(0)
    ).view(-1, size.rows)


def _step(model: LanguageModel, tokens: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> object:
        optimizer.zero_grad()
        loss, _ = model.loss(tokens[:-1], tokens[1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def _softmax(model: LanguageModel, tokens: Tensor) -> Callable[[], object]:
    """Its parameters keep no gradient, which would be added to at each call."""
    with torch.no_grad():
        h = model.features(tokens[:-1]).dropped
    kept = {
        id(parameter)
        for part in (model.embedding, model.recurrent)
        for parameter in part.parameters()
    }
    own = [parameter for parameter in model.parameters() if id(parameter) not in kept]

    def softmax() -> object:
        features = h.detach().requires_grad_()
        return torch.autograd.grad(
            model.cost(features, tokens[1:]), [features, *own], allow_unused=True
        )

    return softmax


def text(rows: list[dict[str, Any]]) -> str:
    """A line each."""
    at = rows[0]["size"]
    head = f"{at.layers} x {at.hidden}, V = {at.vocab_size:,}, T = {at.steps}, B = {at.rows}"
    return "\n".join(
        [
            head,
            *(
                f"{row['softmax']:<10}softmax {row['softmax_ms']:.1f} ms of a step of"
                f" {row['step_ms']:.1f} ms: {row['share']:.0%}"
                for row in rows
            ),
        ]
    )
