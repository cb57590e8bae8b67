"""Answers for people and for machines."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from recurra.errors import DataError, RunError
from recurra.strict_json import dumps
from recurra.wording import printable

MOST_NESTED = 8
"""Lists and records within one another that a table shows: a file may nest them without end."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the --json flag."""
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")


def answer(args: argparse.Namespace, record: Mapping[str, Any], text: str) -> None:
    """Print a result: `record` as JSON if asked for, else `text`, in which nothing steers the
    terminal.
    """
    try:
        print(dumps(record) if args.json else printable(text))
    except RecursionError:
        raise DataError(
            "record must be nested no deeper than Python follows, got one that is; leave --json out"
        ) from None


def write_text(text: str) -> None:
    """Write a model's own text to standard output: as it is, but for what a terminal would obey,
    and for halves of characters.
    """
    sys.stdout.write(
        printable(text) if sys.stdout.isatty() else text.encode("utf-8", "replace").decode()
    )


def table_text(record: Mapping[str, Any]) -> str:
    """Facts as a table, a line each: nested ones by a dotted name, lists with commas between,
    numbers with their thousands apart.

    >>> print(
    ...     table_text(
    ...         {
    ...             "cell": "lstm",
    ...             "native": {"tile": 1280, "isas": ["v2", "v3"]},
    ...             "tied": True,
    ...             "loss": 2.349593792,
    ...         }
    ...     )
    ... )
    cell         lstm
    native.tile  1,280
    native.isas  v2, v3
    tied         yes
    loss         2.34959
    """
    rows = list(_flat(record, "", 0))
    wide = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{wide}}  {value}" for name, value in rows)


def _flat(record: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        name = printable(f"{before}{key}", keep="")
        if isinstance(value, Mapping) and value and depth < MOST_NESTED:
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield name, printable(_fact(value, depth), keep="")


def _fact(value: Any, depth: int) -> str:
    if isinstance(value, (list, tuple, Mapping)) and value and depth >= MOST_NESTED:
        return "..."
    if isinstance(value, (list, tuple)):
        return ", ".join(_fact(each, depth + 1) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None or value == {} else str(value)


def check_output() -> None:
    """Raise where nothing can be said; without a standard error stream what goes there goes
    nowhere.

    Raises:
        RunError: standard output is closed.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise RunError(
            "standard output must be open, got a closed one; send it to a file, or to /dev/null"
        )
