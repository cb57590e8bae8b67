"""The naive baselines, against counts in plain dictionaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.errors import ArgumentError, DataError
from recurra.models import Characters
from recurra.train import Corpus, Part, baseline, from_text, read_text


def kneser_ney(
    documents: list[list[int]], size: int, order: int
) -> Callable[[list[int], int], float]:
    """p(w | context), written out with dictionaries."""
    grams = [
        Counter(tuple(d[i : i + n]) for d in documents for i in range(len(d) - n + 1))
        for n in range(order + 2)
    ]

    def counts(n: int) -> Counter[tuple[int, ...]]:
        return grams[n] if n == order else Counter(gram[1:] for gram in grams[n + 1])

    tables = [counts(n) for n in range(order + 1)]

    def chance(context: list[int], word: int, n: int) -> float:
        if n == 0:
            return 1 / size
        before = tuple(context[len(context) - n + 1 :]) if n > 1 else ()
        if len(context) < n - 1:
            return chance(context, word, n - 1)
        after = {gram[-1]: count for gram, count in tables[n].items() if gram[:-1] == before}
        if not after:
            return chance(context, word, n - 1)
        once, twice = (sum(count == times for count in tables[n].values()) for times in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        left = discount * len(after) * chance(context, word, n - 1)
        return (max(after.get(word, 0) - discount, 0) + left) / sum(after.values())

    return lambda context, word: chance(context, word, order)


def part(documents: list[list[int]]) -> Part:
    starts = np.cumsum([0, *map(len, documents)])[:-1]
    return Part(
        np.array([token for document in documents for token in document]),
        tuple(int(start) for start in starts),
    )


DOCUMENTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=5)


@settings(max_examples=60)
@given(DOCUMENTS, DOCUMENTS, st.integers(1, 5))
def test_equals_the_dictionaries(train: list[list[int]], held: list[list[int]], order: int) -> None:
    pairs = [(document[:i], document[i]) for document in held for i in range(1, len(document))]
    corpus = Corpus(part(train), part(held), Characters.of("abcd"))
    if not pairs:
        with pytest.raises(
            DataError,
            match=(
                "^corpus must hold a token to foretell for validation, got only documents of one"
                " token$"
            ),
        ):
            baseline(corpus, order)
        return
    chance = kneser_ney(train, 4, order)
    found = baseline(corpus, order)
    assert found.ngram == pytest.approx(
        -sum(math.log(chance(context, word)) for context, word in pairs) / len(pairs), abs=1e-9
    )
    flat = Counter(token for document in train for token in document)
    add_one = -sum(
        math.log((flat[word] + 1) / (sum(flat.values()) + 4)) for _, word in pairs
    ) / len(pairs)
    assert found.unigram == pytest.approx(add_one, abs=1e-12) and found.order == order
    for context, _ in pairs[:3]:
        assert sum(chance(context, word) for word in range(4)) == pytest.approx(1)


def test_only_the_last_tokens_are_counted() -> None:
    data = from_text("ab" * 50 + "cd" * 50, validation=0.1)
    assert baseline(data, most=60).tokens == 60 and baseline(data).tokens == 180
    assert baseline(data, most=60).unigram < baseline(data).unigram


@pytest.mark.parametrize(
    ("name", "value"), [("order", 0), ("order", 1.5), ("most", 0), ("most", True)]
)
def test_what_is_refused(name: str, value: object) -> None:
    with pytest.raises(
        ArgumentError, match=f"^{name} must be a positive whole number, got {value}$"
    ):
        baseline(from_text("ab" * 50), **{name: value})  # type: ignore[arg-type]


def test_on_shakespeare(data_file: Callable[[str], Path]) -> None:
    """The folder's README has 1.784 for a 4-gram with 0.1 added to each count, 3.347 for the
    unigram.
    """
    found = baseline(from_text(read_text(data_file("tinyshakespeare/input.txt"))))
    assert found.unigram == pytest.approx(3.347, abs=1e-3) and 1.5 < found.ngram < 1.65
