"""One recipe with several seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recurra.errors import ArgumentError
from recurra.models import LanguageModel
from recurra.train.corpus import Corpus
from recurra.train.fit import fit
from recurra.train.recipe import Recipe
from recurra.train.run import Run


class Repeated(NamedTuple):
    """What several runs of one recipe came to.

    Attributes:
        runs: by seed.
        mean, deviation: of the best validation losses, in nats a token, of the runs that came to
            one; the sample standard deviation, 0 for one run; inf and 0 where none did.
        stopped: whether one was interrupted; those after it were not begun.
    """

    runs: dict[int, Run]
    mean: float
    deviation: float
    stopped: bool


def fit_seeds(
    make: Callable[[], LanguageModel],
    data: Corpus,
    recipe: Recipe,
    seeds: Sequence[int],
    out: str | PathLike[str] | None = None,
    **options: Any,
) -> Repeated:
    """Train one model a seed; weights, dropout and windows all follow from the seed.

    Args:
        make: makes a model; the seed is set before.
        data, recipe: as for `fit`; the recipe's own seed is not used.
        seeds: distinct whole numbers.
        out: a folder for the runs' folders seed-0, seed-1 and so on; None: nothing is written.
        **options: `show` and `callbacks` of `fit`.

    Raises:
        ArgumentError: `seeds` is empty or repeats one.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(
            f"seeds must be distinct whole numbers, at least one, got {list(seeds)}"
        )
    recipes = [
        replace(recipe, seed=seed) for seed in seeds
    ]  # each is looked at before the first run begins
    runs: dict[int, Run] = {}
    for each in recipes:
        torch.manual_seed(each.seed)
        runs[each.seed] = fit(
            make(), data, each, None if out is None else Path(out) / f"seed-{each.seed}", **options
        )
        if runs[each.seed].stopped:
            break
    losses = [run.best_loss for run in runs.values() if math.isfinite(run.best_loss)]
    mean = statistics.fmean(losses) if losses else math.inf
    stopped = any(run.stopped for run in runs.values())
    return Repeated(runs, mean, statistics.stdev(losses) if len(losses) > 1 else 0.0, stopped)
