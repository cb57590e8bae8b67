"""What tokens stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from recurra.errors import DataError
from recurra.wording import count_text

MARK = "\ufeff"
"""The byte-order mark, which some editors write before a text to say that it is UTF-8: no part of
the text.
"""


class Vocabulary(ABC):
    """What each token stands for: `Characters`, `Bytes`, `Words` or `Pieces`.

    Attributes:
        level: "character", "byte", "word" or "bpe".
    """

    level: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({count_text(len(self), 'token')})"

    @abstractmethod
    def __len__(self) -> int:
        """How many different tokens there are."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Turn text into tokens, int64.

        Raises:
            DataError: the text holds what has no token; names it and its place.
        """

    @abstractmethod
    def join(self, tokens: Sequence[int]) -> str:
        """The text of tokens that are all in 0..V-1: what `decode` gives once it has looked at
        them.
        """

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What JSON can hold of it: its level, and what it is made of."""

    def decode(self, tokens: Any) -> str:
        """Turn tokens into text.

        Raises:
            DataError: a token is none of the vocabulary's.
        """
        numbers = [int(token) for token in tokens]
        for number in numbers:
            if not 0 <= number < len(self):
                raise DataError(f"tokens must be in 0..{len(self) - 1}, got {number}")
        return self.join(numbers)

    @property
    def opening(self) -> str:
        """What a sample begins after where nothing is given."""
        return "\n"

    def find_unknown(self, text: str) -> list[tuple[int, int]]:
        """Where a text holds what has no token of its own: the place where each begins, and the
        place after it.
        """
        return []

    def drop_unknown(self, text: str) -> tuple[str, int]:
        """A text without what has no token of its own, and how many such there were."""
        spans = self.find_unknown(text)
        edges = [0, *(place for span in spans for place in span), len(text)]
        return "".join(text[start:stop] for start, stop in zip(edges[::2], edges[1::2])), len(spans)

    def fit_breaks(self, text: str) -> str:
        """A text whose lines end in a line feed alone, where the vocabulary holds no carriage
        return; else the text as it is.
        """
        return text.replace("\r\n", "\n") if "\r" in text and self.find_unknown("\r") else text

    def unknown(self, tokens: Any) -> int:
        """How many tokens stand for what is unknown; none, where `encode` refuses it."""
        return 0
