"""Jacobians by lag equal the products of Jacobians of single steps."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import recurra
from recurra import Recurrent, cells
from recurra.cells import Cell
from recurra.errors import ArgumentError
from recurra.inspection import gradient_by_lag, memory_length
from recurra.inspection.lag import ANCHORS
from tests.cells.zoo import assert_close

T, B, I = 9, 3, 2
CELLS = [
    cells.LSTM(),
    cells.GRU(),
    cells.Elman(),
    cells.ResetBeforeGRU(),
    cells.PeepholeLSTM(),
    cells.LayerNormLSTM(),
    cells.MinGRU(),
    cells.Zoneout(cells.LSTM(), h=0.2, c=0.1),
    cells.ProjectedLSTM(2),
]


def step_jacobians(layer: Recurrent, x: Tensor, row: int) -> list[Tensor]:
    """d state_t / d state_(t-1) of one row, by autograd through the cell's own step; index 0 is
    None's place.
    """
    cell, weights = layer.cell, {name: weight.detach() for name, weight in layer.weights().items()}
    widths = [cell.width(name, layer.hidden_size) for name in cell.state]
    u = cell.project(weights, x)

    def advance(flat: Tensor, t: int) -> Tensor:
        state = cell.state_type()(
            *(part[None] for part in flat.split(widths)), *[None] * len(cell.lasting())
        )
        return torch.cat(
            [
                value[0]
                for value in cell.step(weights, u[t, row : row + 1], state)[0]
                if value is not None
            ]
        )

    flat, found = torch.zeros(sum(widths)), []
    for t in range(len(x)):
        found.append(torch.autograd.functional.jacobian(lambda value, t=t: advance(value, t), flat))  # type: ignore[arg-type,misc]
        flat = advance(flat, t)
    return found


def by_hand(layer: Recurrent, x: Tensor) -> dict[str, Tensor]:
    """Root mean squares of the Frobenius norms of each diagonal block, over rows and the same t as
    the measurement's.
    """
    cell, steps = layer.cell, len(x)
    widths = [cell.width(name, layer.hidden_size) for name in cell.state]
    total = {name: torch.zeros(steps) for name in cell.state}
    count = torch.zeros(steps)
    for row in range(x.shape[1]):
        jacobians = step_jacobians(layer, x, row)
        for t in {max(0, round(share * steps) - 1) for share in ANCHORS}:
            product = torch.eye(sum(widths))
            for lag in range(t + 1):
                count[lag] += 1
                start = 0
                for name, width in zip(cell.state, widths):
                    block = product[start : start + width, start : start + width]
                    total[name][lag] += block.square().sum() / width
                    start += width
                product = product @ jacobians[t - lag]
    return {name: (square / count).sqrt() for name, square in total.items()}


@pytest.mark.parametrize(
    "cell",
    [cell for cell in CELLS if not isinstance(cell, (cells.ProjectedLSTM, cells.LayerNormLSTM))],
    ids=repr,
)
def test_one_unit_equals_products_of_jacobians(cell: Cell) -> None:
    """With one unit v is 1 or -1, so that nothing is estimated."""
    layer, x = Recurrent(cell, I, 1), torch.randn(T, B, I)
    found = gradient_by_lag(layer, (x,), vectors=1)
    expected = by_hand(layer.eval(), x)
    assert found.layers == (repr(cell),) and set(found.norms[0]) == set(cell.state)
    for name, norms in found.norms[0].items():
        assert norms[0] == 1
        assert_close(norms, expected[name], 1e-9)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_many_vectors_come_near_the_frobenius_norm(cell: Cell) -> None:
    layer, x = Recurrent(cell, I, 4), torch.randn(T, B, I)
    found, expected = (
        gradient_by_lag(layer, (x,), vectors=2000, seed=3).norms[0],
        by_hand(layer.eval(), x),
    )
    for name, norms in found.items():
        assert (
            float((norms / expected[name] - 1).abs().max()) < 4 * 0.71 / 500**0.5
        )  # 2000 vectors over four t; the last lags have one


def test_seed_and_vectors_matter_and_repeat() -> None:
    layer, batch = recurra.GRU(I, 5), (torch.randn(T, B, I),)
    first = gradient_by_lag(layer, batch, seed=1).norms[0]["h"]
    assert_close(first, gradient_by_lag(layer, batch, seed=1).norms[0]["h"], 0)
    assert not torch.equal(first, gradient_by_lag(layer, batch, seed=2).norms[0]["h"])
    assert not torch.equal(first, gradient_by_lag(layer, batch, seed=1, vectors=200).norms[0]["h"])


def decay(**options: Any) -> Recurrent:
    """One relu unit that halves its state at each step."""
    net = Recurrent(cells.Elman("relu"), 1, 1, biases=0)
    with torch.no_grad():
        net.weight_ih.fill_(1.0)
        net.weight_hh.fill_(0.5)
    return net


class Chunk(tuple):  # type: ignore[type-arg]
    """(x,) with resets, as a chunk of `tbptt` has them."""

    resets: Tensor


def test_a_reset_joins_nothing_before_it() -> None:
    resets = torch.zeros(8, 2, dtype=torch.bool)
    resets[5] = True
    batch = Chunk([torch.ones(8, 2, 1)])
    batch.resets = resets
    norms = gradient_by_lag(decay(), batch).norms[0]["h"]
    assert_close(
        norms[:4], torch.tensor([1.0, 0.5, 0.25, 0.125])
    )  # t = 6 and 8 reach back to step 6, t = 2 and 4 to step 1
    assert norms[4:].isnan().all()
    assert memory_length(norms) == 2


def test_backward_scans_count_lags_from_their_own_start() -> None:
    both = recurra.Bidirectional(decay(), decay())
    found = gradient_by_lag(both, (torch.ones(5, 2, 1),))
    assert found.layers[1].endswith(", backward") and not found.layers[0].endswith("backward")
    for norms in found.norms:
        assert_close(norms["h"], 0.5 ** torch.arange(5.0))


def test_rows_count_as_far_as_they_go() -> None:
    class Ragged(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = decay()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x, lengths=[6, 2])[0]

    x = torch.ones(6, 2, 1)
    x[2:, 1] = torch.nan
    assert_close(gradient_by_lag(Ragged(), (x,)).norms[0]["h"], 0.5 ** torch.arange(6.0))


def test_an_overflow_is_infinite_not_missing() -> None:
    net = decay()
    with torch.no_grad():
        net.weight_hh.fill_(1e200)
    norms = gradient_by_lag(net, (torch.ones(4, 1, 1),)).norms[0]["h"]
    assert norms.isinf().all() and memory_length(norms) == float(
        "inf"
    )  # the states themselves, from the third step on
    with torch.no_grad():
        net.weight_hh.fill_(1e60)
    norms = gradient_by_lag(net, (torch.ones(5, 1, 1),)).norms[0]["h"]
    assert (
        norms[0] == 1 and norms[1] == pytest.approx(1e60) and norms[3:].isinf().all()
    )  # the squares


def test_it_prints_memory() -> None:
    assert (
        str(gradient_by_lag(decay(), (torch.ones(4, 1, 1),)))
        == "layer 0 Elman(nonlinearity='relu'): |dh_t/dh_k| falls below 1/e after 2 steps"
    )


@pytest.mark.parametrize(
    ("norms", "share", "steps"),
    [
        ([1, 0.5, 0.2, 0.1], 0.3, 2),
        ([1, 0.2, 0.5, 0.1], 0.3, 3),
        ([1.0, 0.9], 0.5, float("inf")),
        ([1.0, float("nan"), 0.1], 0.5, 1),
    ],
)
def test_memory_length_is_the_lag_from_which_on_it_stays_below(
    norms: list[float], share: float, steps: float
) -> None:
    assert memory_length(norms, share=share) == steps
    assert memory_length(torch.tensor(norms), share) == steps


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_shares_outside_are_refused(share: float) -> None:
    with pytest.raises(
        ArgumentError, match=rf"^share must be a number in \(0, 1\), got {re.escape(str(share))}$"
    ):
        memory_length([1.0], share=share)


def test_no_vectors_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^vectors must be a positive whole number, got 0$"):
        gradient_by_lag(decay(), (torch.ones(4, 1, 1),), vectors=0)


def test_probes_add_to_every_state() -> None:
    cell = cells.Probed(cells.LSTM())
    weights = {name: torch.randn(shape) for name, shape in cell.weights(I, 4).items()}
    x, probes = torch.randn(3, B, I), {f"probe_{name}": torch.randn(3, B, 4) for name in ("h", "c")}
    for method in ("loop", "fused"):
        plain = recurra.engine.scan(cell.cell, weights, x[:1], method=method, keep=("states",))
        added = recurra.engine.scan(
            cell,
            weights,
            x[:1],
            noise={n: p[:1] for n, p in probes.items()},
            method=method,
            keep=("states",),
        )
        assert_close(added.states.h, plain.states.h + probes["probe_h"][:1])
        assert_close(added.states.c, plain.states.c + probes["probe_c"][:1])
        assert_close(recurra.engine.scan(cell, weights, x[:1], method=method).h, plain.h)
