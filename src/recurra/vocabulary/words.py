"""Words as tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np

from recurra.check import check_whole
from recurra.errors import ArgumentError
from recurra.vocabulary.vocabulary import Vocabulary

UNKNOWN, END = "<unk>", "<eos>"


@final
@dataclass(frozen=True, repr=False)
class Words(Vocabulary):
    """A vocabulary of words between white space; each line ends in <eos>, and every other word is
    <unk>.

    Decoded, there is a space between words, and a line break for <eos>.

    Args:
        words: in order, the most frequent first; <unk> and <eos> are among them.

    Raises:
        ArgumentError: a word is there twice, has white space in it, or <unk> or <eos> is missing.

    >>> words = Words.of(["the cat sat on the mat\\n"], 4)
    >>> words.words, words.encode("the dog\\n").tolist()
    (('<unk>', 'the', '<eos>', 'cat'), [1, 0, 2])
    """

    words: tuple[str, ...]
    level: ClassVar[str] = "word"
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(
            self, "numbers", {word: number for number, word in enumerate(self.words)}
        )
        if len(self.numbers) < len(self.words) or any(
            not word or word.split() != [word] for word in self.words
        ):
            raise ArgumentError(
                "words must be distinct and without white space, got some that are not"
            )
        if not {UNKNOWN, END} <= set(self.words):
            raise ArgumentError(
                f"words must hold {UNKNOWN} and {END}, got {len(self.words)} words without"
            )

    @classmethod
    def of(cls, texts: Iterable[str], size: int | None = None) -> Words:
        """The most frequent words of a text that comes in pieces, cut between words; all of them if
        `size` is None.

        The order is that of frequency, then of the alphabet; <unk> counts as often as the words it
        stands for.

        Raises:
            ArgumentError: `size` is too small.
        """
        if size is not None:
            check_whole("vocab_size", size, 2, advice=f"{UNKNOWN} and {END} are among the words")
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
        unknown, end = self.numbers[UNKNOWN], self.numbers[END]
        found: list[int] = []
        *lines, rest = text.split("\n")
        for line in lines:
            found += [self.numbers.get(word, unknown) for word in line.split()]
            found.append(end)
        found += [self.numbers.get(word, unknown) for word in rest.split()]
        return np.array(found, np.int64)

    def find_unknown(self, text: str) -> list[tuple[int, int]]:
        return [word.span() for word in re.finditer(r"\S+", text) if word[0] not in self.numbers]

    def join(self, tokens: Sequence[int]) -> str:
        text = " ".join("\n" if self.words[token] == END else self.words[token] for token in tokens)
        return text.replace(" \n", "\n").replace("\n ", "\n")

    def unknown(self, tokens: Any) -> int:
        return int((np.asarray(tokens) == self.numbers[UNKNOWN]).sum())

    def record(self) -> dict[str, Any]:
        return {"level": self.level, "words": list(self.words)}
