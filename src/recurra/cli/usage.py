"""Wrong usage: what was wrong and what may have been meant, under the usage of the command that was
called. Status 2.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from recurra.errors import ArgumentError, choice_text
from recurra.wording import count_text, printable

KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """A parser, of the program or of a command, that says what a mistyped word may have meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does; but a command refuses itself what it does not know, so that its own
        usage is shown.
        """
        words = list(args or ())
        for word in words[: self._end(words)]:
            if self._is_unknown(word):
                self.error(f"unknown option {word.partition('=')[0]}{self._near(word)}")
        found, left = super().parse_known_args(words, namespace)
        if left:
            self.error(f"{count_text(len(left), 'argument')} too many: {' '.join(map(repr, left))}")
        return found, left

    def _end(self, words: list[str]) -> int:
        """Where what this parser is to judge ends: at --, and for the program at the command."""
        ends = [
            place
            for place, word in enumerate(words)
            if word == "--" or (self._subparsers and not word.startswith("-"))
        ]
        return min(ends, default=len(words))

    def _is_unknown(self, word: str) -> bool:
        """Whether a word is an option, written so that it cannot be a value, and no option here
        begins like it.
        """
        if not re.match("--|-[a-zA-Z]", word) or " " in word:
            return False
        return not any(
            option.startswith(word.partition("=")[0]) for option in self._option_string_actions
        )

    def _near(self, word: str) -> str:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        near = difflib.get_close_matches(word.partition("=")[0], options, n=1)
        return (
            f"; did you mean {near[0]}?" if near else f"; {self.prog} --help lists those there are"
        )

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[-1] if action.option_strings else action.dest
            raise argparse.ArgumentError(None, choice_text(name, value, map(str, action.choices)))

    def error(self, message: str) -> NoReturn:
        """Say what was wrong, and exit with 2."""
        self.say_wrong(message)
        self.exit(2)

    def say_wrong(self, message: str) -> None:
        """Print the usage and each line of a message, to the standard error stream."""
        message = re.sub(
            r"^argument (.+): invalid (int|float) value: ",
            lambda found: f"{found[1]} must be {KINDS[found[2]]}, got ",
            message,
        )
        self.print_usage(sys.stderr)
        for line in message.splitlines():
            print(f"{self.prog}: error: {printable(line)}", file=sys.stderr)


def concerns_options(error: ArgumentError, words: Sequence[str]) -> bool:
    """Whether an error is about a value that an option was given: its message begins with the
    option's name.

    >>> concerns_options(
    ...     ArgumentError("top_k must be positive, got 0"), ["sample", "runs/a", "--top-k", "0"]
    ... )
    True
    """
    options = tuple(
        word.partition("=")[0].lstrip("-").replace("-", "_")
        for word in words
        if word.startswith("--")
    )
    subjects = [
        line.split()[0].lstrip("-").replace("-", "_")
        for line in str(error).splitlines()
        if line.strip()
    ]
    return any(option and subject.startswith(option) for subject in subjects for option in options)
