"""Answers for people and for machines."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from typing import Any

from recurra.strict_json import dumps

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but for a tab and a line break, marks that turn the direction of writing, halves of characters."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the --json flag."""
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")


def answer(args: argparse.Namespace, record: Mapping[str, Any], text: str) -> None:
    """Print a result: `record` as JSON if asked for, else `text`."""
    print(dumps(record) if args.json else printable(text))


def printable(text: str) -> str:
    r"""Text that moves no cursor, sets no colour, turns no direction and hides nothing: what a terminal would obey is spelt out.

    >>> printable("a\x1b[2Jb\x9bc\u202ed"), printable("\u00e9\n")
    ('a\\x1b[2Jb\\x9bc\\u202ed', 'é\n')
    """
    return OBEYED.sub(lambda found: repr(found[0])[1:-1], text)


def write_text(text: str) -> None:
    """Write a model's own text to standard output: as it is, but for what a terminal would obey, and for halves of characters."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text.encode("utf-8", "replace").decode())
