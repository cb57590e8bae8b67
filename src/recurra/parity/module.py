"""The contract, before the exports: a user's own module against the network that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from recurra.export.from_torch import layers_of
from recurra.export.torch_check import outputs
from recurra.layers import SequenceModule
from recurra.network import Network
from recurra.parity.exports import largest, reference
from recurra.parity.paths import Row, verify

Array = npt.NDArray[Any]


def verify_module(
    module: nn.Module,
    x: Array,
    output: int | str | None = None,
    tell: Callable[[str], object] = str,
) -> list[Row]:
    """Run a module as it is and compare it with the float64 loop on its network; the bound is that
    of `verify_exports`.

    A module of recurra's layers is run along every path of `verify` too.

    Args:
        module: what `recurra.export.network_of` takes, left as it is.
        x: features (T, B, I) or tokens (T, B); the module is given them in the order of axes that
            it takes.
        output: which of its outputs, as for `network_of`.
        tell: called with the name of each path before it is run.

    Returns:
        A row for each path.

    Raises:
        ConversionError: no network can be made of it, or it does not run.

    >>> gru, x = (
    ...     nn.GRU(3, 4, batch_first=True, dtype=torch.float32),
    ...     torch.ones(5, 2, 3, dtype=torch.float32).numpy(),
    ... )
    >>> [row.path for row in verify_module(gru, x) if row.holds]
    ['module, (B, T, C)']
    """
    layers, signature = layers_of(module, output=output)
    network, given, order = Network(layers), torch.from_numpy(x), signature.taken
    dtype = next(
        (each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32
    )
    cast = given.to(dtype) if given.is_floating_point() else given
    rows = verify(module, cast, tell) if isinstance(module, SequenceModule) else []
    taken = order if "T" in order else f"T{order}"
    theirs = outputs(
        module, given.permute(["TBC".index(axis) for axis in taken]), signature
    ).numpy()
    exact, bound = reference(network, x)
    path = f"module, ({', '.join(order)}){'' if 'T' in order else ', steps'}"
    return [*rows, Row(path, largest(theirs, exact), bound, len(theirs))]
