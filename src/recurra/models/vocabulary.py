"""Characters and bytes as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recurra.errors import ArgumentError, DataError, choice_text

LEVELS = ("character", "byte")


@dataclass(frozen=True)
class Vocabulary:
    """What each token stands for.

    Args:
        level: "character" or "byte".
        symbols: the characters in order, as one string; empty for bytes, whose 256 values are fixed.

    Raises:
        ArgumentError: `level` is unknown, or `symbols` repeats a character or is empty at character level.

    >>> letters = Vocabulary.of("hello")
    >>> letters.symbols, letters.encode("hole").tolist(), letters.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')
    """

    level: str = "character"
    symbols: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ArgumentError(choice_text("level", self.level, LEVELS))
        if self.level == "character" and (not self.symbols or len(set(self.symbols)) < len(self.symbols)):
            raise ArgumentError(f"symbols must be distinct characters, at least one, got {self.symbols[:20]!r}")

    @classmethod
    def of(cls, text: str, level: str = "character") -> Vocabulary:
        """The vocabulary of a text: its characters in code point order, or all bytes."""
        return cls(level, "".join(sorted(set(text))) if level == "character" else "")

    def __len__(self) -> int:
        return len(self.symbols) if self.level == "character" else 256

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Turn text into tokens, int64.

        Raises:
            DataError: a character is not in the vocabulary; names it and its place.
        """
        if self.level == "byte":
            return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        known = np.frombuffer(self.symbols.encode("utf-32-le", "surrogatepass"), np.uint32)
        order = np.argsort(known)
        place = np.searchsorted(known, points, sorter=order).clip(max=len(known) - 1)
        tokens = order[place]
        unknown = np.flatnonzero(known[tokens] != points)
        if len(unknown):
            raise DataError(
                f"text must hold only the model's {len(self)} characters, got {text[unknown[0]]!r} at character "
                f"{unknown[0] + 1} ({len(unknown)} unknown in all); train on text that has it, or at byte level"
            )
        return tokens.astype(np.int64)

    def decode(self, tokens: Any) -> str:
        """Turn tokens into text; bytes that are not UTF-8 become the replacement character."""
        if self.level == "byte":
            return bytes(int(token) for token in tokens).decode(errors="replace")
        return "".join(self.symbols[int(token)] for token in tokens)
