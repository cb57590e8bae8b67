"""How unexpected a text is to a language model, as it streams by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from recurra.errors import ArgumentError, DataError
from recurra.runtime.model import Model
from recurra.runtime.quality import cross_entropy
from recurra.vocabulary import from_record
from recurra.wording import count_text

Array = npt.NDArray[Any]


class Surprise:
    """Carries a language model along a text and says what each piece cost.

    Args:
        model: a model with a vocabulary.

    Raises:
        ArgumentError: it has none, or not an output for each token.
        DataError: its vocabulary is no record of one.
    """

    def __init__(self, model: Model) -> None:
        if model.network.vocabulary is None:
            raise ArgumentError("model must have a vocabulary to read text, got one without")
        self.vocabulary = from_record(model.network.vocabulary)
        self.session = model.session(
            1, nan="reset"
        )  # what overflows costs infinitely much, and is forgotten
        if model.network.output_size != len(self.vocabulary):
            need = f"an output for each of its {count_text(len(self.vocabulary), 'token')}"
            raise ArgumentError(
                f"model must have {need}, got {model.network.output_size}; it is no language model"
            )
        self.expected: Array | None = None

    def reset(self) -> None:
        """Begin anew: the next token has nothing before it and costs nothing."""
        self.session.reset()
        self.expected = None

    def push(self, text: str) -> tuple[float, int]:
        """Read on.

        Args:
            text: what comes next.

        Returns:
            The mean cost in nats a token, and how many tokens were counted: all but a first one,
            which nothing foretold. With none counted the cost is 0.

        Raises:
            DataError: a character is unknown; nothing of the text was read.
        """
        tokens = self.vocabulary.encode(text)
        if not len(tokens):
            return 0.0, 0
        logits = self.session.push(tokens[:, None])[:, 0]
        before = (
            logits[:-1]
            if self.expected is None
            else np.concatenate([self.expected[None], logits[:-1]])
        )
        targets = tokens[1:] if self.expected is None else tokens
        self.expected = logits[-1].copy()
        if not len(targets):
            return 0.0, 0
        nats = float(cross_entropy(before, targets).mean())
        return (nats if math.isfinite(nats) else math.inf), len(targets)

    def save(self) -> bytes:
        """The place in the text, for `load`."""
        expected = {} if self.expected is None else {"expected": self.expected}
        return bytes(
            save_tensors({"session": np.frombuffer(self.session.save(), np.uint8), **expected})
        )

    def load(self, blob: bytes) -> None:
        """Go on from what `save` gave.

        Raises:
            DataError: it is something else, or of another model.
        """
        try:
            found = load_tensors(blob)
            state, expected = found["session"].tobytes(), found.get("expected")
        except (SafetensorError, KeyError, ValueError) as error:  # no rows of 2^63 numbers
            raise DataError(
                f"blob must be what Surprise.save gave, got something else ({error})"
            ) from None
        count = self.session.network.output_size
        if expected is not None and (expected.shape != (count,) or expected.dtype != np.float32):
            raise DataError(
                f"blob must hold {count_text(count, 'logit')} in float32, got {expected.dtype}"
                f" {expected.shape}"
            )
        self.session.load(state)
        self.expected = expected
