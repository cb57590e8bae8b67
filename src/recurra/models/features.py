"""What a language model's layers say, and the price of saying it loudly."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """What a model's layers make of tokens.

    Attributes:
        dropped: (T, B, H), the last layer's output after its dropout: what the softmax reads.
        raw: (T, B, H), before it.
        state: to be carried.
    """

    dropped: Tensor
    raw: Tensor
    state: Any


def penalty(
    features: Features, activation: float = 0.0, temporal: float = 0.0, resets: Tensor | None = None
) -> Tensor:
    """What is added to the loss for large features, and for features that change fast.

        activation * mean(dropped_t^2) + temporal * mean((raw_t - raw_(t-1))^2)

    Args:
        features: of a chunk.
        activation: alpha.
        temporal: beta.
        resets: (T, B) bool; a step that begins a new segment counts as no change: the mean of some
            rows' penalties is that of all, however many resets each has.

    Returns:
        (), in the dtype of the features, at least float32.

    Source: Merity et al. (2017), arXiv:1708.01009, with means over units as their program has them
        (alpha = 2, beta = 1 in arXiv:1708.02182): activation on what was dropped, temporal
        activation on what was not.

    >>> h = torch.tensor([1.0, 3.0])[:, None, None]
    >>> penalty(Features(h, h, None), activation=2.0), penalty(Features(h, h, None), temporal=1.0)
    (tensor(10.), tensor(4.))
    """
    total = _wide(features.raw).new_zeros(())
    if activation:
        total = total + activation * _wide(features.dropped).square().mean()
    if temporal:
        raw = _wide(features.raw)
        changes = (raw[1:] - raw[:-1]).square()
        if resets is not None:
            changes = changes * ~resets[1:, :, None]
        total = total + temporal * (changes.mean() if changes.numel() else changes.sum())
    return total


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
