"""How long a run will take, said once after a few chunks; and where that is long, what would be
quicker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recurra.train.progress import left_text
from recurra.train.recipe import Recipe
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.train.course import Course

LONG_S = 20 * 60
"""A run that takes longer is worth a smaller one before it."""
SMALL_TEXT = 4_000_000
"""Tokens of a text that a small model is a fair first look at."""
UNITS = 192
"""Of each layer of a small model."""
SMALL = (
    f"--embed 64 --hidden {UNITS} --layers 2 --dropout 0.1 --tied false --epochs 5 --window 64"
    " --batch 32 --lr 4e-3 --schedule cosine"
)
"""What recipes/small.toml holds: for who has installed recurra without its recipes."""


class Advice:
    """A callback that says how long the run will take, once, after so many seconds and a few
    chunks.

    Args:
        seconds: how long to look at the pace first.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds, self.said, self.began = seconds, False, 0.0

    def on_start(self, course: Course) -> None:
        """Take the time."""
        self.began = time.monotonic()

    def on_chunk(self, course: Course, row: Mapping[str, Any], chunk: Any) -> None:
        """Say it, where it is time to."""
        left = course.display.left_s()
        if self.said or left is None or time.monotonic() - self.began < self.seconds:
            return
        self.said = True
        if text := advice(left, course.streams.tokens, course.model.options, course.recipe):
            course.display.say(text)


def advice(left_s: float, tokens: int, options: Mapping[str, Any], recipe: Recipe) -> str:
    """What to say of a run that takes so long; nothing of one that is over in a minute.

    Args:
        left_s: seconds to its end.
        tokens: of its training part.
        options: of its model.
        recipe: how it is trained.

    >>> advice(700, 10**6, {"hidden": 512, "layers": 2}, Recipe())
    'about 12 min left, for 10 epochs'
    """
    text = f"{left_text(left_s)}, for {count_text(recipe.epochs, 'epoch')}"
    if left_s <= LONG_S or tokens > SMALL_TEXT:
        return text if left_s > 60 else ""
    hidden = options["hidden"]
    widest = max(hidden) if isinstance(hidden, (list, tuple)) else hidden
    if widest > UNITS:
        return (
            f"{text}; a smaller model is quicker, for a first look at a text of this size:"
            f" recipes/small.toml, which is {SMALL}"
        )
    fewer = max(1, int(recipe.epochs * LONG_S / left_s))
    return f"{text}; fewer take less: --epochs {fewer}" if fewer < recipe.epochs else text
