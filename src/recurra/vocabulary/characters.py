"""Characters as tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from recurra.errors import ArgumentError, DataError
from recurra.vocabulary.vocabulary import Vocabulary
from recurra.wording import count_text


@final
@dataclass(frozen=True, repr=False)
class Characters(Vocabulary):
    """A vocabulary of characters: Unicode's code points.

    Args:
        symbols: the characters in order, as one string.

    Raises:
        ArgumentError: `symbols` is empty or repeats a character.

    >>> letters = Characters.of("hello")
    >>> letters.symbols, letters.encode("hole").tolist(), letters.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')
    """

    symbols: str
    level: ClassVar[str] = "character"

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise ArgumentError(
                f"symbols must be distinct characters, at least one, got {self.symbols[:20]!r}"
            )

    @classmethod
    def of(cls, texts: str | Iterable[str]) -> Characters:
        """The characters of a text, or of one that comes in pieces, in code point order.

        Raises:
            DataError: there is no text.
        """
        symbols: set[str] = set()
        for text in [texts] if isinstance(texts, str) else texts:
            symbols |= set(text)
        if not symbols:
            raise DataError("text must not be empty, got no characters")
        return cls("".join(sorted(symbols)))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        tokens = self._find(text)
        unknown = np.flatnonzero(tokens < 0)
        if len(unknown):
            raise DataError(
                f"text must hold only the model's {count_text(len(self), 'character')}, got"
                f" {text[unknown[0]]!r} at character {unknown[0] + 1} ({len(unknown)} unknown in"
                " all); train on text that has it, or at byte level"
            )
        return tokens

    def find_unknown(self, text: str) -> list[tuple[int, int]]:
        return [(place, place + 1) for place in np.flatnonzero(self._find(text) < 0).tolist()]

    def _find(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The token of each character; -1 for an unknown one."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        known = np.frombuffer(self.symbols.encode("utf-32-le", "surrogatepass"), np.uint32)
        order = np.argsort(known)
        place = np.searchsorted(known, points, sorter=order).clip(max=len(known) - 1)
        tokens = order[place]
        return np.where(known[tokens] == points, tokens, -1)

    def join(self, tokens: Sequence[int]) -> str:
        return "".join(self.symbols[token] for token in tokens)

    @property
    def opening(self) -> str:
        """A line break, else the first symbol."""
        return "\n" if "\n" in self.symbols else self.symbols[0]

    def record(self) -> dict[str, Any]:
        return {"level": self.level, "symbols": self.symbols}
