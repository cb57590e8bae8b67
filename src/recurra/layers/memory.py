"""Whether weights can be held at all: said before the machine begins to give way."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from recurra.errors import ArgumentError, quoted


def check_memory(
    name: str, value: Any, shapes: Iterable[Sequence[int]], device: Any = None, dtype: Any = None
) -> None:
    """Raise unless weights fit into the memory of this machine.

    Args:
        name, value: the argument that asks for them.
        shapes: of the weights.
        device, dtype: where and as what they are held; the defaults if None. Only the processor's
            memory is looked at.

    Raises:
        ArgumentError: they do not fit.

    >>> check_memory("hidden_size", 10**9, [(4 * 10**9, 10**9)])
    Traceback (most recent call last):
    ...
    recurra.errors.ArgumentError: hidden_size must make weights that fit into memory, got
        1000000000, for 16,000,000,000 GB; take less
    """
    if torch.zeros(0, device=device).device.type != "cpu":
        return
    size = sum(math.prod(shape) for shape in shapes) * (dtype or torch.get_default_dtype()).itemsize
    if size > _physical():
        raise ArgumentError(
            f"{name} must make weights that fit into memory, got {quoted(value)}, for"
            f" {size // 10**9:,} GB; take less"
        )


def _physical() -> int:
    """Bytes of memory; where the system does not tell, as many as can be addressed."""
    if not hasattr(os, "sysconf"):
        return 1 << 47
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
