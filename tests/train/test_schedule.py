"""Each schedule is what its name says, and PyTorch's where PyTorch has it."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from recurra.train import Recipe
from recurra.train.schedule import Schedule


def rates(recipe: Recipe, updates: int = 20, a_pass: int = 5) -> list[float]:
    schedule = Schedule(recipe, updates)
    return [schedule.rate(update, 1 + update // a_pass) for update in range(updates)]


def torchs(make: object, updates: int = 20) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler, found = make(optimizer), []  # type: ignore[operator]
        for _ in range(updates):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return found


def test_constant() -> None:
    assert rates(Recipe(lr=0.3)) == [0.3] * 20


def test_cosine_is_torchs() -> None:
    expected = torchs(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20))
    assert rates(Recipe(lr=0.3, schedule="cosine")) == pytest.approx(expected, rel=1e-9)


def test_one_cycle_is_torchs_up_to_where_its_ends_fall_between_updates() -> None:
    expected = torchs(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=2001),
        2000,
    )
    assert rates(Recipe(lr=0.3, schedule="one_cycle"), 2000) == pytest.approx(expected, rel=5e-3)
    assert max(rates(Recipe(lr=0.3, schedule="one_cycle"), 2000)) == pytest.approx(0.3)


def test_decay_begins_after_so_many_passes() -> None:
    found = rates(Recipe(lr=0.4, schedule="decay", decay=0.5, decay_after=2))
    assert found == pytest.approx([0.4] * 10 + [0.2] * 5 + [0.1] * 5)


def test_warm_up_rises_from_nothing_and_multiplies_what_follows() -> None:
    found = rates(Recipe(lr=0.4, warmup=4))
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    plain, warm = rates(Recipe(schedule="cosine")), rates(Recipe(schedule="cosine", warmup=10))
    assert warm == pytest.approx(
        [rate * min(1, (update + 1) / 10) for update, rate in enumerate(plain)]
    )


def test_a_plateau_is_a_row_of_validations_without_a_better_one() -> None:
    schedule, found = (
        Schedule(Recipe(lr=1.0, schedule="plateau", decay=0.25, decay_after=2), 100),
        [],
    )
    for loss in (3.0, 2.0, 2.0, 2.5, 2.4, 1.9, 1.9, 2.0, 2.0, 2.0):
        schedule.judge(loss)
        found.append(schedule.rate(0, 1))
    assert found == [1.0, 1.0, 1.0, 0.25, 0.25, 0.25, 0.25, 0.0625, 0.0625, 0.015625]


def test_other_schedules_do_not_fall_on_a_plateau() -> None:
    schedule = Schedule(Recipe(lr=1.0), 100)
    for _ in range(5):
        schedule.judge(1.0)
    assert schedule.rate(0, 1) == 1.0


def test_a_varied_window_stretches_the_rate() -> None:
    assert Schedule(Recipe(lr=0.5), 10).rate(0, 1, stretch=0.5) == 0.25


def test_what_it_remembers_comes_back() -> None:
    recipe = Recipe(schedule="plateau", decay_after=2)
    first, second = Schedule(recipe, 10), Schedule(recipe, 10)
    for loss in (1.0, 2.0, 2.0, 2.0):
        first.judge(loss)
    assert math.isinf(second.best)
    second.recall(first.record())
    for schedule in (first, second):
        schedule.judge(3.0)
    assert (
        first.record() == second.record() and first.rate(3, 1) == second.rate(3, 1) == 1e-3 * 0.25
    )


def test_more_updates_than_were_expected_stay_at_the_end() -> None:
    assert Schedule(Recipe(schedule="cosine"), 10).rate(15, 1) == 0.0
