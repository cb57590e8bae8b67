"""Several seeds are several runs, each as if it were alone."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recurra.errors import ArgumentError
from recurra.models import LanguageModel
from recurra.train import Recipe, fit, fit_seeds, from_text, open_run
from tests.train.moments import Chunks

DATA = from_text("the cat sat on the mat and the rat sat on the cat; " * 12)
RECIPE = Recipe(epochs=2, window=30, batch=4, lr=0.01)


def made() -> LanguageModel:
    return LanguageModel(len(DATA.vocabulary), embed=6, hidden=7, dropout=0.2)


def test_each_run_is_the_run_of_its_seed(tmp_path: Path) -> None:
    done = fit_seeds(made, DATA, RECIPE, [4, 2], tmp_path, show=False)
    assert list(done.runs) == [4, 2] and not done.stopped
    for seed, run in done.runs.items():
        torch.manual_seed(seed)
        alone = fit(made(), DATA, replace(RECIPE, seed=seed), show=False)
        assert alone.best_loss == run.best_loss
        assert torch.equal(
            open_run(tmp_path / f"seed-{seed}").embedding.weight, alone.model.embedding.weight
        )
    losses = [run.best_loss for run in done.runs.values()]
    assert (
        losses[0] != losses[1]
        and done.mean == statistics.fmean(losses)
        and done.deviation == statistics.stdev(losses)
    )


def test_one_seed_has_no_deviation_and_an_interrupt_ends_them_all() -> None:
    assert fit_seeds(made, DATA, RECIPE, [1], show=False).deviation == 0.0

    def stop(row: dict[str, object]) -> None:
        raise KeyboardInterrupt

    done = fit_seeds(made, DATA, RECIPE, [1, 2], show=False, callbacks=[Chunks(stop)])
    assert (
        done.stopped and list(done.runs) == [1] and done.mean == math.inf and done.deviation == 0.0
    )


def test_a_run_interrupted_before_its_first_validation_has_no_part_in_the_mean() -> None:
    seen: list[dict[str, object]] = []

    def stop(row: dict[str, object]) -> None:
        seen.append(row)
        if row["step"] == 1 and len(seen) > 1:
            raise KeyboardInterrupt

    done = fit_seeds(made, DATA, RECIPE, [1, 2, 3], show=False, callbacks=[Chunks(stop)])
    assert done.stopped and list(done.runs) == [1, 2] and done.runs[2].best_loss == math.inf
    assert done.mean == done.runs[1].best_loss and done.deviation == 0.0


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_distinct(seeds: list[int]) -> None:
    with pytest.raises(
        ArgumentError, match="^seeds must be distinct whole numbers, at least one, got "
    ):
        fit_seeds(made, DATA, RECIPE, seeds, show=False)
    with pytest.raises(ArgumentError, match="^seed must be a whole number"):
        fit_seeds(made, DATA, RECIPE, [1, -1], show=False)
