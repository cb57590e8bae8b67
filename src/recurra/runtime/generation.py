"""Sampling from a language model, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.check import check_number, check_whole
from recurra.errors import ArgumentError
from recurra.runtime.model import Model

Array = npt.NDArray[Any]


def generate(
    model: Model,
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
        model: reads tokens, and gives a logit for each.
        prompt: tokens to begin with, at least one; they are not given back.
        length: how many tokens to draw.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_k: keep only the k most likely tokens.
        top_p: keep the smallest set of most likely tokens whose chance is at least p (nucleus).
        seed: of the draws; from the system if None. The draws are NumPy's, not those of PyTorch for
            the same seed.

    Returns:
        An iterator of tokens.

    Raises:
        ArgumentError: an option is outside its range, the prompt is empty, or the model is no
            language model.

    Source: nucleus sampling from Holtzman et al. (2020), arXiv:1904.09751.
    """
    network = model.network
    if not network.reads_tokens or network.output_size != network.input_size:
        raise ArgumentError(
            "model must be a language model, from tokens to a logit for each, got another network"
        )
    tokens = np.asarray(prompt)
    if tokens.ndim == 1 and not len(tokens):
        raise ArgumentError("prompt must hold at least one token, got none")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ArgumentError(f"prompt must hold whole numbers, got {prompt!r:.60}")
    length = check_whole("length", length, 0)
    if seed is not None:
        check_whole("seed", seed, 0)
    distribution(np.zeros(1), temperature, top_k, top_p)
    return _draw(
        model,
        tokens.astype(np.int64),
        length,
        (temperature, top_k, top_p),
        np.random.default_rng(seed),
    )


def _draw(
    model: Model, prompt: Array, length: int, options: tuple[Any, ...], draws: np.random.Generator
) -> Iterator[int]:
    with model.session(1) as session:
        logits = session.push(prompt[:, None])[-1, 0]
        for _ in range(length):
            chance = distribution(logits, *options)
            token = int(draws.choice(len(chance), p=chance))
            yield token
            logits = session.push(np.array([token]))[0]


def sample(model: Model, prompt: str = "", length: int = 500, **options: Any) -> str:
    """Continue a text.

    Args:
        model: a language model with a vocabulary.
        prompt: the text to continue; without one, a line break if the vocabulary has it, else its
            first symbol.
        length: how many tokens to draw.
        **options: of `generate`.

    Returns:
        The continuation, without the prompt.

    Raises:
        ArgumentError: the model has no vocabulary, or an option is outside its range.
        DataError: the prompt holds a character that the model never saw, or the vocabulary cannot
            be read.
    """
    if model.network.vocabulary is None:
        raise ArgumentError("model must have a vocabulary to sample text, got one without")
    if not isinstance(prompt, str):
        raise ArgumentError(
            f"prompt must be text, got {type(prompt).__name__}; generate takes tokens"
        )
    from recurra.vocabulary import continued, from_record  # most streams need none

    vocabulary = from_record(model.network.vocabulary)
    return continued(vocabulary, prompt, lambda tokens: generate(model, tokens, length, **options))


def distribution(
    logits: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """The distribution that tokens are drawn from.

    Args:
        logits: (V,).
        temperature, top_k, top_p: as for `generate`.

    Returns:
        Chances (V,), float64, which sum to 1.

    Raises:
        ArgumentError: an option is outside its range, or the largest logit is not finite.

    >>> distribution(np.array([0.0, 1.0, 2.0]), temperature=0).tolist()
    [0.0, 0.0, 1.0]
    """
    check_number("temperature", temperature, advice="0 takes the most likely token")
    if top_k is not None:
        check_whole("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p, 0, 1, "(]", "leave it out to keep every token")
    if not np.isfinite(logits.max()):
        raise ArgumentError(
            f"logits must be finite, got {logits.max()}; the model's weights are damaged, or its"
            " training diverged"
        )
    if temperature < np.finfo(np.float32).tiny:
        greedy: Array = (np.arange(len(logits)) == np.argmax(logits)).astype(np.float64)
        return greedy
    wide = logits.astype(np.float64)
    chance = np.exp((wide - wide.max()) / temperature)
    if top_k is not None and top_k < len(chance):
        chance[np.argsort(-chance, kind="stable")[top_k:]] = 0
    chance /= chance.sum()
    if top_p is not None:
        order = np.argsort(-chance, kind="stable")
        before = np.cumsum(chance[order]) - chance[order]
        chance[order[before >= top_p]] = 0
    done: Array = chance / chance.sum()
    return done
