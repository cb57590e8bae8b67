"""Weights that are not the cell's own are refused before any method sees them."""

from __future__ import annotations

import re

import pytest
import torch

import recurra
from recurra import cells
from recurra.engine import METHODS, listening, scan
from recurra.errors import ArgumentError, DtypeError, ShapeError


def weights_of(cell: cells.Cell, biases: int = 2) -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name, shape in cell.weights(3, 5, biases).items()}


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_another_cells_weights_are_refused_by_every_method(method: str) -> None:
    with pytest.raises(
        ShapeError,
        match=r"weights\['weight_ih'\] must have shape \(4 H, I\) for LSTM\(\), got \(15, 3\)",
    ):
        scan(cells.LSTM(), weights_of(cells.GRU()), torch.randn(4, 2, 3), method=method)


def test_a_missing_a_foreign_and_a_misshapen_weight_are_named() -> None:
    x, good = torch.randn(4, 2, 3), weights_of(cells.LSTM())
    without = {name: weight for name, weight in good.items() if name != "weight_hh"}
    with pytest.raises(
        ShapeError, match=r"weights\['weight_hh'\] must have shape \(20, 5\) for LSTM\(\), got none"
    ):
        scan(cells.LSTM(), without, x)
    with pytest.raises(
        ArgumentError, match="weights must be one of .* got 'weight_hr'; did you mean 'weight_ih'"
    ):
        scan(cells.LSTM(), good | {"weight_hr": torch.randn(2, 5)}, x)
    with pytest.raises(
        ShapeError, match=r"weights\['bias_ih'\] must have shape \(20,\) for LSTM\(\), got \(19,\)"
    ):
        scan(cells.LSTM(), good | {"bias_ih": torch.randn(19)}, x)
    with pytest.raises(
        ShapeError, match=r"weights\['initial_c'\] must have shape \(5,\) for LSTM\(\), got \(4,\)"
    ):
        scan(cells.LSTM(), good | {"initial_c": torch.randn(4)}, x)
    with pytest.raises(
        ShapeError,
        match=r"weights\['weight_ih'\] must have shape \(4 H, I\) for LSTM\(\), got none",
    ):
        scan(cells.LSTM(), {}, x)


def test_weights_with_no_one_or_two_biases_and_a_learned_state_pass() -> None:
    for biases in (0, 1, 2):
        learned = {"initial_h": torch.randn(5), "initial_c": torch.randn(5)}
        assert scan(
            cells.LSTM(), weights_of(cells.LSTM(), biases) | learned, torch.randn(4, 2, 3)
        ).h.shape == (4, 2, 5)


def test_a_first_state_of_its_own_for_each_row_must_fit_the_batch() -> None:
    weights, x = weights_of(cells.GRU()), torch.randn(4, 2, 3)
    rows = torch.randn(2, 5)
    own = scan(cells.GRU(), weights | {"initial_h": rows}, x).h
    assert torch.equal(own, scan(cells.GRU(), weights, x, (rows,)).h)
    with pytest.raises(
        ShapeError, match=r"weights\['initial_h'\] must have one row or B = 2, got 3"
    ):
        scan(cells.GRU(), weights | {"initial_h": torch.randn(3, 5)}, x)


@pytest.mark.parametrize(
    ("cell", "method"),
    [
        (cells.LSTM(), "loop"),
        (cells.ProjectedLSTM(2), "loop"),
        (cells.GRU(), "vendor"),
        (cells.LayerNormLSTM(), "loop"),
        (cells.MinGRU(), "parallel"),
    ],
)
def test_a_single_step_is_not_given_to_what_packs_weights(cell: cells.Cell, method: str) -> None:
    chosen: list[str] = []
    with torch.no_grad(), listening(lambda job, choice: chosen.append(choice.method)):
        for shape in ((1, 5, 3), (2, 5, 3), (1, 4, 3)):
            scan(cell, weights_of(cell), torch.randn(shape))
    assert chosen == [method, "fused", "fused"]


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_every_weight_must_be_where_the_first_is_and_of_its_dtype(method: str) -> None:
    cell, x = cells.LSTM(), torch.randn(4, 2, 3)
    good = weights_of(cell) | {"initial_h": torch.randn(5)}
    for name in good.keys() - {"weight_ih"}:
        text = re.escape(
            f"weights['{name}'] must be on the device of weights['weight_ih'], cpu, got meta; load"
            " the weights first"
        )
        with pytest.raises(DtypeError, match=text):
            scan(cell, good | {name: good[name].to("meta")}, x, method=method)
        text = re.escape(
            f"weights['{name}'] must have the dtype of weights['weight_ih'], torch.float64, got"
            " torch.float32; use weight.to("
        )
        with pytest.raises(DtypeError, match=text):
            scan(cell, good | {name: good[name].float()}, x, method=method)


def test_a_cell_of_one_step_looks_at_every_weight_too() -> None:
    cell = recurra.GRUCell(3, 4)
    cell.bias_hh = torch.nn.Parameter(cell.bias_hh.float())
    with pytest.raises(
        DtypeError,
        match=(
            r"weights\['bias_hh'\] must have the dtype of weights\['weight_ih'\], torch.float64,"
            r" got torch.float32"
        ),
    ):
        cell(torch.zeros(2, 3))
