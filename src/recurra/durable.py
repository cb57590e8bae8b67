"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_durably(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, wait until the disk has it, and put it there.

    Args:
        path: where; an older file there stays until the new one is complete.
        write: writes the file it is given.

    Raises:
        OSError, and what `write` raises: nothing was changed, and nothing is left beside.
    """
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of files; where a folder cannot be asked, go on."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
