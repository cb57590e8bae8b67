"""What an exported graph takes and gives: its states' names, what they begin with, and the record
of it that goes along.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.check import check_whole
from recurra.errors import ConversionError
from recurra.network import Network

Array = npt.NDArray[Any]
KINDS = ("step", "sequence")
"""Of graphs: one step, or any number of them."""


def initial_states(network: Network, batch: int = 1) -> dict[str, Array]:
    """The state that each row of a batch begins with, by the names of a graph's inputs: zeros, or
    what was learned.

    Args:
        network: the network.
        batch: rows, at least 1.

    Raises:
        ArgumentError: `batch` is less.

    >>> from recurra.network import Conv, Matrix
    >>> initial_states(
    ...     Network((Conv(Matrix(np.ones((1, 6), np.float32)), None, width=2, kernel=3),))
    ... )
    {'state_0_past': array([[0., 0., 0., 0.]], dtype=float32)}
    """
    batch = check_whole("batch", batch)
    names = state_names(network)
    return {
        names[spec.name]: np.tile(spec.first.astype(np.float32), (batch, 1))
        for spec in network.states
    }


def state_names(network: Network) -> dict[str, str]:
    """A graph's input for each state of a network; the output's name ends in _out besides.

    Raises:
        ConversionError: two would be the same.
    """
    found: dict[str, str] = {}
    for spec in network.states:
        name = "state_" + re.sub(r"\W", "_", spec.name, flags=re.ASCII)
        if name in found.values():
            raise ConversionError(
                f"states must have names that differ in letters and digits, got {spec.name!r} and"
                f" another {name}"
            )
        found[spec.name] = name
    return found


def record(network: Network, kind: str, **more: Any) -> dict[str, Any]:
    """What a graph's metadata say of its network."""
    names = state_names(network)
    states = [
        {
            "name": name,
            "input": names[name],
            "output": f"{names[name]}_out",
            "width": width,
            "first": first.tolist(),
        }
        for name, width, first in network.states
    ]
    return {
        **more,
        "kind": kind,
        "reads_tokens": network.reads_tokens,
        "input_size": network.input_size,
        "output_size": network.output_size,
        "precision": network.precision,
        "states": states,
        "vocabulary": network.vocabulary,
        "facts": dict(network.facts),
    }
