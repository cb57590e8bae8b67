"""Tokens, looked at, and as vectors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.errors import DataError, DtypeError, ShapeError, shape_text


def embed(embedding: nn.Embedding, tokens: Tensor, rate: float = 0.0) -> Tensor:
    """The vectors of tokens, those of some words dropped wherever they stand.

    Dropping rows of the whole matrix is the same; only the words that are there are touched here.

    Args:
        embedding: of V words.
        tokens: (T, B).
        rate: the chance that a word is dropped, the same for each; what is left is scaled by 1 / (1
            - rate).

    Returns:
        (T, B, E).

    Source: Gal & Ghahramani (2016), arXiv:1512.05287; Merity et al. (2017), arXiv:1708.02182,
        embedding dropout.

    >>> x = embed(nn.Embedding(5, 2), torch.tensor([[3], [1], [3]]), rate=0.5)
    >>> torch.equal(x[0], x[2])
    True
    """
    x: Tensor = embedding(tokens)
    if not rate:
        return x
    kept = F.dropout(embedding.weight.new_ones(embedding.num_embeddings), rate)
    return x * kept[tokens].unsqueeze(-1)


def check_tokens(x: Any, vocab_size: int) -> None:
    """Raise unless x is (T, B) tokens in 0..V-1."""
    if not isinstance(x, Tensor) or x.ndim != 2:
        raise ShapeError(
            "x must have shape (T, B), got"
            f" {shape_text(x.shape) if isinstance(x, Tensor) else type(x).__name__}"
        )
    check_kind("x", x)
    if not torch.compiler.is_compiling():
        check_range("x", extremes(x), vocab_size)


def check_kind(name: str, tokens: Any) -> None:
    """Raise unless tokens are a tensor of whole numbers."""
    if not isinstance(tokens, Tensor):
        raise DtypeError(
            f"{name} must be a tensor of tokens, got {type(tokens).__name__}; use torch.as_tensor"
        )
    if tokens.dtype not in (torch.int64, torch.int32):
        raise DtypeError(f"{name} must hold tokens as int64, got {tokens.dtype}")


def check_range(name: str, ends: tuple[int, int], vocab_size: int) -> None:
    """Raise unless the lowest and the highest token are in 0..V-1."""
    low, high = ends
    if low < 0 or high >= vocab_size:
        raise DataError(
            f"{name} must hold tokens in 0..{vocab_size - 1}, got {low if low < 0 else high}"
        )


def extremes(tokens: Tensor) -> tuple[int, int]:
    """The lowest and the highest token; 0 and 0 where there is none.

    >>> extremes(torch.tensor([[3, 1], [2, 7]]))
    (1, 7)
    """
    if not tokens.numel():
        return 0, 0
    low, high = torch.stack(torch.aminmax(tokens)).tolist()  # one copy from a device
    return low, high
