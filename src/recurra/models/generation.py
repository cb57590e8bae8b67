"""Sampling from a language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.check import check_number, check_whole, plain
from recurra.errors import ArgumentError
from recurra.models.language_model import LanguageModel
from recurra.models.mode import evaluating
from recurra.vocabulary import continued


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[int]:
    """Draw tokens one after another, each from the model's distribution given all before.

    Args:
        model: the model; it runs as at evaluation, and its own mode is left as it is.
        prompt: tokens to begin with, at least one; they are not given back.
        length: how many tokens to draw.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: keep only the k most likely tokens.
        top_p: keep the smallest set of most likely tokens whose chance is at least p (nucleus).
        seed: of the draws; torch's own generator if None.

    Returns:
        An iterator of tokens.

    Raises:
        ArgumentError: an option is outside its range, or the prompt is empty.

    Source: nucleus sampling from Holtzman et al. (2020), arXiv:1904.09751.

    >>> model = LanguageModel(vocab_size=5, embed=4, hidden=4)
    >>> len(list(generate(model, [0], 3, seed=1)))
    3
    """
    _check_lengths(prompt, length)
    _check(temperature, top_k, top_p)
    generator = None if seed is None else torch.Generator().manual_seed(plain(seed))
    return _draw(model, prompt, length, temperature, (top_k, top_p), generator)


def _draw(
    model: LanguageModel,
    prompt: Sequence[int],
    length: int,
    temperature: float,
    cut: tuple[int | None, float | None],
    generator: torch.Generator | None,
) -> Iterator[int]:
    device = model.embedding.weight.device
    state, x = None, torch.as_tensor(list(prompt), device=device)[:, None]
    for _ in range(length):
        with torch.no_grad(), evaluating(model):
            features = model.features(x, state)
            logits, state = model.logits(features.dropped[-1])[0], features.state
        chance = distribution(logits, temperature, *cut).cpu()
        token = int(torch.multinomial(chance, 1, generator=generator))
        yield token
        x = torch.tensor([[token]], device=device)


def distribution(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution that tokens are drawn from.

    Args:
        logits: (V,).
        temperature, top_k, top_p: as for `generate`.

    Returns:
        Chances (V,), which sum to 1.

    Raises:
        ArgumentError: an option is outside its range, or the largest logit is not finite.

    >>> distribution(torch.tensor([0.0, 1.0, 2.0]), temperature=0)
    tensor([0., 0., 1.])
    """
    _check(temperature, top_k, top_p)
    if not bool(logits.max().isfinite()):
        raise ArgumentError(
            f"logits must be finite, got {logits.max().item()}; the model's weights are damaged, or"
            " its training diverged"
        )
    if temperature < torch.finfo(logits.dtype).tiny:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).to(logits.dtype)
    logits = (logits - logits.max()) / temperature
    if top_k is not None:
        most, places = logits.topk(min(top_k, len(logits)))
        logits = torch.full_like(logits, float("-inf")).index_copy(0, places, most)
    if top_p is not None:
        ordered, order = logits.softmax(-1).sort(descending=True)
        before = ordered.cumsum(-1) - ordered
        logits = logits.index_fill(0, order[before >= top_p], float("-inf"))
    return logits.softmax(-1)


def sample(model: LanguageModel, prompt: str = "", length: int = 500, **options: Any) -> str:
    """Continue a text.

    Args:
        model: a model with a vocabulary.
        prompt: the text to continue; without one, a line break if the vocabulary has it, else its
            first symbol.
        length: how many tokens to draw.
        **options: of `generate`.

    Returns:
        The continuation, without the prompt.

    Raises:
        ArgumentError: the model has no vocabulary, or an option is outside its range.
        DataError: the prompt holds a character that the model never saw.
    """
    if model.vocabulary is None:
        raise ArgumentError(
            "model must have a vocabulary to sample text, got one without; pass vocabulary= when"
            " making it"
        )
    return continued(
        model.vocabulary, prompt, lambda tokens: generate(model, tokens, length, **options)
    )


def _check_lengths(prompt: Sequence[int], length: int) -> None:
    if not len(prompt):
        raise ArgumentError("prompt must hold at least one token, got none")
    check_whole("length", length, 0)


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    check_number("temperature", temperature, advice="0 takes the most likely token")
    if top_k is not None:
        check_whole("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p, 0, 1, "(]", "leave it out to keep every token")
