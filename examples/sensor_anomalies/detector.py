"""A forecaster's file, streaming: a row in, its surprise and anomaly score out. No PyTorch."""

from __future__ import annotations

import math
import sys
from datetime import datetime
from os import PathLike
from typing import NamedTuple

import numpy as np

from examples.sensor_anomalies.calibration import Rest, Running, unusual
from examples.sensor_anomalies.features import WIDTH, features, standard
from recurra import runtime
from recurra.errors import RecurraError

FACTS = ("center", "width", "scale", "rest")
"""Of the file: the units of the stream, the scale b of the forecast in them, and how many rows an
alarm rests.
"""


class Scored(NamedTuple):
    """Of a row: `surprise` in nats, `score` in [0, 1]."""

    surprise: float
    score: float


class Detector:
    """The state of one stream.

    With y the value in the stream's units and mu what the network made of all rows before,

        surprise = |y - mu| / b + ln(2 b)          -ln of a Laplace density
        z        = (surprise - m) / max(d, 1)      m, d: mean and deviation of earlier surprises
        score    = z^2 / (1 + z^2) if z > 0 and no score of the last R rows was as high, else 0

    A first row is foretold by nothing: its surprise and score are 0.
    """

    def __init__(self, model: runtime.Model, rest: int | None = None) -> None:
        facts = model.network.facts
        self.center, self.width, self.scale = (float(facts[name]) for name in FACTS[:3])
        self.session = model.session(batch=1)
        self.running, self.rest = Running(), Rest(int(facts["rest"]) if rest is None else rest)
        self.x = np.zeros((1, WIDTH), np.float32)
        self.expected, self.before = 0.0, math.nan

    def push(self, stamp: datetime, value: float) -> Scored:
        """Score a finite value, then go on to foretell the next."""
        y = standard(value, self.center, self.width)
        begins = math.isnan(self.before)
        surprise = 0.0 if begins else abs(y - self.expected) / self.scale + math.log(2 * self.scale)
        score = 0.0 if begins else self.rest.push(unusual(self.running.push(surprise)))
        self.x[0] = features(y, y if begins else self.before, stamp)
        self.expected, self.before = float(self.session.push(self.x)[0, 0]), y
        return Scored(surprise, score)


def load(path: str | PathLike[str]) -> runtime.Model:
    """A file that `train` wrote; ends the program in one line if it is another."""
    try:
        model = runtime.load(path)
    except RecurraError as error:
        sys.exit(str(error))
    if not set(FACTS) <= set(model.network.facts or {}) or (
        model.network.input_size,
        model.network.output_size,
    ) != (WIDTH, 1):
        sys.exit(
            f"{path} must be a forecaster that examples.sensor_anomalies.train wrote, got another"
            " network"
        )
    return model
