"""Words of messages: counts with their noun, sizes, and text that comes from a file made safe for a
terminal.
"""

from __future__ import annotations

import unicodedata

IRREGULAR = {
    "process": "processes",
    "pass": "passes",
    "loss": "losses",
    "class": "classes",
    "batch": "batches",
    "entry": "entries",
}
JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji are written with, and that move nothing on a screen."""


def count_text(count: int, noun: str) -> str:
    """A count with its noun, in the plural unless it is one.

    >>> count_text(1, "row"), count_text(0, "pass"), count_text(12345, "time step")
    ('1 row', '0 passes', '12,345 time steps')
    """
    *before, last = noun.split()
    return (
        f"{count:,} {' '.join([*before, last if count == 1 else IRREGULAR.get(last, f'{last}s')])}"
    )


def size_text(size: int) -> str:
    """Bytes as a person reads them.

    >>> size_text(1), size_text(5120), size_text(2_500_000)
    ('1 byte', '5.12 kB', '2.5 MB')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return count_text(size, "byte")


def time_text(seconds: float) -> str:
    """A duration as a person says it.

    >>> [time_text(seconds) for seconds in (0.4, 59, 100, 5000, 30_000, 400_000)]
    ['1 s', '59 s', '2 min', '1 h 23 min', '8 h', '4.6 days']
    """
    minutes = round(seconds / 60)
    if minutes < 1 or seconds < 60:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 6 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"


def printable(text: str, keep: str = "\n\t") -> str:
    r"""A text without what would steer a terminal or turn the reading direction: such characters
    are written as escapes.

    Args:
        text: whatever a file holds.
        keep: control characters that are left as they are.

    >>> printable("caf\u00e9 \x1b[2J \u202e")
    'café \\x1b[2J \\u202e'
    """
    return "".join(
        repr(letter)[1:-1] if _steers(letter) and letter not in keep else letter for letter in text
    )


def _steers(letter: str) -> bool:
    return (
        not letter.isprintable()
        and letter not in JOINERS
        and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
