"""The optimiser a recipe names is PyTorch's, with the recipe's figures; averaging is what Merity et
al. wrote.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recurra.train import Recipe
from recurra.train.optimizer import Average, make_optimizer

CASES: dict[str, tuple[Recipe, Any]] = {
    "adam": (
        Recipe(lr=0.1, betas=(0.8, 0.9), weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.9), weight_decay=0.1),
    ),
    "a beta of 0": (Recipe(lr=0.1, betas=(0, 0.9)), lambda p: torch.optim.Adam(p, 0.1, (0.0, 0.9))),
    "adamw": (
        Recipe(optimizer="adamw", lr=0.1, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.2),
    ),
    "sgd": (
        Recipe(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.1),
    ),
    "asgd": (Recipe(optimizer="asgd", lr=0.1), lambda p: torch.optim.SGD(p, 0.1)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_optimiser_is_torchs(name: str) -> None:
    recipe, make = CASES[name]
    torch.manual_seed(0)
    ours = nn.Linear(3, 2)
    theirs = nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    pairs = [(ours, make_optimizer(recipe, ours)), (theirs, make(list(theirs.parameters())))]
    for step in range(4):
        for layer, optimizer in pairs:
            optimizer.zero_grad()
            layer(torch.full((1, 3), step + 1.0)).square().sum().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)


def averaged(losses: list[float], after: int) -> int | None:
    """How many validations it took until averaging began."""
    average = Average(nn.Linear(1, 1), after)
    for number, loss in enumerate(losses, 1):
        average.judge(loss)
        if average.means:
            return number
    return None


def test_averaging_begins_where_a_validation_is_worse_than_those_long_ago() -> None:
    assert averaged([5, 4, 3, 2, 1], 2) is None
    assert averaged([5, 4, 6, 7], 2) == 4  # 7 > 5, the best of those two or more before
    assert (
        averaged([5, 6], 5) is None
        and averaged([5, 6, 6, 6, 6, 6], 5) is None
        and averaged([5, 6, 6, 6, 6, 6, 6], 5) == 7
    )


def test_the_mean_is_over_the_updates_since_it_began() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = Average(layer, 1)
    average.update()
    assert not average.means, "there is no mean before it began"
    for loss in (1.0, 2.0, 3.0):
        average.judge(loss)
    for value in (2.0, 4.0, 9.0):
        nn.init.constant_(layer.weight, value)
        average.update()
    with average.in_place():
        assert layer.weight.item() == pytest.approx(5.0)
    assert layer.weight.item() == 9.0


def test_before_it_began_the_weights_are_their_own() -> None:
    layer = nn.Linear(1, 1)
    before = layer.weight.item()
    with Average(layer, 3).in_place():
        assert layer.weight.item() == before
    assert layer.weight.item() == before


def test_the_weights_come_back_after_an_error() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = Average(layer, 1)
    average.means = {"weight": torch.zeros(1, 1)}
    before = layer.weight.item()
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert layer.weight.item() == before
