"""From samples to decisions: features, the network and when to speak up, without PyTorch."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from examples.spoken_digits.features import BANDS, HOP, RATE, LogMel
from recurra.errors import ArgumentError, DataError
from recurra.runtime import Model

Array = npt.NDArray[Any]
FRAME_S = HOP / RATE
KEPT_TIMES = 100_000
"""Frames whose times are kept, the newest: memory does not grow with the stream."""


class Decision(NamedTuple):
    """A digit heard.

    Attributes:
        time_s: when it was decided, from the start of the stream.
        label: the digit.
        probability: that the network gave it then.
    """

    time_s: float
    label: str
    probability: float


class Listener:
    """A stream of samples in, decisions out; memory does not grow.

    A digit is decided once its probability was at least `threshold` for 30 ms, and once only: the
    next can be decided after the network has seen nothing said for 100 ms. After `reset_after_s` of
    nothing its state begins anew, as at the stream's start, so that what was said minutes ago has
    no part in what is said now.

    Args:
        model: with the labels, mean and scale of `train`.
        threshold: from 0 to 1.
        reset_after_s: seconds; None never begins anew.

    Attributes:
        probabilities: (11,), of the newest frame: ten digits, then nothing said.
        features_us, network_us: microseconds of each `push` and each frame, the newest 100,000.

    Raises:
        ArgumentError: an option is outside its range.
        DataError: the model is another.
    """

    def __init__(
        self, model: Model, threshold: float = 0.9, reset_after_s: float | None = 0.5
    ) -> None:
        if not 0 < threshold < 1:
            raise ArgumentError(f"threshold must be between 0 and 1, got {threshold}")
        if reset_after_s is not None and not reset_after_s > 0:
            raise ArgumentError(
                f"reset_after_s must be positive, got {reset_after_s}; use None to keep the state"
            )
        self.labels, mean, scale = _facts(model)
        self._features, self._session = LogMel(mean, scale), model.session()
        self._rule = Rule(len(self.labels), threshold)
        self._reset_after = None if reset_after_s is None else round(reset_after_s / FRAME_S)
        self.features_us: deque[float] = deque(maxlen=KEPT_TIMES)
        self.network_us: deque[float] = deque(maxlen=KEPT_TIMES)
        self.reset()

    def reset(self) -> None:
        """Begin anew, at 0 s; times taken are kept."""
        self._features.reset()
        self._session.reset()
        self._rule.reset()
        self._frames = 0
        self.probabilities = np.zeros(len(self.labels) + 1)
        self.probabilities[-1] = 1.0

    def push(self, samples: Array) -> list[Decision]:
        """Take in samples, of any number, and give what was decided in them.

        Args:
            samples: (N,) int16, or float32 in [-1, 1].
        """
        began = time.perf_counter()
        frames = self._features.push(samples)
        self.features_us.append((time.perf_counter() - began) * 1e6)
        found = [self._frame(frame[None]) for frame in frames]
        return [decision for decision in found if decision is not None]

    def _frame(self, frame: Array) -> Decision | None:
        began = time.perf_counter()
        self.probabilities = softmax(self._session.push(frame)[0])
        self.network_us.append((time.perf_counter() - began) * 1e6)
        self._frames += 1
        digit = self._rule.push(self.probabilities)
        if self._reset_after is not None and self._rule.quiet >= self._reset_after:
            self._session.reset()
            self._rule.quiet = 0
        if digit is None:
            return None
        return Decision(
            self._frames * FRAME_S, self.labels[digit], float(self.probabilities[digit])
        )


class Rule:
    """When probabilities become a decision: certain for some frames, then no more until nothing was
    said for some.

    >>> rule, sure, nothing = (
    ...     Rule(2, threshold=0.9),
    ...     np.array([0.0, 0.95, 0.05]),
    ...     np.array([0.0, 0.1, 0.9]),
    ... )
    >>> [rule.push(each) for each in [sure] * 5 + [nothing] * 10 + [sure] * 3]
    [None, None, 1, None, None, None, None, None, None, None, None, None, None, None, None, None,
    None, 1]
    """

    HOLD, REST = 3, 10

    def __init__(self, digits: int, threshold: float) -> None:
        self.digits, self.threshold = digits, threshold
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.quiet, self._armed, self._run, self._digit = 0, True, 0, -1

    def push(self, probabilities: Array) -> int | None:
        """The digit that this frame's probabilities decide, if any."""
        digit = int(probabilities[: self.digits].argmax())
        self.quiet = self.quiet + 1 if probabilities[-1] > 0.5 else 0
        self._armed = self._armed or self.quiet >= self.REST
        sure = probabilities[digit] >= self.threshold
        self._run = self._run + 1 if sure and digit == self._digit else int(sure)
        self._digit = digit
        if not self._armed or self._run < self.HOLD:
            return None
        self._armed = False
        return digit


def softmax(logits: Array) -> Array:
    """Probabilities of logits (C,).

    >>> softmax(np.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    e = np.exp(logits - logits.max())
    chance: Array = e / e.sum()
    return chance


def _facts(model: Model) -> tuple[list[str], Array, Array]:
    """The labels, mean and scale that `train` put into the model's file."""
    facts, network = model.network.facts, model.network
    for name in ("labels", "mean", "scale"):
        if name not in facts:
            raise DataError(
                "model must be one that examples.spoken_digits.train wrote, got one without"
                f" {name!r} among its facts"
            )
    labels, mean, scale = facts["labels"], np.float32(facts["mean"]), np.float32(facts["scale"])
    if (
        network.reads_tokens
        or (network.input_size, network.output_size) != (BANDS, len(labels) + 1)
        or mean.shape != scale.shape
    ):
        raise DataError(
            f"model must take {BANDS} bands and give {len(labels) + 1} logits, got another network"
        )
    return labels, mean, scale
