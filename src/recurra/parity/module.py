"""The contract, before the exports: a user's own module against the network that was made of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from recurra.layers import SequenceModule
from recurra.network import Network
from recurra.parity.exports import largest, reference
from recurra.parity.paths import Row, verify

Array = npt.NDArray[Any]


def verify_module(module: nn.Module, network: Network, x: Array) -> list[Row]:
    """Run a module as it is, over whole sequences, and compare it with the float64 loop on its network; the bound is that of exports.

    A module of recurra's layers is run along every path of `verify` too.

    Args:
        module: of torch.nn or recurra; it is run as at evaluation and left as it is.
        network: what `recurra.export.network_of` made of it.
        x: features (T, B, I) or tokens (T, B); the module may read (B, T, ...), whichever comes nearer is what it reads.

    Returns:
        A row for each path; one that is not run says why.

    >>> from recurra.export import network_of
    >>> gru, x = nn.GRU(3, 4, dtype=torch.float32), torch.ones(5, 2, 3, dtype=torch.float32).numpy()
    >>> [row.path for row in verify_module(gru, network_of(gru), x) if row.holds]
    ['module, (T, B, ...)']
    """
    given = torch.from_numpy(x)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    given = given.to(dtype) if given.is_floating_point() else given
    rows = verify(module, given) if isinstance(module, SequenceModule) else []
    exact, bound = reference(network, x)
    runs, why = [], "it gives no output of the network's shape"
    for path, first in (("module, (T, B, ...)", given), ("module, (B, T, ...)", given.transpose(0, 1))):
        try:
            y = _output(copy.deepcopy(module).eval(), first)
        except Exception as error:  # whatever a person's forward may raise
            why = f"its forward raises {type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
            continue
        y = y if first is given else y.transpose(0, 1)
        if y.shape == exact.shape:
            runs.append(Row(path, largest(y.double().numpy(), exact), bound, len(x)))
    return [*rows, min(runs, key=lambda row: row.difference) if runs else Row("module", 0.0, None, 0, why)]


def _output(module: nn.Module, x: Tensor) -> Tensor:
    """What a module gives for whole sequences, without a state beside it."""
    with torch.no_grad():
        for part in _parts(module):
            x = part(x)
            x = x[0] if isinstance(x, tuple) else x
    return x


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """A Sequential's modules one by one, since nn.LSTM gives its state along."""
    if type(module) is not nn.Sequential:
        yield module
        return
    for each in module:
        yield from _parts(each)
