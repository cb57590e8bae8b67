"""How docstrings become pages: a doctest is shown as a console, and a source as a line of its
own.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Fence doctests; turn a `Source:` section into one paragraph.

    >>> print(as_markdown("Add.\\n\\nSource: A (1990),\\n    page 2."))
    Add.
    <BLANKLINE>
    **Source:** A (1990), page 2.
    """
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n{2,}", text))


def _paragraph(part: str) -> str:
    if part.startswith(">>> "):
        return f"```pycon\n{part}\n```"
    if part.startswith("Source: "):
        return "**Source:** " + " ".join(
            line.strip() for line in part.removeprefix("Source: ").splitlines()
        )
    return part
