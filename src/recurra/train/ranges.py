"""What each field of a recipe may hold, and which fields contradict one another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from recurra.check import is_number, is_whole

MOST_WHOLE = 1 << 64
CHOICES = {
    "optimizer": ("adam", "adamw", "sgd", "asgd"),
    "schedule": ("constant", "cosine", "one_cycle", "decay", "plateau"),
    "precision": ("float32", "bfloat16"),
    "device": ("auto", "cpu"),
}


def whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number, and neither too small nor beyond all counting.

    >>> whole(3), whole(True), whole(0), whole(0, 0), whole(10**400)
    (True, False, False, True, False)
    """
    return is_whole(value) and least <= value < MOST_WHOLE


def number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return is_number(value) and abs(value) <= sys.float_info.max


def _choice(name: str) -> tuple[Callable[[Any], bool], str]:
    return lambda v: v in CHOICES[name], f"one of {', '.join(map(repr, CHOICES[name]))}"


def _share(value: Any) -> bool:
    return number(value) and 0 <= value < 1


RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (whole, "a positive whole number of passes"),
    "window": (whole, "a positive whole number of steps"),
    "stride": (
        lambda v: v is None or whole(v),
        "a positive whole number of steps, or None for the window's",
    ),
    "vary_window": (lambda v: isinstance(v, bool), "True or False"),
    "batch": (whole, "a positive whole number of rows"),
    "accumulate": (whole, "a positive whole number of parts"),
    "optimizer": _choice("optimizer"),
    "lr": (lambda v: number(v) and v > 0, "positive"),
    "betas": (
        lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(_share, v)),
        "two numbers in [0, 1)",
    ),
    "momentum": (_share, "in [0, 1)"),
    "weight_decay": (lambda v: number(v) and v >= 0, "0 or positive"),
    "average_after": (whole, "a positive whole number of validations"),
    "schedule": _choice("schedule"),
    "warmup": (lambda v: whole(v, 0), "a whole number of updates, 0 or more"),
    "decay": (lambda v: number(v) and 0 < v < 1, "in (0, 1)"),
    "decay_after": (
        whole,
        "a positive whole number, of passes for 'decay', of validations for 'plateau'",
    ),
    "clip_norm": (
        lambda v: v is None or (number(v) and v > 0),
        "positive, or None to switch clipping off",
    ),
    "clip_value": (
        lambda v: v is None or (number(v) and v > 0),
        "positive, or None to switch clipping off",
    ),
    "activation_penalty": (lambda v: number(v) and v >= 0, "0 or positive"),
    "temporal_penalty": (lambda v: number(v) and v >= 0, "0 or positive"),
    "precision": _choice("precision"),
    "validate_every": (
        lambda v: v is None or whole(v),
        "a positive whole number of updates, or None for once a pass",
    ),
    "stop_after": (
        lambda v: v is None or whole(v),
        "a positive whole number of validations, or None to go on to the end",
    ),
    "checkpoint_s": (lambda v: number(v) and v >= 0, "a number of seconds, 0 or more"),
    "device": _choice("device"),
    "seed": (lambda v: whole(v, 0), "a whole number in 0..2**64 - 1"),
}
"""By field: whether a value is in its range, and the range in words."""


OWNERS = {
    "betas": ("optimizer", ("adam", "adamw")),
    "momentum": ("optimizer", ("sgd", "asgd")),
    "average_after": ("optimizer", ("asgd",)),
    "decay": ("schedule", ("decay", "plateau")),
    "decay_after": ("schedule", ("decay", "plateau")),
}
"""Fields that only some optimisers or schedules read."""


def contradictions(
    values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[tuple[set[str], str]]:
    """Fields that do not go together, and a sentence on them.

    Args:
        values: a recipe's fields, each in its own range.
        defaults: what they are if left out.
    """
    get = values.__getitem__
    window, stride, batch, parts, norm, value = map(
        get, ("window", "stride", "batch", "accumulate", "clip_norm", "clip_value")
    )
    if stride is not None and stride > window:
        yield (
            {"window", "stride"},
            (
                f"stride must be at most window = {window}, got {stride}; a longer one would skip"
                " steps"
            ),
        )
    if stride is not None and get("vary_window"):
        yield (
            {"stride"},
            (
                f"stride must be None where the window varies, got {stride}; a chunk then begins"
                " where the last one ended"
            ),
        )
    if batch % parts:
        yield (
            {"batch", "accumulate"},
            f"batch must be a multiple of accumulate = {parts}, got {batch}",
        )
    if norm is not None and value is not None:
        yield (
            {"clip_norm", "clip_value"},
            (
                f"clip_value must be None while clip_norm = {norm} clips, got {value}; set one of"
                " them to None"
            ),
        )
    if get("warmup") and get("schedule") == "one_cycle":
        yield (
            {"warmup"},
            (
                "warmup must be 0 for schedule 'one_cycle', which begins with its own, got"
                f" {get('warmup')}"
            ),
        )
    for name, (owner, readers) in OWNERS.items():
        if get(name) != defaults[name] and get(owner) not in readers:
            text = (
                f"{name} must be left at {defaults[name]} for {owner} {get(owner)!r}, which does"
                f" not read it, got {get(name)}"
            )
            yield {name, owner}, text
