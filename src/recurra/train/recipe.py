"""How to train: one frozen record, every field with its unit and range."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from recurra.errors import ArgumentError

SCHEDULES = ("constant", "cosine")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda v: _whole(v) and v >= 1, "a positive whole number of passes"),
    "window": (lambda v: _whole(v) and v >= 1, "a positive whole number of steps"),
    "stride": (lambda v: v is None or (_whole(v) and v >= 1), "a positive whole number of steps, or None for the window's"),
    "batch": (lambda v: _whole(v) and v >= 1, "a positive whole number of rows"),
    "lr": (lambda v: _number(v) and v > 0, "positive"),
    "schedule": (lambda v: v in SCHEDULES, f"one of {', '.join(map(repr, SCHEDULES))}"),
    "clip_norm": (lambda v: v is None or (_number(v) and v > 0), "positive, or None to switch clipping off"),
    "seed": (lambda v: _whole(v) and v >= 0, "a whole number, 0 or more"),
}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the training part.
        window: steps that the gradient sees back at most (k2 of truncated BPTT).
        stride: steps from one chunk to the next (k1); None: the window's.
        batch: rows side by side.
        lr: Adam's learning rate at the start.
        schedule: "constant", or "cosine" to 0 over the whole run.
        clip_norm: gradients are scaled to at most this global norm; None: no clipping.
        seed: of the weights' draws made after it and of dropout.

    Raises:
        ArgumentError: fields are outside their ranges; the message lists them all.

    >>> Recipe(epochs=3, lr=3e-3).clip_norm
    1.0
    """

    epochs: int = 10
    window: int = 100
    stride: int | None = None
    batch: int = 64
    lr: float = 1e-3
    schedule: str = "constant"
    clip_norm: float | None = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be {need}, got {getattr(self, name)!r}"
            for name, (fits, need) in _RULES.items()
            if not fits(getattr(self, name))
        ]
        if not wrong and self.stride is not None and self.stride > self.window:
            wrong = [f"stride must be at most window = {self.window}, got {self.stride}; a longer one would skip steps"]
        if wrong:
            raise ArgumentError("\n".join(wrong))

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Recipe:
        """Make a recipe of a record such as a TOML table.

        Raises:
            ArgumentError: a key is unknown, with the nearest known one, or a value is outside its range.
        """
        known = [field.name for field in fields(cls)]
        unknown = []
        for key in record:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                unknown.append(f"{key} must be a field of Recipe, got an unknown one" + (f"; did you mean {near[0]!r}?" if near else ""))
        if unknown:
            raise ArgumentError("\n".join(unknown))
        return cls(**record)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
