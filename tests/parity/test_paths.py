"""The parity table holds for every cell that streams, and goes red when a path differs."""

from __future__ import annotations

import warnings

import pytest
import torch

import recurra
from recurra import cells, parity
from recurra.engine import METHODS
from recurra.errors import ArgumentError, SlowWarning

CELLS = [
    cells.Elman("relu"),
    cells.LSTM(),
    cells.PeepholeLSTM(),
    cells.ProjectedLSTM(3),
    cells.GRU(),
    cells.ResetBeforeGRU(),
    cells.LayerNormLSTM(),
    cells.LayerNormGRU(),
    cells.MinGRU(),
    cells.MinLSTM(),
    cells.Zoneout(cells.LSTM(), h=0.1, c=0.2),
    cells.RecurrentDropout(cells.GRU(), 0.3),
]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_path_holds_for_every_cell(cell: cells.Cell, dtype: torch.dtype) -> None:
    layer = recurra.Recurrent(cell, 5, 7, learned_state=True, dtype=dtype)
    rows = parity.verify(layer, torch.randn(23, 3, 5, dtype=dtype))
    assert [row for row in rows if not row.holds] == []
    fused = [row for row in rows if row.path.startswith("fused")]
    assert len(rows) == 25 and all(row.bound is not None for row in fused)


def test_a_stack_in_training_mode_is_verified_as_at_evaluation_and_left_as_it_was() -> None:
    net = recurra.Stack(
        [
            recurra.Recurrent(cells.GRU(), 5, 6),
            recurra.LockedDropout(0.5),
            recurra.Residual(recurra.WeightDropout(recurra.Recurrent(cells.LSTM(), 6, 6), 0.5)),
        ]
    )
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert all(row.holds for row in parity.verify(net, torch.randn(70, 2, 5)))
    assert net.training and net.layers[2].layer.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("method", ["fused", "loop"])
def test_a_path_that_differs_fails(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = METHODS[method].run
    monkeypatch.setattr(
        METHODS[method], "run", lambda job: (done := run(job))._replace(h=done.h * 1.001)
    )
    rows = parity.verify(recurra.Recurrent(cells.LSTM(), 5, 7), torch.randn(9, 2, 5))
    failed = {row.path for row in rows if not row.holds}
    assert "fused" in failed and "chunks of 7" in failed


def test_a_wrong_final_state_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = METHODS["fused"].run
    monkeypatch.setattr(
        METHODS["fused"],
        "run",
        lambda job: (done := run(job))._replace(
            final=type(done.final)(*(v + 1 for v in done.final))
        ),
    )
    rows = parity.verify(recurra.Recurrent(cells.LSTM(), 5, 7), torch.randn(9, 2, 5))
    assert any(row.path == "fused" and not row.holds for row in rows)


def test_a_path_that_is_not_a_number_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    run = METHODS["fused"].run
    monkeypatch.setattr(
        METHODS["fused"], "run", lambda job: (done := run(job))._replace(h=done.h * float("nan"))
    )
    rows = parity.verify(recurra.Recurrent(cells.LSTM(), 5, 7), torch.randn(9, 2, 5))
    assert any(row.path == "fused" and row.difference == float("inf") for row in rows)


def test_a_path_that_does_not_exist_says_why() -> None:
    layer = recurra.Recurrent(cells.LSTM(), 5, 7, dtype=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowWarning)  # said once, here or by an earlier test
        rows = parity.verify(layer, torch.randn(9, 2, 5, dtype=torch.bfloat16))
    row = next(row for row in rows if row.path == "fused")
    assert row.bound is None and row.holds and "no fused LSTM() on cpu for bfloat16" in row.note


def test_what_cannot_be_verified_says_so() -> None:
    both = recurra.Bidirectional(*(recurra.Recurrent(cells.GRU(), 3, 4) for _ in range(2)))
    with pytest.raises(
        ArgumentError,
        match="model must be able to stream, got Bidirectional: a bidirectional layer needs",
    ):
        parity.verify(both, torch.randn(9, 1, 3))
    with pytest.raises(ArgumentError, match="x must have at least 3 steps, got 2"):
        parity.verify(recurra.Recurrent(cells.GRU(), 3, 4), torch.randn(2, 1, 3))
