"""Pieces of words as tokens: byte-level BPE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from recurra.check import check_whole
from recurra.errors import ArgumentError, MissingDependency, quoted, reason
from recurra.vocabulary.vocabulary import Vocabulary

MOST_WORD, MOST_LONG, BATCH = 1000, 1 << 20, 1 << 18
"""Characters without white space that are one word; of longer ones that pieces are learnt from, in
all; and that are encoded at once.
"""
FORM: dict[str, tuple[str | None, ...]] = {
    "model": ("BPE",),
    "pre_tokenizer": ("ByteLevel",),
    "decoder": ("ByteLevel",),
    "padding": (None,),
    "truncation": (None,),
    "normalizer": (None, "NFC", "NFD", "NFKC", "NFKD", "Lowercase"),
    "post_processor": (None, "ByteLevel"),
}
"""By part of a tokenizer's JSON, the types that it may have."""
LONG, LONG_WHOLE = re.compile(rf"\S{{{MOST_WORD + 1},}}"), re.compile(rf"\S{{{MOST_WORD}}}")


@final
@dataclass(frozen=True, repr=False)
class Pieces(Vocabulary):
    """A vocabulary of pieces of words, by Hugging Face's tokenizers: byte-level byte-pair encoding,
    so nothing is unknown.

    Text is encoded line by line, and what has no white space in 1000 characters in parts of those.
    Decoded bytes that are not UTF-8 become the replacement character.

    Args:
        form: the tokenizer, as its own JSON.

    Raises:
        ArgumentError: `form` is none, or not of byte-level pieces alone: other normalisers, regular
            expressions, padding or prefixes could take any time and memory for a text.
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
            _check_form(self.form)
            numbers = sorted(self.tokenizer.get_vocab().values())
        except (ArgumentError, MissingDependency, KeyboardInterrupt, SystemExit):
            raise
        except (
            BaseException
        ) as error:  # the library raises Exception itself, and BaseException where it panics
            raise ArgumentError(
                f"form must be a tokenizer's JSON, got {quoted(self.form, 40)} ({reason(error)})"
            ) from None
        if numbers != list(range(len(self))) or not numbers:
            raise ArgumentError(
                f"form must number its {len(self)} pieces from 0, each once, got others"
            )

    @classmethod
    def of(cls, texts: Iterable[str], size: int | None = None) -> Pieces:
        """Learn so many pieces (8000 if None) from a text that comes in parts.

        Raises:
            ArgumentError: `size` is below the 256 bytes.
        """
        most = 8000 if size is None else size
        size = check_whole("vocab_size", most, 256, advice="each byte is a piece")
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(_for_training(texts), trainer)
        return cls(json.dumps(json.loads(tokenizer.to_str()), sort_keys=True))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer itself."""
        return _library().Tokenizer.from_str(self.form)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        found = [np.zeros(0, np.int64)]
        for batch in _batches(_parts(text)):
            numbers = [number for part in self.tokenizer.encode_batch(batch) for number in part.ids]
            found.append(np.array(numbers, np.int64))
        return np.concatenate(found)

    def join(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens)))

    def record(self) -> dict[str, Any]:
        return {"level": self.level, "form": self.form}


def _check_form(form: Any) -> None:
    """Raise unless a form is of byte-level pieces, whose work on a text is bounded by its length.

    Raises:
        ArgumentError: it is of something else; names the part.
        TypeError, ValueError: it is no JSON.
    """
    record = json.loads(form)
    if not isinstance(record, dict):
        raise TypeError(f"a {type(record).__name__}")
    for name, kinds in FORM.items():
        part = record.get(name)
        kind = part.get("type", "?") if isinstance(part, dict) else part
        if kind not in kinds:
            raise ArgumentError(
                f"form must hold {name} {' or '.join(map(str, kinds))}, got {quoted(kind)}; its"
                " pieces are of bytes"
            )
    model = record["model"]
    if any(
        model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout")
    ):
        raise ArgumentError(
            "form must hold a model without prefixes, suffixes or dropout, got one with them"
        )


def _parts(text: str) -> Iterator[str]:
    """Lines, cut within words that are longer than any: the work on a word grows faster than its
    length.

    >>> [len(part) for part in _parts("the " + "a" * 2500 + " cat\\nsat")]
    [1004, 1000, 505, 3]
    """
    for line in text.splitlines(keepends=True):
        begin = 0
        for long in LONG.finditer(line) if len(line) > MOST_WORD else ():
            for cut in range(long.start() + MOST_WORD, long.end(), MOST_WORD):
                yield line[begin:cut]
                begin = cut
        yield line[begin:]


def _batches(parts: Iterable[str]) -> Iterator[list[str]]:
    """Parts together, so many that they are soon done and take little memory: the library keeps
    much of each token.
    """
    batch, size = [], 0
    for part in parts:
        batch.append(part)
        size += len(part)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _for_training(texts: Iterable[str]) -> Iterator[str]:
    """The parts that pieces are learnt from: of words longer than any only so many, since hardly
    two are alike, and each is held.
    """
    left = MOST_LONG
    for part in (part for text in texts for part in _parts(text)):
        whole = len(part) < MOST_WORD or not LONG_WHOLE.search(part)
        left -= 0 if whole else len(part)
        if whole or left > 0:
            yield part


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingDependency(
            'level "bpe" needs tokenizers; install it with: pip install "recurra[text]"'
        ) from None
    return tokenizers
