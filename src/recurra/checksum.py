"""One checksum for whatever is kept in a file: a text and tensors."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of a text and of every tensor's name, type, shape and bytes.

    >>> checksum("", {}) == checksum("", {"x": torch.zeros(0)})
    False
    """
    found = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, found)
    return found
