"""Answers for people and for machines."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from recurra.strict_json import dumps


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the --json flag."""
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")


def answer(args: argparse.Namespace, record: Mapping[str, Any], text: str) -> None:
    """Print a result: `record` as JSON if asked for, else `text`."""
    print(dumps(record) if args.json else text)
