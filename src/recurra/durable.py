"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_durably(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, wait until the disk has it, and put it there.

    Args:
        path: where, links followed; an older file there stays until the new one is complete.
        write: writes the file it is given.

    Raises:
        OSError, and what `write` raises: nothing was changed, and nothing is left beside.
    """
    path = Path(os.path.realpath(path))
    check_place(path)
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
        beside.chmod(0o666 & ~_mask())
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raise where no file can be put.

    Raises:
        OSError: a folder, a device or a pipe is there; or the folder is missing, or takes no file.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _mask() -> int:
    """The bits that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's list of files; where a folder cannot be asked,
    go on.
    """
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
