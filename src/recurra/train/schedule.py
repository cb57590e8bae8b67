"""The learning rate of each update: a function of where the run is, and of how its validations
went.
"""

from __future__ import annotations

import math
from typing import Any

from recurra.train.recipe import Recipe

RISE, FIRST, LAST = 0.3, 1 / 25, 1 / 250_000
"""One cycle: the share of the run in which the rate rises, and the rates at its ends as shares of
the highest.
"""


class Schedule:
    """The rate of each update, and what validations made of it.

    Args:
        recipe: how to train.
        updates: of the whole run.

    Source: cosine from Loshchilov & Hutter (2017), arXiv:1608.03983; one cycle from Smith & Topin
        (2018), arXiv:1708.07120, with the ends of torch.optim.lr_scheduler.OneCycleLR.

    >>> schedule = Schedule(Recipe(lr=0.1, schedule="cosine"), updates=4)
    >>> [round(schedule.rate(update, epoch=1), 4) for update in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """

    def __init__(self, recipe: Recipe, updates: int) -> None:
        self.recipe, self.updates = recipe, updates
        self.best, self.waited, self.drop = math.inf, 0, 1.0

    def rate(self, update: int, epoch: int, stretch: float = 1.0) -> float:
        """The learning rate.

        Args:
            update: how many were done before.
            epoch: the pass, from 1.
            stretch: the chunk's window over the recipe's, where it varies.
        """
        return (
            self.recipe.lr * self._share(update, epoch) * self._warm(update) * self.drop * stretch
        )

    def _warm(self, update: int) -> float:
        return min(1.0, (update + 1) / self.recipe.warmup) if self.recipe.warmup else 1.0

    def _share(self, update: int, epoch: int) -> float:
        done = min(1.0, update / self.updates)
        if self.recipe.schedule == "cosine":
            return _between(1.0, 0.0, done)
        if self.recipe.schedule == "one_cycle":
            return (
                _between(FIRST, 1.0, done / RISE)
                if done < RISE
                else _between(1.0, LAST, (done - RISE) / (1 - RISE))
            )
        if self.recipe.schedule == "decay":
            return float(self.recipe.decay ** max(0, epoch - self.recipe.decay_after))
        return 1.0

    def judge(self, validation_loss: float) -> None:
        """Take note of a validation: on a plateau the rate falls."""
        if validation_loss < self.best:
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self.recipe.schedule == "plateau" and self.waited >= self.recipe.decay_after:
            self.drop, self.waited = self.drop * self.recipe.decay, 0

    def record(self) -> dict[str, Any]:
        """What it remembers, for a checkpoint."""
        return {"best": self.best, "waited": self.waited, "drop": self.drop}

    def recall(self, record: dict[str, Any]) -> None:
        """Put back what `record` gave."""
        self.best, self.waited, self.drop = record["best"], record["waited"], record["drop"]


def _between(first: float, last: float, share: float) -> float:
    """From `first` to `last` along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
