"""Callbacks for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Chunks:
    """Gives each training row to a function."""

    def __init__(self, look: Callable[[dict[str, Any]], Any]) -> None:
        self.look = look

    def on_chunk(self, course: Any, row: dict[str, Any], chunk: Any) -> None:
        self.look(row)
