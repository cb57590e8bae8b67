"""How unexpected a text is to a language model, as it streams by."""

from __future__ import annotations

import math

import torch

from recurra.errors import ArgumentError
from recurra.models import LanguageModel
from recurra.stream import Stream


class Surprise:
    """Carries a language model along a text and says what each piece cost.

    Args:
        model: a model with a vocabulary.

    Raises:
        ArgumentError: it has none.
    """

    def __init__(self, model: LanguageModel) -> None:
        if model.vocabulary is None:
            raise ArgumentError("model must have a vocabulary to read text, got one without")
        self.vocabulary, self.stream = model.vocabulary, Stream(model)
        self.expected: torch.Tensor | None = None

    def reset(self) -> None:
        """Begin anew: the next token has nothing before it and costs nothing."""
        self.stream.reset()
        self.expected = None

    def push(self, text: str) -> tuple[float, int]:
        """Read on.

        Args:
            text: what comes next.

        Returns:
            The mean cost in nats a token, and how many tokens were counted: all but a first one, which nothing
            foretold. With none counted the cost is 0.

        Raises:
            DataError: a character is unknown; nothing of the text was read.
        """
        tokens = torch.from_numpy(self.vocabulary.encode(text))
        if not len(tokens):
            return 0.0, 0
        logits = self.stream.push(tokens[:, None])[:, 0]
        before = logits[:-1] if self.expected is None else torch.cat([self.expected[None], logits[:-1]])
        targets = tokens[1:] if self.expected is None else tokens
        self.expected = logits[-1]
        if not len(targets):
            return 0.0, 0
        nats = float(torch.nn.functional.cross_entropy(before, targets))
        return (nats if math.isfinite(nats) else math.inf), len(targets)
