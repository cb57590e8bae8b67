"""What an argument must be: a whole number, a number in a range, a switch.

NumPy's whole numbers and floats of any width are taken like Python's, and come back as Python's;
True and False, NumPy's too, are switches and no numbers.
"""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import numpy as np

from recurra.errors import ArgumentError, quoted


def is_whole(value: object) -> bool:
    """Whether a value is a whole number.

    >>> is_whole(3), is_whole(np.int64(3)), is_whole(3.0), is_whole(True)
    (True, True, False, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))


def is_number(value: object) -> bool:
    """Whether a value is a number, be it whole or not, finite or not.

    >>> is_number(3), is_number(np.float32(0.5)), is_number("3"), is_number(True)
    (True, True, False, False)
    """
    return is_whole(value) or isinstance(value, (float, np.floating))


def plain(value: Any) -> Any:
    """A number of NumPy's as Python's own, which JSON can hold; anything else as it is.

    >>> plain(np.int64(3)), plain(np.float32(0.5)), plain("lstm")
    (3, 0.5, 'lstm')
    """
    if isinstance(value, np.floating):
        return float(value)
    return int(value) if is_whole(value) else value


def check_whole(
    name: str, value: Any, least: int = 1, most: int | None = None, advice: str = ""
) -> int:
    """The whole number that an argument is, as Python's own.

    Args:
        name: the argument's, for the message.
        value: what was given.
        least, most: both are taken; no upper end if None.
        advice: what to do instead.

    Raises:
        ArgumentError: it is no whole number, or outside the range.

    >>> check_whole("batch", np.int64(3))
    3
    >>> check_whole("batch", True, advice="use 1 for one row")
    Traceback (most recent call last):
    ...
    recurra.errors.ArgumentError: batch must be a positive whole number, got True; use 1 for one row
    """
    if is_whole(value) and least <= value and (most is None or value <= most):
        return int(value)
    above = "a positive whole number" if least == 1 else f"a whole number, {least} or more"
    need = above if most is None else f"a whole number in {least}..{most}"
    raise _error(name, need, value, advice)


def check_number(
    name: str, value: Any, least: float = 0, most: float = inf, ends: str = "[)", advice: str = ""
) -> float:
    """The finite number that an argument is, as a float.

    Args:
        name: the argument's, for the message.
        value: what was given.
        least, most: of the range.
        ends: "[" or "(", then "]" or ")": whether `least` and `most` themselves are taken.
        advice: what to do instead.

    Raises:
        ArgumentError: it is no number, not finite, or outside the range.

    >>> check_number("rate", np.float32(0.5), 0, 1)
    0.5
    >>> check_number("top_p", 0, 0, 1, "(]")
    Traceback (most recent call last):
    ...
    recurra.errors.ArgumentError: top_p must be a number in (0, 1], got 0
    """
    number = plain(value)
    finite = is_number(number) and abs(number) <= sys.float_info.max
    at_end = (number == least and ends[0] == "(") or (number == most and ends[1] == ")")
    if finite and least <= number <= most and not at_end:
        return float(number)
    above = f"a number above {least:g}" if least else "a positive number"
    above = above if ends[0] == "(" else f"a number, {least:g} or more"
    need = above if most == inf else f"a number in {ends[0]}{least:g}, {most:g}{ends[1]}"
    raise _error(name, need, value, advice)


def check_flag(name: str, value: Any) -> None:
    """Raise ArgumentError unless a switch is True or False: "no" would be true.

    >>> check_flag("reverse", "no")
    Traceback (most recent call last):
    ...
    recurra.errors.ArgumentError: reverse must be True or False, got 'no'
    """
    if not isinstance(value, bool):
        raise _error(name, "True or False", value)


def _error(name: str, need: str, value: Any, advice: str = "") -> ArgumentError:
    return ArgumentError(f"{name} must be {need}, got {quoted(value)}{advice and f'; {advice}'}")
