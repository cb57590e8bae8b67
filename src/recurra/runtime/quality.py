"""What a model's precision costs: its loss on tokens, and how far its outputs are from
another's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.runtime.model import Model

Array = npt.NDArray[Any]
CHUNK = 512
"""Steps that are pushed at once."""


def cross_entropy(logits: Array, targets: Array) -> Array:
    """Nats that each target costs, (N,) float64; no finite number where the logits are not finite.

    Args:
        logits: (N, V).
        targets: (N,), whole numbers.

    >>> cross_entropy(np.full((1, 4), 1000.0), np.array([2])).round(4).tolist()
    [1.3863]
    """
    with np.errstate(invalid="ignore"):
        wide = logits.astype(np.float64)
        below = wide - wide.max(1, keepdims=True)
        costs: Array = np.log(np.exp(below).sum(1)) - below[np.arange(len(targets)), targets]
    return costs


def loss(model: Model, tokens: Array) -> float:
    """Mean cross entropy of a language model over a text, read as one stream.

    Args:
        model: from tokens to logits.
        tokens: (N,), at least 2.

    Returns:
        Nats a token.
    """
    total = 0.0
    with model.session(1) as session:
        for start in range(0, len(tokens) - 1, CHUNK):
            x, y = tokens[start : start + CHUNK], tokens[start + 1 : start + CHUNK + 1]
            total += float(cross_entropy(session.push(x[: len(y), None])[:, 0], y).sum())
    return total / (len(tokens) - 1)


def largest_difference(
    one: Model, other: Model, x: Array | None = None, steps: int = 10_000
) -> float:
    """The largest difference of two models' outputs over a stream.

    Args:
        one, other: of the same shape.
        x: tokens (N,), as often as it takes; drawn at random if None, as are features.
        steps: how many.
    """
    network, draws = one.network, np.random.default_rng(0)
    largest = 0.0
    with one.session(1) as first, other.session(1) as second:
        for start in range(0, steps, CHUNK):
            count = min(CHUNK, steps - start)
            given: Array
            if not network.reads_tokens:
                given = draws.standard_normal((count, 1, network.input_size)).astype(np.float32)
            elif x is None:
                given = draws.integers(0, network.input_size, (count, 1))
            else:
                given = np.take(x, np.arange(start, start + count), mode="wrap")[:, None]
            largest = max(largest, float(np.abs(first.push(given) - second.push(given)).max()))
    return largest
