"""A network ready to stream: its weights packed once, shared by all of its sessions."""

from __future__ import annotations

from functools import cached_property
from os import PathLike

from recurra.display import card
from recurra.network import Network
from recurra.network.description import network_tables, network_text
from recurra.network.file import checksum, read
from recurra.network.record import Writer
from recurra.runtime.packing import pack
from recurra.runtime.session import Session


class Model:
    """A network with its weights packed for this machine. It never changes; sessions in several
    threads share it.

    Args:
        network: what to run.

    Raises:
        MissingDependency: the native module is not there.
        ProgramError: a cell's program is larger than the native module takes.

    >>> import numpy as np
    >>> from recurra.network import Linear, Matrix
    >>> model = Model(Network((Linear(Matrix(np.float32([[1, 2]]))),)))
    >>> model.session(batch=1).push(np.ones((1, 2), np.float32))
    array([[3.]], dtype=float32)
    """

    def __init__(self, network: Network) -> None:
        self.network, self.native = network, pack(network)

    def __repr__(self) -> str:
        return f"Model({network_text(self.network)})"

    def _repr_html_(self) -> str:
        return card("Model", network_tables(self.network))

    def session(self, batch: int = 1, nan: str = "error") -> Session:
        """Open a stream.

        Args:
            batch: B, how many rows side by side.
            nan: what a row with a NaN or an infinity does: "error" names it, and nothing has
                happened; "pass" lets it in; "reset" gives NaN for that step and begins the row anew
                with the next.

        Raises:
            ArgumentError: `batch` or `nan` is outside its range.
        """
        return Session(self.network, self.native, lambda: self.fingerprint, batch, nan)

    def __reduce__(self) -> tuple[type[Model], tuple[Network]]:
        """A copy, in another process too, packs the network's weights for itself."""
        return Model, (self.network,)

    @cached_property
    def fingerprint(self) -> int:
        """Of layers and weights: a state is loaded only into the model that made it."""
        writer = Writer()
        layers = [
            writer.layer(layer, str(number)) for number, layer in enumerate(self.network.layers)
        ]
        return checksum({"layers": layers}, writer.tensors)


def load(path: str | PathLike[str]) -> Model:
    """Read a model from a `.rcr` file. Nothing in the file is executed.

    Args:
        path: the file, from `recurra export` or `recurra.export.to_rcr`.

    Raises:
        DataError: the file is missing, cut short, changed, of a newer form, or not a model.
        MissingDependency: the native module is not there.
    """
    return Model(read(path))
