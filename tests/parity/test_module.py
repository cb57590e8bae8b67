"""A user's own module against the network that was made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
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
        (
            nn.Sequential(nn.Linear(3, 5), nn.Sequential(nn.LSTM(5, 4), nn.Dropout(0.9))),
            "module, (T, B, C)",
        ),
        (Tagger(), "module, (B, T, C)"),
        (nn.Conv1d(3, 4, 1), "module, (B, C, T)"),
        (Step(), "module, (B, C), steps"),
        (nn.LSTMCell(3, 4), "module, (B, C), steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_equals_its_network_in_the_order_that_it_takes(
    module: nn.Module, path: str, dtype: torch.dtype
) -> None:
    module.to(dtype)
    (row,) = verify_module(module, X)
    assert (
        row.path == path
        and row.holds
        and row.bound is not None
        and row.steps == 9
        and module.training
    )


def test_a_module_that_does_something_else_is_seen() -> None:
    module = Tagger().float()
    module.register_forward_hook(lambda module, given, done: done + 1e-3)
    (row,) = verify_module(module, X)
    assert not row.holds and row.difference == pytest.approx(1e-3, rel=1e-3)


def test_a_module_of_tokens() -> None:
    (row,) = verify_module(
        nn.Embedding(5, 3, dtype=torch.float32), np.array([[0, 1], [4, 4], [2, 3]])
    )
    assert row == ("module, (T, B)", 0.0, row.bound, 3, "")


def test_layers_of_recurra_run_along_every_path() -> None:
    rows = verify_module(recurra.LSTM(3, 4, dtype=torch.float32), X)
    assert all(row.holds for row in rows)
    assert {
        "loop",
        "fused",
        "chunks of 7, ragged with resets",
        "step by step",
        "module, (T, B, C)",
    } <= {row.path for row in rows}
