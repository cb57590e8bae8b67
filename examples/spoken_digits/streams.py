"""Streams to learn from: recordings said faster or slower, louder or softer, in noise, with gaps
between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from examples.spoken_digits.features import HOP, RATE
from examples.spoken_digits.recordings import Recording

Array = npt.NDArray[Any]
NOTHING, IGNORED = 10, -100
"""Labels of frames in which no digit is said, and of frames that the loss passes by."""
GAP_S, SPEED, LEVEL_DB, NOISE_DB = (0.2, 0.7), (0.85, 1.18), (-46.0, -16.0), (-50.0, -8.0)
"""Ranges drawn from: seconds of a gap; times as fast; speech in dB of full scale; noise in dB of
the speech.
"""
EARLY, LATE = 5, 10
"""Frames at a digit's start that the loss passes by, and frames after its end that still count as
it: 50 and 100 ms.
"""


class Example(NamedTuple):
    """A stream and what is said in it.

    Attributes:
        samples: (N,) float32.
        labels: (N // 80,) int64, for each frame a digit, NOTHING or IGNORED.
    """

    samples: Array
    labels: Array


def epoch(
    recordings: Sequence[Recording], draws: np.random.Generator, most: int = 2
) -> list[Example]:
    """Every recording once, in an order drawn, each stream with one or more of them.

    Args:
        recordings: to draw from.
        draws: of order, numbers, gaps, speed, level and noise.
        most: recordings in a stream.
    """
    left = [recordings[number] for number in draws.permutation(len(recordings))]
    examples = []
    while left:
        count = int(draws.integers(1, most + 1))
        examples.append(stream(left[:count], draws))
        left = left[count:]
    return examples


def stream(recordings: Sequence[Recording], draws: np.random.Generator) -> Example:
    """One stream: a gap or none, then each recording and a gap after it."""
    level = draws.uniform(*LEVEL_DB)
    pieces, spans = [_gap(draws) if draws.random() < 0.5 else np.zeros(0, np.float32)], []
    for recording in recordings:
        at = sum(map(len, pieces))
        said = _said(recording.samples, draws, level + draws.uniform(-3, 3))
        spans.append((at, at + len(said), recording.digit))
        pieces += [said, _gap(draws)]
    samples = np.concatenate(pieces)
    samples += _noise(len(samples), draws, level + draws.uniform(*NOISE_DB))
    return Example(samples.clip(-1, 1), labels_of(len(samples), spans))


def labels_of(length: int, spans: Sequence[tuple[int, int, int]]) -> Array:
    """The label of each frame.

    Args:
        length: samples in the stream.
        spans: of each digit the first sample, the one after its last, and which it is.

    >>> labels_of(1600, [(160, 720, 7)]).tolist()
    [10, 10, -100, -100, -100, -100, -100, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 10]
    """
    ends = np.arange(1, length // HOP + 1) * HOP
    labels = np.full(len(ends), NOTHING)
    for first, last, digit in spans:
        labels[(ends > first) & (ends <= last + LATE * HOP)] = digit
        labels[(ends > first) & (ends <= first + EARLY * HOP)] = IGNORED
    return labels


def _gap(draws: np.random.Generator) -> Array:
    return np.zeros(int(draws.uniform(*GAP_S) * RATE), np.float32)


def _said(samples: Array, draws: np.random.Generator, level: float) -> Array:
    """A recording at another speed (and so pitch), at a level in dB of full scale."""
    places = np.arange(0, len(samples) - 1, draws.uniform(*SPEED))
    x = np.interp(places, np.arange(len(samples)), samples)
    return (x * (10 ** (level / 20) / np.sqrt(np.mean(x**2) + 1e-9))).astype(np.float32)


def _noise(length: int, draws: np.random.Generator, level: float) -> Array:
    """Noise at a level in dB of full scale, its spectrum falling as f^0 (white) to f^-1."""
    size = (
        1 << (length - 1).bit_length()
    )  # the transform of a prime length would take many times as long
    spectrum = np.fft.rfft(draws.standard_normal(size, np.float32))
    spectrum *= np.arange(1, len(spectrum) + 1, dtype=np.float32) ** -np.float32(
        draws.uniform(0, 1)
    )
    x = np.fft.irfft(spectrum)[:length]
    return (x * (10 ** (level / 20) / np.sqrt(np.mean(x**2) + 1e-12))).astype(np.float32)
