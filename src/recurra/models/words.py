"""Words as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurra.errors import ArgumentError, DataError

UNKNOWN, END = "<unk>", "<eos>"


@dataclass(frozen=True)
class Words:
    """A vocabulary of words between white space; each line ends in <eos>, and every other word is <unk>.

    Args:
        words: in order, the most frequent first; <unk> and <eos> are among them.

    Raises:
        ArgumentError: a word is there twice, has white space in it, or <unk> or <eos> is missing.

    >>> words = Words.of(["the cat sat on the mat\\n"], 4)
    >>> words.words, words.encode("the dog\\n").tolist()
    (('<unk>', 'the', '<eos>', 'cat'), [1, 0, 2])
    """

    words: tuple[str, ...]
    level: str = field(default="word", init=False)
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "numbers", {word: number for number, word in enumerate(self.words)})
        if len(self.numbers) < len(self.words) or any(not word or word.split() != [word] for word in self.words):
            raise ArgumentError("words must be distinct and without white space, got some that are not")
        if not {UNKNOWN, END} <= set(self.words):
            raise ArgumentError(f"words must hold {UNKNOWN} and {END}, got {len(self.words)} words without")

    @classmethod
    def of(cls, texts: Iterable[str], size: int | None = None) -> Words:
        """The most frequent words of a text that comes in pieces, cut between words; all of them if `size` is None.

        The order is that of frequency, then of the alphabet; <unk> counts as often as the words it stands for.

        Raises:
            ArgumentError: `size` is too small.
        """
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 2):
            raise ArgumentError(f"vocab_size must be a whole number of words, {UNKNOWN} and {END} among them, got {size!r}")
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text.split())
            counts[END] += text.count("\n")
        special = {name: counts.pop(name, 0) for name in (UNKNOWN, END)}
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        kept = ordered if size is None else ordered[: size - 2]
        special[UNKNOWN] += sum(counts[word] for word in ordered[len(kept) :])
        often = {word: counts[word] for word in kept} | special
        return cls(tuple(sorted(often, key=lambda word: (-often[word], word not in special, word))))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Turn text into tokens, int64: words, and <eos> for each line break."""
        unknown, end = self.numbers[UNKNOWN], self.numbers[END]
        found: list[int] = []
        *lines, rest = text.split("\n")
        for line in lines:
            found += [self.numbers.get(word, unknown) for word in line.split()]
            found.append(end)
        found += [self.numbers.get(word, unknown) for word in rest.split()]
        return np.array(found, np.int64)

    def decode(self, tokens: Any) -> str:
        """Turn tokens into text: a space between words, a line break for <eos>.

        Raises:
            DataError: a token is none of the vocabulary's.
        """
        numbers = [int(token) for token in tokens]
        for number in numbers:
            if not 0 <= number < len(self):
                raise DataError(f"tokens must be in 0..{len(self) - 1}, got {number}")
        text = " ".join("\n" if self.words[number] == END else self.words[number] for number in numbers)
        return text.replace(" \n", "\n").replace("\n ", "\n")

    @property
    def opening(self) -> str:
        """What a sample begins after where nothing is given."""
        return "\n"

    def unknown(self, tokens: Any) -> int:
        """How many tokens are <unk>."""
        return int((np.asarray(tokens) == self.numbers[UNKNOWN]).sum())

    def record(self) -> dict[str, Any]:
        """What JSON can hold of it, for `from_record`."""
        return {"level": "word", "words": list(self.words)}
