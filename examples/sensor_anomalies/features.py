"""What the forecaster reads at each row, and in which units: no PyTorch here, training and scoring
share it.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

WIDTH = 4
FURTHEST = 1e6
LEAST_SCALE = 0.05
NORMAL_90 = 3.29
"""Standard deviations between the 5 % and the 95 % quantile of a normal distribution."""


def units(values: np.ndarray) -> tuple[float, float]:
    """Centre and width of a stream: the median, and a standard deviation that a few outliers do not
    rule.
    """
    low, high = np.quantile(values, (0.05, 0.95))
    width = max((high - low) / NORMAL_90, 0.2 * values.std(), 1e-9 * max(1.0, abs(values).max()))
    return float(np.median(values)), float(width)


def standard(value: float, center: float, width: float) -> float:
    """The value in those units, within +-1e6."""
    return min(max((value - center) / width, -FURTHEST), FURTHEST)


def features(z: float, before: float, stamp: datetime) -> tuple[float, float, float, float]:
    """asinh z, its change since the row before, and the time of day as a point on the circle."""
    level = math.asinh(z)
    angle = 2 * math.pi * (stamp.hour + stamp.minute / 60 + stamp.second / 3600) / 24
    return level, level - math.asinh(before), math.sin(angle), math.cos(angle)
