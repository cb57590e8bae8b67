"""What is read: one target for each reader of files, found by its name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "recurra"
CORPUS = HERE / "corpus"
MODULES = {
    "rcr": "rcr_files",
    "model": "model_files",
    "state": "state_files",
    "session": "session_files",
    "checkpoint": "checkpoint_files",
    "run": "run_files",
    "tokens": "token_files",
    "vocabulary": "vocabulary_files",
    "recipe": "recipe_files",
    "program": "program_files",
    "lines": "line_files",
    "cells": "cell_classes",
    "onnx": "onnx_files",
}
"""By target, its module. Each has `forge(draws) -> bytes`, `read(data, folder)`, which returns
where the file is accepted and raises a RecurraError where it is refused; READERS, the files of
src/recurra that it is to go through; and COUNT, how many files `make test` reads. Of a kind that is
not there yet the module is missing.
"""

LARGEST = 4 << 20
"""Bytes of a file that is made: what it may take is more than it holds, not less."""


class Target(NamedTuple):
    """A reader, and what makes files for it.

    Attributes:
        name: of it.
        forge: makes a file; the same for the same draws.
        read: reads it, in a folder of its own, and runs what was accepted.
        readers: the files of src/recurra whose lines it goes through.
        count: how many files a short run reads.
    """

    name: str
    forge: Callable[[Random], bytes]
    read: Callable[[bytes, Path], object]
    readers: tuple[str, ...] = ()
    count: int = 200

    def make(self, seed: int, number: int) -> bytes:
        """A file by its seed and number. Records may lie deeper within one another than Python
        follows when it reads them.
        """
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(20_000)
        try:
            return self.forge(Random(f"{self.name} {seed} {number}"))[:LARGEST]
        finally:
            sys.setrecursionlimit(before)

    def corpus(self) -> list[Path]:
        """Files that are kept since a reader went wrong on them once."""
        return sorted(path for path in (CORPUS / self.name).glob("*") if path.is_file())


def names() -> list[str]:
    """The targets that are there."""
    return [name for name, module in MODULES.items() if (HERE / f"{module}.py").exists()]


def find(name: str) -> Target:
    """A target by its name.

    Raises:
        KeyError: there is none.
    """
    module = importlib.import_module(f"tests.fuzz.{MODULES[name]}")
    return Target(
        name,
        module.forge,
        module.read,
        getattr(module, "READERS", ()),
        getattr(module, "COUNT", 200),
    )
