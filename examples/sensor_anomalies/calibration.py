"""How unusual a surprise is for this stream, in constant memory."""

from __future__ import annotations

import math
from collections import deque

MEMORY = 4000
LEAST = 1.0
"""Nats: a forecast's surprise never counts as steadier than that of a perfect Laplace forecast,
which deviates by 1.
"""


class Running:
    """Mean m and deviation d of what was pushed: of all of it up to `memory` rows, of about the
    last `memory` after.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self.memory, self.count, self.mean, self.variance = memory, 0, 0.0, 0.0

    def push(self, x: float) -> float:
        """z = (x - m) / max(d, 1) with the m and d from before x, which is then taken in; 0 for the
        first.
        """
        off = x - self.mean
        z = off / max(math.sqrt(self.variance), LEAST) if self.count else 0.0
        self.count = min(self.count + 1, self.memory)
        self.mean += off / self.count
        self.variance += (off * (x - self.mean) - self.variance) / self.count
        return z


class Rest:
    """Lets a score pass only if none of the `rows` before was as high: one alarm, not one for each
    row of a burst.
    """

    def __init__(self, rows: int) -> None:
        self.rows, self.row = rows, 0
        self.falling: deque[tuple[int, float]] = deque()
        """Scores that may still be a highest one, newest and lowest last: at most `rows` + 1 of
        them.
        """

    def push(self, score: float) -> float:
        """The score, or 0."""
        self.row += 1
        while self.falling and self.falling[0][0] < self.row - self.rows:
            self.falling.popleft()
        rests = bool(self.falling) and self.falling[0][1] >= score
        while self.falling and self.falling[-1][1] <= score:
            self.falling.pop()
        if self.rows:
            self.falling.append((self.row, score))
        return 0.0 if rests else score


def unusual(z: float) -> float:
    """1 - P where P = 1 / (1 + z^2) bounds, for any distribution, the chance to lie z deviations
    above the mean (Cantelli).
    """
    return z * z / (1 + z * z) if z > 0 else 0.0
