"""What is held in memory: for a backward pass, and by the process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def held_for_backward(
    module: nn.Module, x: Tensor, call: Callable[[Tensor], tuple[Tensor, Any]]
) -> dict[str, float]:
    """What a forward pass holds for its backward, counted as distinct storages in floats of 4
    bytes.

    Args:
        module: whose weights are told apart.
        x: (T, B, I), told apart.
        call: x to the output, which is told apart, and the rest.

    Returns:
        "held", and apart from it "output", "input" and "weights"; each 0 where it is not held.

    >>> layer = nn.Linear(3, 4)
    >>> held_for_backward(layer, torch.zeros(5, 2, 3), lambda x: (layer(x).sigmoid(), None))
    {'held': 0.0, 'output': 40.0, 'input': 30.0, 'weights': 12.0}
    """
    seen: list[Tensor] = []  # kept alive, so that no address is used twice
    x = x.clone().requires_grad_()

    def keep(value: Tensor) -> Tensor:
        seen.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        done = call(x)
    apart = {_address(done[0]): "output", _address(x): "input"} | {
        _address(p): "weights" for p in module.parameters()
    }
    counted = dict.fromkeys(("held", "output", "input", "weights"), 0.0)
    for address, size in {_address(value): _bytes(value) for value in seen}.items():
        counted[apart.get(address, "held")] += size / 4
    return counted


def resident_mib() -> float | None:
    """The memory of this process in MiB; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return None


def _address(value: Tensor) -> int:
    return value.untyped_storage().data_ptr() if value.layout == torch.strided else id(value)


def _bytes(value: Tensor) -> int:
    return (
        value.untyped_storage().nbytes()
        if value.layout == torch.strided
        else value.numel() * value.element_size()
    )
