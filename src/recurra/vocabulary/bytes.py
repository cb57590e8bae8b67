"""Bytes as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from recurra.errors import DataError
from recurra.vocabulary.vocabulary import Vocabulary


@final
@dataclass(frozen=True, repr=False)
class Bytes(Vocabulary):
    """The 256 values of a byte: text as UTF-8. Decoded bytes that are not UTF-8 become the
    replacement character.

    >>> Bytes().encode("hé").tolist()
    [104, 195, 169]
    """

    level: ClassVar[str] = "byte"

    def __len__(self) -> int:
        return 256

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        try:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        except UnicodeEncodeError as error:
            lone = text[error.start]
            raise DataError(
                f"text must hold only characters that UTF-8 has, got {lone!r} at character"
                f" {error.start + 1}"
            ) from None

    def join(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def record(self) -> dict[str, Any]:
        return {"level": self.level, "symbols": ""}
