"""What a text gives away without a net: the naive baselines to compare a language model with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recurra.check import check_whole
from recurra.errors import DataError
from recurra.train.corpus import Corpus, Part

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Naive(NamedTuple):
    """Nats a token on the validation part, of the tokens that a language model is asked for.

    Attributes:
        unigram: each token by how often it occurs, add-one smoothed.
        ngram: each token after the `order` - 1 before it.
        order: n.
        tokens: of the training part that were counted: its last ones.
    """

    unigram: float
    ngram: float
    order: int
    tokens: int

    def row(self) -> dict[str, Any]:
        """Its row in a run's history: what a loss is compared with."""
        return {
            "kind": "baseline",
            "name": f"a {self.order}-gram",
            "loss": self.ngram,
            "unigram": self.unigram,
            "unit": "nats a token",
        }


def baseline(corpus: Corpus, order: int = 5, most: int = 2_000_000) -> Naive:
    """Count unigrams and n-grams: interpolated Kneser-Ney, one discount an order.

        p_n(w | v) = max(c(v w) - D_n, 0) / c(v .) + D_n N(v .) / c(v .) p_(n-1)(w | v without its
        first token)

    c counts occurrences at the highest order, and distinct tokens before at lower ones; N counts
    distinct tokens after; D = n_1 / (n_1 + 2 n_2), of how many n-grams have c = 1 and 2; p_0 = 1 /
    V. Contexts do not reach over the start of a document.

    Args:
        corpus: the corpus.
        order: n, at least 1.
        most: tokens at the end of the training part that are counted; memory is about 300 bytes for
            each.

    Raises:
        ArgumentError: `order` or `most` is outside its range.
        DataError: the validation part holds no token to foretell.

    Source: Kneser & Ney (1995), doi:10.1109/ICASSP.1995.479394; interpolated as in Chen & Goodman
        (1999), doi:10.1006/csla.1999.0128.

    >>> from recurra.train.corpus import from_text
    >>> found = baseline(from_text("to be or not to be that is the question " * 20))
    >>> found.ngram < 0.2 < 2 < found.unigram
    True
    """
    order, most = check_whole("order", order), check_whole("most", most)
    train, size = _last(corpus.train, most), len(corpus.vocabulary)
    held = _Text(corpus.validation)
    asked = np.flatnonzero(held.place > 0)
    if not len(asked):
        raise DataError(
            "corpus must hold a token to foretell for validation, got only documents of one token"
        )
    counts = np.bincount(np.asarray(train.tokens, np.int64), minlength=size) + 1
    unigram = -np.log(counts[held.tokens[asked]] / counts.sum())
    chances = _kneser_ney(_Text(train), held, size, order)
    return Naive(
        float(unigram.mean()), float(-np.log(chances[asked]).mean()), order, len(train.tokens)
    )


def _last(part: Part, most: int) -> Part:
    cut = max(0, len(part.tokens) - most)
    return Part(part.tokens[cut:], tuple(int(start) - cut for start in part.starts if start > cut))


class _Text:
    """Tokens, and how far each is from its document's start."""

    def __init__(self, part: Part) -> None:
        self.tokens: Numbers = np.asarray(part.tokens, np.int64)
        begins = np.zeros(len(self.tokens), np.int64)
        starts = np.asarray(
            [start for start in part.starts if 0 < start < len(self.tokens)], np.int64
        )
        begins[starts] = starts
        self.place: Numbers = np.arange(len(self.tokens)) - np.maximum.accumulate(begins)


class _Grams(NamedTuple):
    """The distinct n-grams of a text by number: as codes, the (n-1)-gram that each ends with, and
    how often it occurs.
    """

    codes: Numbers
    suffix: Numbers
    counts: Numbers


def _kneser_ney(
    train: _Text, held: _Text, size: int, order: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The chance of each held-out token after those before it in its document."""
    grams, known, last = (
        [],
        [np.zeros(len(held.tokens), np.int64)],
        np.zeros(len(train.tokens), np.int64),
    )
    for n in range(1, order + 1):
        codes, where = _codes(train, last, size, n), np.flatnonzero(train.place >= n - 1)
        distinct, first, inverse, counts = np.unique(
            codes[where], return_index=True, return_inverse=True, return_counts=True
        )
        grams.append(_Grams(distinct, last[where[first]], counts))
        numbers = np.full(len(train.tokens), -1, np.int64)
        numbers[where] = inverse
        known.append(_find(distinct, _codes(held, known[-1], size, n)))
        last = numbers
    chances = np.full(len(held.tokens), 1.0 / size)
    for n in range(1, order + 1):
        counts = (
            grams[n - 1].counts
            if n == order
            else np.bincount(grams[n].suffix, minlength=len(grams[n - 1].codes))
        )
        chances = _interpolate(
            chances, counts, grams[n - 1].codes // size, known[n], _shifted(known[n - 1])
        )
    return chances


def _codes(text: _Text, last: Numbers, size: int, n: int) -> Numbers:
    """Each token's n-gram as a number: of the (n-1)-gram before it, times V, plus the token; -1
    where there is none.
    """
    before = _shifted(last) if n > 1 else np.zeros(len(text.tokens), np.int64)
    return np.where((text.place >= n - 1) & (before >= 0), before * size + text.tokens, -1)


def _shifted(numbers: Numbers) -> Numbers:
    return np.concatenate([[-1], numbers[:-1]])


def _find(distinct: Numbers, codes: Numbers) -> Numbers:
    if not len(distinct):
        return np.full(len(codes), -1, np.int64)
    place = np.searchsorted(distinct, codes).clip(max=len(distinct) - 1)
    return np.where((codes >= 0) & (distinct[place] == codes), place, -1)


def _interpolate(
    lower: Any, counts: Numbers, prefix: Numbers, found: Numbers, context: Numbers
) -> Any:
    """One order more: discounted counts, and what they leave for the order below.

    Args:
        lower: the chance of each token by the order below.
        counts, prefix: of each distinct n-gram, its count and the number of the (n-1)-gram it
            begins with.
        found, context: of each token, the number of its n-gram and of the (n-1)-gram before it; -1
            for unseen ones.
    """
    if not len(counts):
        return lower
    total = np.bincount(prefix, weights=counts)
    kinds = np.bincount(prefix[counts > 0], minlength=len(total))
    once, twice = (int((counts == times).sum()) for times in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5
    among = np.where((context >= 0) & (context < len(total)), context, 0)
    seen = (among == context) & (total[among] > 0)
    count, whole = (
        np.where(found >= 0, counts[np.maximum(found, 0)], 0),
        np.where(seen, total[among], 1.0),
    )
    return np.where(
        seen, (np.maximum(count - discount, 0.0) + discount * kinds[among] * lower) / whole, lower
    )
