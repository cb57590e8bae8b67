"""Flags of the command line read off a recipe's and a model's own options: said once, there."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any


class HelpAll(argparse.Action):
    """--help-all: every option, those that --help leaves out too."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(
            option_strings,
            dest=argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            nargs=0,
            help="every option, then exit",
        )

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        for action in parser._actions:
            action.help = getattr(action, "whole_help", action.help)
        parser.print_help()
        parser.exit()


def add_fields(parser: Any, owner: Any, main: Mapping[str, str], skip: Sequence[str] = ()) -> None:
    """Add a flag for each argument of a class; one that is not given stays None, so that a file's
    value holds.

    Args:
        parser: a parser, or a group of one.
        owner: the class; its docstring says what each argument is.
        main: those that the short help shows, with what it says of them.
        skip: those that get no flag.
    """
    said = described(inspect.getdoc(owner) or "")
    for name, parameter in inspect.signature(owner).parameters.items():
        if name in skip:
            continue
        default = parameter.default
        text = main.get(name) or said.get(name, "")
        whole = (
            f"{text} (default: {_plain(default)})"
            if default is not inspect.Parameter.empty
            else text
        )
        action = parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=None,
            type=read,
            metavar=name.upper().split("_")[-1],
            help=whole.replace("%", "%%") if name in main else argparse.SUPPRESS,
        )
        action.whole_help = whole.replace("%", "%%")


def described(doc: str) -> dict[str, str]:
    """What a docstring says of each argument, on one line each.

    >>> described(
    ...     "A thing.\\n\\nArgs:\\n    size: how big;\\n        in steps.\\n    a, b: two."
    ... )
    {'size': 'how big; in steps.', 'a': 'two.', 'b': 'two.'}
    """
    found: dict[str, str] = {}
    names: list[str] = []
    for line in doc.splitlines():
        head = re.match(r"    (\w[\w, ]*): (.*)", line)
        if head:
            names = [name.strip() for name in head[1].split(",")]
            found |= dict.fromkeys(names, head[2].strip())
        elif names and line.startswith("        ") and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            names = []
    return found


def given(args: argparse.Namespace, owner: Any, skip: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments of a class that were given as flags."""
    names = [name for name in inspect.signature(owner).parameters if name not in skip]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def read(text: str) -> Any:
    """A flag's text as TOML would hold it: a number, true or false, a list with commas between, or
    a word.

    >>> read("3"), read("1e-3"), read("1150,1150,400"), read("cosine"), read("none")
    (3, 0.001, [1150, 1150, 400], 'cosine', 'none')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "," in text:
        return [read(part) for part in text.split(",") if part]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _plain(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if value is None or isinstance(value, bool)
        else str(value)
    )
