"""What a RUN on the command line is: a `.rcr` file, which needs no PyTorch, or a run's folder or model's file, which does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recurra.network import Network

SUFFIX = ".rcr"


def is_network(path: str) -> bool:
    """Whether a path names a file of the runtime.

    >>> is_network("a/model.rcr"), is_network("runs/a")
    (True, False)
    """
    return Path(path).suffix == SUFFIX


def open_network(path: str) -> Network:
    """The network of a `.rcr` file, or of a run.

    Raises:
        DataError, RunError: there is none.
        ConversionError: the run's model cannot stream.
    """
    if is_network(path):
        from recurra.network.file import read

        return read(path)
    from recurra import train
    from recurra.export import network_of

    return network_of(train.open_run(path))
