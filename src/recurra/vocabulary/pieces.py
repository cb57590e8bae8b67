"""Pieces of words as tokens: byte-level BPE."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from recurra.errors import ArgumentError, MissingDependency
from recurra.vocabulary.vocabulary import Vocabulary


@final
@dataclass(frozen=True, repr=False)
class Pieces(Vocabulary):
    """A vocabulary of pieces of words, by Hugging Face's tokenizers: byte-level byte-pair encoding, so nothing is unknown.

    Text is encoded line by line. Decoded bytes that are not UTF-8 become the replacement character.

    Args:
        form: the tokenizer, as its own JSON.

    Raises:
        ArgumentError: `form` is none.
        MissingDependency: tokenizers is not installed.

    Source: Sennrich et al. (2016), doi:10.18653/v1/P16-1162; on bytes as in Radford et al. (2019).

    >>> pieces = Pieces.of(["low lower lowest\\n" * 9], 270)
    >>> pieces.decode(pieces.encode("slow\\n")) == "slow\\n"
    True
    """

    form: str
    level: ClassVar[str] = "bpe"

    def __post_init__(self) -> None:
        try:
            len(self)
        except MissingDependency:
            raise
        except Exception as error:  # the library raises Exception itself
            raise ArgumentError(f"form must be a tokenizer's JSON, got {self.form[:40]!r} ({error})") from None

    @classmethod
    def of(cls, texts: Iterable[str], size: int | None = None) -> Pieces:
        """Learn so many pieces (8000 if None) from a text that comes in parts.

        Raises:
            ArgumentError: `size` is below the 256 bytes.
        """
        size = 8000 if size is None else size
        if not isinstance(size, int) or isinstance(size, bool) or size < 256:
            raise ArgumentError(f"vocab_size must be a whole number of pieces, 256 bytes at least, got {size!r}")
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator((line for text in texts for line in text.splitlines(keepends=True)), trainer)
        return cls(json.dumps(json.loads(tokenizer.to_str()), sort_keys=True))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer itself."""
        return _library().Tokenizer.from_str(self.form)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        parts = self.tokenizer.encode_batch(text.splitlines(keepends=True))
        return np.array([number for part in parts for number in part.ids], np.int64)

    def join(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens)))

    def record(self) -> dict[str, Any]:
        return {"level": self.level, "form": self.form}


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingDependency('level "bpe" needs tokenizers; install it with: pip install "recurra[text]"') from None
    return tokenizers
