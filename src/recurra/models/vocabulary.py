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
        ArgumentError: `level` is unknown, or `symbols` repeats a character, is empty at character level or is not at byte level.

    >>> letters = Vocabulary.of("hello")
    >>> letters.symbols, letters.encode("hole").tolist(), letters.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')
    """

    level: str = "character"
    symbols: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ArgumentError(choice_text("level", self.level, LEVELS))
        if self.level == "byte" and self.symbols:
            raise ArgumentError(f"symbols must be empty at byte level, whose 256 values are fixed, got {self.symbols[:20]!r}")
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
            try:
                return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
            except UnicodeEncodeError as error:
                lone = text[error.start]
                raise DataError(f"text must hold only characters that UTF-8 has, got {lone!r} at character {error.start + 1}") from None
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
        """Turn tokens into text; bytes that are not UTF-8 become the replacement character.

        Raises:
            DataError: a token is none of the vocabulary's.
        """
        numbers = [int(token) for token in tokens]
        for number in numbers:
            if not 0 <= number < len(self):
                raise DataError(f"tokens must be in 0..{len(self) - 1}, got {number}")
        if self.level == "byte":
            return bytes(numbers).decode(errors="replace")
        return "".join(self.symbols[number] for number in numbers)

    @property
    def opening(self) -> str:
        """What a sample begins after where nothing is given: a line break, else the first symbol."""
        return "\n" if self.level == "byte" or "\n" in self.symbols else self.symbols[0]

    def unknown(self, tokens: Any) -> int:
        """None is unknown: `encode` refuses what it does not know."""
        return 0

    def record(self) -> dict[str, Any]:
        """What JSON can hold of it, for `from_record`."""
        return {"level": self.level, "symbols": self.symbols}
