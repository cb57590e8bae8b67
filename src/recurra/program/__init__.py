"""Programs: a cell's equations and their derivative as a short list of operations.

What a program is, and its JSON, are read without PyTorch; tracing a cell and evaluating one need
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.errors import import_for
from recurra.program.graph import ALPHABET, Body, Derivative, Node, Product, Program
from recurra.program.serial import from_json, to_json

if TYPE_CHECKING:
    from recurra.program.evaluate import evaluate
    from recurra.program.show import show
    from recurra.program.trace import trace

__all__ = [
    "ALPHABET",
    "Body",
    "Derivative",
    "Node",
    "Product",
    "Program",
    "evaluate",
    "from_json",
    "show",
    "to_json",
    "trace",
]

_FUNCTIONS = ("evaluate", "show", "trace")


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        for each in _FUNCTIONS:
            globals()[each] = getattr(
                import_for(f"recurra.program.{name}", f"recurra.program.{each}"), each
            )
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
