"""The score of the Numenta Anomaly Benchmark.

A detection in a window of w rows that ends at row r is worth, at row i,

    a_tp * s(-(r - i + 1) / w) / s(-1),        s(y) = 2 / (1 + exp(5 y)) - 1

and only a window's best (its earliest) counts; a window without any costs a_fn. Every other
detection is false and costs a_fp * -s((i - r) / (w - 1)), where r and w are those of the window
before, the whole a_fp from three widths on or with no window before. Rows of the probation are not
looked at. The sum over all files is scaled so that no detection at all has 0 and every window's
first row, with nothing false, 100. One threshold serves all files: the one with the highest sum.

Source: Lavin & Ahmad (2015), arXiv:1510.03336, and nab/sweeper.py of github.com/numenta/NAB v1.1,
    which leads where they
differ: in the probation (at most 750 rows), the + 1 above, and the three widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from examples.sensor_anomalies.streams import Stream


class Profile(NamedTuple):
    """What a true, a false and a missing detection weigh."""

    a_tp: float
    a_fp: float
    a_fn: float


STANDARD = Profile(1.0, 0.11, 1.0)
LOW_FP = Profile(1.0, 0.22, 1.0)
LOW_FN = Profile(1.0, 0.11, 2.0)


class Sweep(NamedTuple):
    """Each threshold, highest first, and the score where detections are the rows that reach it."""

    thresholds: np.ndarray
    scores: np.ndarray

    @property
    def best(self) -> tuple[float, float]:
        """The highest score, and its threshold."""
        place = int(self.scores.argmax())
        return float(self.scores[place]), float(self.thresholds[place])

    def at(self, threshold: float) -> float:
        """The score at one threshold."""
        return float(self.scores[np.flatnonzero(self.thresholds >= threshold)[-1]])


def sigmoid(y: np.ndarray) -> np.ndarray:
    """s(y): 1 far before a window's end, 0 at it, -1 far behind."""
    return 2 / (1 + np.exp(np.clip(5 * y, -50, 50))) - 1


def worth(stream: Stream, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """What a detection at each row is worth (N,), and the number of its window, -1 outside (N,)."""
    rows = np.arange(len(stream.values))
    value, window = np.full(len(rows), -profile.a_fp), np.full(len(rows), -1)
    for number, (first, last) in enumerate(stream.windows):
        width = last - first + 1
        behind = (rows[last + 1 :] - last) / max(width - 1, 1)
        value[last + 1 :] = profile.a_fp * np.where(behind >= 3, -1.0, sigmoid(behind))
        value[first : last + 1] = (
            profile.a_tp
            * sigmoid(-(last - rows[first : last + 1] + 1) / width)
            / sigmoid(np.array(-1.0))
        )
        window[first : last + 1] = number
    return value, window


def gains(stream: Stream, detector: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """How the sum of a file grows as the threshold sinks: scores (N,), highest first, and what each
    row adds (N,).
    """
    value, window = worth(stream, profile)
    order = stream.probation + np.argsort(-detector[stream.probation :], kind="stable")
    score, value, window = detector[order], value[order], window[order]
    gain = np.where(window < 0, value, 0.0)
    for number in range(len(stream.windows)):
        inside = np.flatnonzero(window == number)
        gain[inside] = np.diff(np.maximum.accumulate(value[inside]), prepend=-profile.a_fn)
    return score, gain


def sweep(
    streams: Sequence[Stream], detectors: Sequence[np.ndarray], profile: Profile = STANDARD
) -> Sweep:
    """The normalised score at every threshold. A detector's scores are in [0, 1], one a row."""
    score, gain, _ = pooled(streams, detectors, profile)
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    return Sweep(
        np.append(np.inf, score[last]),
        100 * np.append(0.0, np.cumsum(gain)[last]) / perfect(streams, profile),
    )


def left_out(
    streams: Sequence[Stream], detectors: Sequence[np.ndarray], profile: Profile = STANDARD
) -> float:
    """The score where each file's threshold is the best of the other files."""
    score, gain, file = pooled(streams, detectors, profile)
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    result = 0.0
    for number in range(len(streams)):
        own, others = (
            np.append(0.0, np.cumsum(np.where(kept, gain, 0.0))[last])
            for kept in (file == number, file != number)
        )
        result += own[others.argmax()]
    return float(100 * result / perfect(streams, profile))


def pooled(
    streams: Sequence[Stream], detectors: Sequence[np.ndarray], profile: Profile
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all files together, highest score first: score, gain and number of the file (N,)."""
    parts = [
        gains(stream, detector, profile)
        for stream, detector in zip(streams, detectors, strict=True)
    ]
    score, gain = (np.concatenate(part) for part in zip(*parts))
    file = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    order = np.argsort(-score, kind="stable")
    return score[order], gain[order], file[order]


def perfect(streams: Sequence[Stream], profile: Profile) -> float:
    """From no detection at all to every window's first row: what 100 stands for."""
    return sum(len(stream.windows) for stream in streams) * (profile.a_tp + profile.a_fn)
