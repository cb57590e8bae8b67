"""What is between features and a loss: cross entropy over all words, or over clusters of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.check import check_number, is_whole
from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.models.embedding import check_kind, check_range, extremes

IGNORED = -100
"""A target that is not counted in the loss, as in torch.nn.functional.cross_entropy."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of logits (T, B, V) against tokens (T, B), in nats; zero where no token
    counts.

    Raises:
        ShapeError, DtypeError, DataError: `y` is not of that shape, type or range.

    >>> cross_entropy(torch.zeros(1, 2, 4), torch.tensor([[3, -100]]))
    tensor(1.3863)
    """
    mask = counted(y, logits.shape[:-1], logits.shape[-1])
    flat, targets = logits.flatten(0, -2), y.flatten().long()
    if mask is None:
        return F.cross_entropy(flat, targets)
    return F.cross_entropy(flat, targets, ignore_index=IGNORED, reduction="sum") / mask.sum().clamp(
        min=1
    )


def counted(y: Tensor, shape: torch.Size, vocab_size: int) -> Tensor | None:
    """Which targets count, after looking at them; None where all do, which is found without a copy.

    Args:
        y: (T, B), tokens, or -100 where nothing is to count.
        shape: (T, B), as they must be.
        vocab_size: V.

    Raises:
        ShapeError, DtypeError, DataError: `y` is not of that shape, type or range.

    >>> counted(torch.tensor([[3, -100]]), torch.Size([1, 2]), 4)
    tensor([[ True, False]])
    """
    check_kind("y", y)
    if y.shape != shape:
        raise ShapeError(
            f"y must have shape {shape_text(shape)}, as the logits, got {shape_text(y.shape)}"
        )
    if torch.compiler.is_compiling():
        return y != IGNORED
    ends = extremes(y)
    if ends[0] >= 0 and y.numel():
        check_range("y", ends, vocab_size)
        return None
    mask = y != IGNORED
    check_range("y", extremes(y[mask]), vocab_size)
    return mask


def adaptive_softmax(
    width: int, vocab_size: int, cutoffs: Any, div_value: float = 4.0
) -> nn.AdaptiveLogSoftmaxWithLoss:
    """A softmax over clusters of words: the frequent ones at once, rarer ones by their cluster, in
    narrower vectors.

        p(w) = p_head(w)                            w < cutoffs[0]
        p(w) = p_head(cluster i) p_i(w)     in cluster i = 1, 2, ...; vectors of width / div_value^i

    Args:
        width: of the features.
        vocab_size: V; words must be numbered by frequency, the most frequent 0.
        cutoffs: the first word of each cluster after the head, increasing.
        div_value: how much narrower each cluster is than the one before.

    Raises:
        ArgumentError: the cutoffs do not increase within 1..V-1, or a cluster has no width left.

    Source: Grave et al. (2017), arXiv:1609.04309; torch.nn.AdaptiveLogSoftmaxWithLoss, with a bias
        in the head, as the softmax over all words has one.

    >>> [part[0].out_features for part in adaptive_softmax(32, 100, (10, 30)).tail]
    [8, 2]
    """
    div_value = check_number("div_value", div_value, 1)
    if (
        not (isinstance(cutoffs, Sequence) and all(map(is_whole, cutoffs)))
        or list(cutoffs) != sorted(set(cutoffs))
        or not 0 < cutoffs[0] <= cutoffs[-1] < vocab_size
    ):
        raise ArgumentError(
            f"adaptive must be increasing whole numbers in 1..{vocab_size - 1}, got {cutoffs!r}"
        )
    if width < div_value ** len(cutoffs):
        text = (
            f"adaptive must leave the last of its clusters a width, got {width} /"
            f" {div_value:g}^{len(cutoffs)}"
        )
        raise ArgumentError(f"{text}; use fewer cutoffs, or a smaller div_value")
    return nn.AdaptiveLogSoftmaxWithLoss(
        width, vocab_size, list(cutoffs), div_value, head_bias=True
    )


def log_chances(softmax: nn.AdaptiveLogSoftmaxWithLoss, h: Tensor) -> Tensor:
    """Log-probabilities (..., V) of features (..., H): as many numbers as logits, and as good."""
    with torch.autocast(h.device.type, enabled=False):
        flat: Tensor = softmax.log_prob(h.reshape(-1, h.shape[-1]).to(softmax.head.weight.dtype))
    return flat.view(*h.shape[:-1], softmax.n_classes)


def adaptive_cost(softmax: nn.AdaptiveLogSoftmaxWithLoss, h: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of features (T, B, H) against tokens (T, B), in nats; zero where no token
    counts.

    Only the clusters that hold a target are computed, and only for the steps whose target they
    hold. Products are in the dtype of the weights, under autocast too, where PyTorch's module would
    mix two.

    Raises:
        ShapeError, DtypeError, DataError: `y` is not of that shape, type or range.
    """
    mask = counted(y, h.shape[:-1], softmax.n_classes)
    rows, targets = (h.flatten(0, -2), y.flatten()) if mask is None else (h[mask], y[mask])
    with torch.autocast(h.device.type, enabled=False):
        chosen = softmax(rows.to(softmax.head.weight.dtype), targets.long()).output
    return -chosen.sum() / max(len(targets), 1)
