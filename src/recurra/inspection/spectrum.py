"""The spectral radius of recurrent weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recurra.cells import Cell

EXACT = 256
"""Units up to which all eigenvalues are found: 20 ms a block; beyond that the time, which grows
with H^3, is not worth it.
"""
STEPS, START = 300, 100
"""Products of the power iteration, and how many of them pass before growth is counted."""


def spectral_radius(cell: Cell, weights: Mapping[str, Tensor], seed: int = 0) -> dict[str, float]:
    """The largest |eigenvalue| of each gate's recurrent weights: how fast h grows under that block
    alone, near zero.

    A projected cell's block is taken after the projection, W_hh W_hr. Up to 256 units all
    eigenvalues are found; beyond that it is the mean growth of random vectors over 200 products by
    the block, after 100 that are not counted, which pairs of complex eigenvalues do not disturb:
    right to about a hundredth where other eigenvalues are near the largest.

    Args:
        cell, weights: a pair from a layer's `parts()`.
        seed: of the vectors.

    Returns:
        By gate; empty for a cell without a recurrent product.

    Source: Pascanu et al. (2013), arXiv:1211.5063, section 2.1: below 1 gradients of a linear net
        must vanish, above 1 they may explode.

    >>> layer = recurra.RNN(3, 4)
    >>> [(round(radius, 3)) for part in layer.parts() for radius in spectral_radius(*part).values()]
    [1.0]
    """
    blocks = recurrent_blocks(cell, weights)
    return {gate: _radius(block.detach(), seed) for gate, block in blocks.items()}


def recurrent_blocks(cell: Cell, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The recurrent weights of each gate, (H, H)."""
    gates = cell.blocks("weight_hh")
    if not gates or "weight_hh" not in weights:
        return {}
    blocks = dict(zip(gates, weights["weight_hh"].chunk(len(gates))))
    if "weight_hr" in weights:
        blocks = {gate: block @ weights["weight_hr"] for gate, block in blocks.items()}
    return {gate: block for gate, block in blocks.items() if block.shape[0] == block.shape[1]}


def _radius(block: Tensor, seed: int) -> float:
    block = block.float() if block.dtype in (torch.float16, torch.bfloat16) else block
    if not bool(torch.isfinite(block).all()):
        return float("nan")
    if len(block) <= EXACT:
        return float(torch.linalg.eigvals(block).abs().max())
    return _growth(block, seed)


def _growth(block: Tensor, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(block), 4, generator=generator).to(block)
    total = 0.0
    for step in range(STEPS):
        vectors = block @ vectors
        norm = vectors.norm()
        if not float(norm):
            return 0.0
        vectors /= norm
        if step >= START:
            total += float(norm.log())
    return float(torch.tensor(total / (STEPS - START)).exp())
