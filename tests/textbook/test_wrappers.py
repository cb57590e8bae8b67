from __future__ import annotations

import pytest
import torch

from recurra.cells import RecurrentDropout, Zoneout
from tests.textbook.scalar import run
from tests.textbook.scene import CASES, Scene, arrays, assert_equal, scene, stepped
from tests.textbook.wrappers import zoneout, zoneout_evaluation

RATES = [{"h": 0.3}, {"c": 0.2}, {"h": 0.3, "c": 0.2}]
WITH_CELL = [name for name in CASES if name.endswith("LSTM") and name != "MinLSTM"]
ZONED = [
    (name, rates) for name in CASES for rates in RATES if "c" not in rates or name in WITH_CELL
]
RECURRENT = [name for name in CASES if not name.startswith("Min")]
SIZES = [(1, 1, 1, 1), (7, 3, 5, 5), (7, 1, 5, 1), (1, 3, 1, 5)]
RATE = 0.4


def masks(at: Scene, rates: dict[str, float]) -> dict[str, torch.Tensor]:
    """For each zoned state, 1 where the old value stays, (T, B, width)."""
    generator = torch.Generator().manual_seed(11)
    T = at.x.shape[0]
    return {
        name: torch.randint(0, 2, (T, *at.state[name].shape), generator=generator).double()
        for name in rates
    }


def dropout_mask(at: Scene) -> torch.Tensor:
    """0 or 1 / (1 - rate) for each row and unit, (B, width of h); neither all kept nor all
    dropped.
    """
    kept = torch.randint(
        0, 2, at.state["h"].shape, generator=torch.Generator().manual_seed(12)
    ).double()
    kept[0, 0] = 0.0
    if kept.numel() > 1:
        kept[-1, -1] = 1.0
    return kept / (1 - RATE)


def noise(d: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"zoneout_{name}": mask for name, mask in d.items()}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("name", "rates"), ZONED, ids=str)
def test_zoneout_keeps_the_old_where_the_mask_is_one(
    name: str, rates: dict[str, float], sizes: tuple[int, int, int, int]
) -> None:
    at = scene(name, *sizes)
    d = masks(at, rates)
    found = stepped(Zoneout(at.cell, **rates), at, noise=noise(d))
    assert_equal(
        found, zoneout(at.case.step, at.letters(), at.x.numpy(), arrays(at.state), arrays(d))
    )


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("name", "rates"), ZONED, ids=str)
def test_zoneout_takes_the_mean_at_evaluation(
    name: str, rates: dict[str, float], sizes: tuple[int, int, int, int]
) -> None:
    at = scene(name, *sizes)
    found = stepped(Zoneout(at.cell, **rates), at)
    assert_equal(
        found, zoneout_evaluation(at.case.step, at.letters(), at.x.numpy(), arrays(at.state), rates)
    )


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_dropout_masks_what_the_recurrent_weight_multiplies(
    name: str, sizes: tuple[int, int, int, int]
) -> None:
    at = scene(name, *sizes)
    m = dropout_mask(at)
    found = stepped(RecurrentDropout(at.cell, RATE), at, lasting={"dropout_h": m})
    assert_equal(found, run(at.case.step, at.letters(), at.x.numpy(), arrays(at.state), m.numpy()))


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_dropout_leaves_evaluation_alone(name: str) -> None:
    at = scene(name, 7, 3, 5, 5)
    found = stepped(RecurrentDropout(at.cell, RATE), at, lasting={"dropout_h": None})
    assert_equal(found, run(at.case.step, at.letters(), at.x.numpy(), arrays(at.state)))


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("outer", ["zoneout", "dropout"])
def test_zoneout_and_recurrent_dropout_combine_in_either_order(name: str, outer: str) -> None:
    at = scene(name, 7, 3, 5, 5)
    rates = {"h": 0.3, "c": 0.2} if name in WITH_CELL else {"h": 0.3}
    d, m = masks(at, rates), dropout_mask(at)
    either = {
        "zoneout": Zoneout(RecurrentDropout(at.cell, RATE), **rates),
        "dropout": RecurrentDropout(Zoneout(at.cell, **rates), RATE),
    }
    cell = either[outer]
    p, x, state = at.letters(), at.x.numpy(), arrays(at.state)
    trained = stepped(cell, at, noise=noise(d), lasting={"dropout_h": m})
    assert_equal(trained, zoneout(at.case.step, p, x, state, arrays(d), m.numpy()))
    evaluated = stepped(cell, at, lasting={"dropout_h": None})
    assert_equal(evaluated, zoneout_evaluation(at.case.step, p, x, state, rates))


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_drawn_masks_are_the_printed_ones(rate: float) -> None:
    at = scene("LSTM", 1, 1, 1, 1)
    zoned = Zoneout(at.cell, h=rate, c=rate / 2).noises()
    for name, keep in (("zoneout_h", rate), ("zoneout_c", rate / 2)):
        assert (zoned[name].value, zoned[name].lasting) == (1.0, False)
        assert zoned[name].zero == pytest.approx(1 - keep, abs=1e-15)
    mask = RecurrentDropout(at.cell, rate).noises()["dropout_h"]
    assert (mask.zero, mask.lasting) == (rate, True)
    assert mask.value == pytest.approx(1 / (1 - rate), rel=1e-15)
