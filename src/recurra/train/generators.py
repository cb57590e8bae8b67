"""Every random generator a run may draw from, as tensors and plain numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_generators(seed: int) -> None:
    """Seed PyTorch's generators, NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def generator_states(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of PyTorch's generators, and those of NumPy's and Python's.

    >>> tensors, plain = generator_states(torch.device("cpu"))
    >>> sorted(tensors), sorted(plain)
    (['numpy', 'torch'], ['numpy', 'python'])
    """
    name, keys, place, spare, value = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    version, numbers, gauss = random.getstate()
    return tensors, {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), int(place), int(spare), float(value)],
    }


def set_generators(
    tensors: Mapping[str, Tensor], plain: Mapping[str, Any], device: torch.device
) -> None:
    """Put back what `generator_states` gave."""
    torch.set_rng_state(tensors["torch"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, place, spare, value = plain["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), place, spare, value))
