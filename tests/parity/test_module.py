"""A user's own module against the network that was made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.export import network_of
from recurra.parity import verify_module
from tests.network.nets import numbers

X = numbers(9, 2, 3)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0])


class Step(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return h, h


@pytest.mark.parametrize(
    ("module", "path"),
    [
        (nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.LSTM(5, 4), nn.Dropout(0.9))), "module, (T, B, ...)"),
        (Tagger(), "module, (B, T, ...)"),
    ],
    ids=["time first", "batch first"],
)
def test_a_module_equals_its_network_in_the_order_that_it_reads(module: nn.Module, path: str) -> None:
    module.float()
    (row,) = verify_module(module, network_of(module), X)
    assert row.path == path and row.holds and row.bound is not None and row.steps == 9 and module.training


def test_another_modules_network_is_seen() -> None:
    module, other = Tagger().float(), Tagger().float()
    (row,) = verify_module(module, network_of(other), X)
    assert not row.holds and row.difference > 1e-3


def test_layers_of_recurra_run_along_every_path() -> None:
    layer = recurra.LSTM(3, 4, dtype=torch.float32)
    rows = verify_module(layer, network_of(layer), X)
    assert all(row.holds for row in rows)
    assert {"loop", "fused", "chunks of 7, ragged with resets", "step by step", "module, (T, B, ...)"} <= {row.path for row in rows}


def test_what_cannot_be_run_says_why() -> None:
    module = Step().float()
    (row,) = verify_module(module, network_of(module), X)
    assert row.bound is None and row.note == "its forward raises TypeError: Step.forward() missing 1 required positional argument: 'h'"
    (row,) = verify_module(nn.Linear(3, 5, dtype=torch.float32), network_of(nn.Linear(3, 4, dtype=torch.float32)), X)
    assert row.bound is None and row.note == "it gives no output of the network's shape"


def test_a_module_in_double_precision_is_run_in_it() -> None:
    module: Any = nn.Embedding(5, 3, dtype=torch.float64)
    (row,) = verify_module(module, network_of(module.float()), np.array([[0, 1], [4, 4], [2, 3]]))
    assert row.holds and row.bound is not None
