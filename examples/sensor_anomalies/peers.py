"""Simpler detectors: the benchmark's own, whose published scores ours must repeat, and what is left
of ours without a network.
"""

from __future__ import annotations

import math

import numpy as np

from examples.sensor_anomalies.calibration import Rest, Running, unusual
from examples.sensor_anomalies.features import LEAST_SCALE, standard, units
from examples.sensor_anomalies.streams import Stream

WINDOW, STEP = 6400, 100
DIGITS = 12
"""Of the benchmark's result files: its windowed Gaussian's threshold is 1.0, which is 1 to that
many digits.
"""
erfc = np.vectorize(math.erfc, otypes=[float])


def null(values: np.ndarray) -> np.ndarray:
    """Never sees anything."""
    return np.full(len(values), 0.5)


def random(values: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Uniform in [0, 1)."""
    return draws.random(len(values))


def windowed_gaussian(values: np.ndarray) -> np.ndarray:
    """1 - Q(|x - mean| / std) of the 6,400 values before, which move on by 100 at a time."""
    rows = np.arange(len(values))
    first = np.where(rows <= WINDOW, 0, (rows - WINDOW) // STEP * STEP)
    last = np.where(rows <= WINDOW, rows, first + WINDOW)
    count, centred = np.maximum(last - first, 1), values - values.mean()
    sums, squares = (np.append(0.0, np.cumsum(each)) for each in (centred, centred**2))
    mean = (sums[last] - sums[first]) / count
    std = np.sqrt(np.maximum((squares[last] - squares[first]) / count - mean**2, 0.0))
    z = np.abs(centred - mean) / np.maximum(std, 1e-6)
    score = np.round(1 - 0.5 * erfc(z / math.sqrt(2)), DIGITS)
    score[0] = 0.0
    return score


def rested(scores: np.ndarray, stream: Stream) -> np.ndarray:
    """The same, each alarm resting as ours do."""
    rest = Rest(stream.probation // 2)
    return np.array([rest.push(score) for score in scores.tolist()])


def last_value(stream: Stream) -> np.ndarray:
    """Our score of |y - the value before|: the same units, baseline and rest, and no network."""
    unit, running = units(stream.values[: stream.probation]), Running()
    y = np.array([standard(value, *unit) for value in stream.values.tolist()])
    off = np.abs(np.diff(y))
    scale = max(float(off[: stream.probation - 1].mean()), LEAST_SCALE)
    return rested(
        np.array([0.0, *(unusual(running.push(each / scale)) for each in off.tolist())]), stream
    )
