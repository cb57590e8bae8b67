"""The associative scan over time."""

from __future__ import annotations

import math

import torch

from recurra.engine.parallel import associative_scan


def test_a_reset_takes_nothing_from_before() -> None:
    keep, write = torch.full((9, 1), 0.5), torch.ones(9, 1)
    write[2], resets = math.nan, torch.zeros(9, 1, dtype=torch.bool)
    resets[5] = True
    h = associative_scan(keep, write, resets)
    assert h[2:5].isnan().all()
    assert h[5:].flatten().tolist() == [1.0, 1.5, 1.75, 1.875]
