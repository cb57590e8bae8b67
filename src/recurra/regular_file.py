"""Regular files, read up to a size: a pipe or a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from os import PathLike


def check_regular(path: str | PathLike[str]) -> int:
    """Look at a file before it is opened, which a pipe would keep waiting.

    Args:
        path: links are followed.

    Returns:
        Its size in bytes.

    Raises:
        OSError: nothing is there, or no regular file; says which.

    >>> check_regular(os.devnull)
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] not a regular file
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return found.st_size


def read_regular(path: str | PathLike[str], most: int) -> bytes:
    """Read a whole file.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: nothing is there, or no regular file, or one that is larger.
    """
    size = check_regular(path)
    if size > most:
        raise OSError(errno.EFBIG, f"{size:,} bytes, more than the {most:,} that are read")
    with open(path, "rb") as file:
        return file.read(most + 1)
