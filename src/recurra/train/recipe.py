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
    "seed": (lambda v: _whole(v) and 0 <= v < 2**64, "a whole number in 0..2**64 - 1"),
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
            f"{name} must be {need}, got {getattr(self, name)!r}" for name, (fits, need) in _RULES.items() if not fits(getattr(self, name))
        ]
        if _whole(self.stride) and _whole(self.window) and self.stride > self.window >= 1:  # type: ignore[operator]
            wrong.append(f"stride must be at most window = {self.window}, got {self.stride}; a longer one would skip steps")
        if wrong:
            raise ArgumentError("\n".join(wrong))

    def record(self) -> dict[str, Any]:
        """The fields as a TOML table holds them: "none" for None, left out where None is the default.

        >>> Recipe(clip_norm=None).record()["clip_norm"], "stride" in Recipe().record()
        ('none', False)
        """
        plain = {field.name for field in fields(self) if field.default is None}
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: "none" if value is None else value for name, value in given.items() if value is not None or name not in plain}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Recipe:
        """Make a recipe of a record such as a TOML table, where "none" stands for None.

        Raises:
            ArgumentError: keys are unknown, with the nearest known ones, or values outside their ranges; lists them all.
        """
        known = [field.name for field in fields(cls)]
        wrong = []
        for key in record:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                wrong.append(f"{key} must be a field of Recipe, got an unknown one" + (f"; did you mean {near[0]!r}?" if near else ""))
        try:
            values: dict[str, Any] = {key: None if value == "none" else value for key, value in record.items() if key in known}
            recipe = cls(**values)
        except ArgumentError as error:
            wrong.append(str(error))
        if wrong:
            raise ArgumentError("\n".join(wrong))
        return recipe


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
