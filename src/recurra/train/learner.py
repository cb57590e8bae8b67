"""One chunk's update: loss, gradient, clipping, the optimiser's step, and the state to carry."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import state as states
from recurra.errors import ArgumentError
from recurra.models import LanguageModel
from recurra.models.features import Features
from recurra.train.optimizer import Average, make_optimizer
from recurra.train.processes import Alone
from recurra.train.recipe import Recipe
from recurra.train.schedule import Schedule
from recurra.train.streams import Chunk
from recurra.train.windows import Cut


class Figures(NamedTuple):
    """What an update showed.

    Attributes:
        loss: nats a token, without penalties.
        grad_norm: of all gradients, before clipping.
        lr: the rate it was done with.
        tokens: how many counted.
    """

    loss: float
    grad_norm: float
    lr: float
    tokens: int

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Learner:
    """A model with its optimiser, its rows of the streams, and the states it carries along them.

    Args:
        model: trained in place.
        recipe: how.
        streams: all rows; each process takes its share, in `recipe.accumulate` parts.
        team: the processes.
        updates: of the whole run, for the schedule.
    """

    def __init__(
        self, model: LanguageModel, recipe: Recipe, streams: Any, team: Alone, updates: int
    ) -> None:
        self.model, self.recipe, self.team = model, recipe, team
        self.shares = team.count * recipe.accumulate
        rows, first = recipe.batch // self.shares, team.rank * recipe.accumulate
        self.parts = [
            streams.rows(rows * i, rows * (i + 1)) for i in range(first, first + recipe.accumulate)
        ]
        self.carried: list[Any] = [None] * recipe.accumulate
        self.optimizer = make_optimizer(recipe, model)
        self.schedule = Schedule(recipe, updates)
        self.average = Average(model, recipe.average_after) if recipe.optimizer == "asgd" else None
        self.updates = 0
        self.chunks: list[
            Chunk
        ] = []  # of the last update, and what came before them, to find out what went wrong
        self.before: tuple[list[Any], Tensor] = ([], torch.empty(0))

    def learn(self, cut: Cut, epoch: int) -> Figures | None:
        """Do an update, unless loss or gradient is not finite: then weights and states stay as they
        were.

        Args:
            cut: the chunk's place in the streams.
            epoch: the pass.

        Returns:
            What it showed; None where nothing in the chunk is predicted, so that there is nothing
            to learn.
        """
        self.chunks = [part.chunk(cut).to(self.team.device) for part in self.parts]
        counts = [chunk.tokens for chunk in self.chunks]
        (total,) = self.team.sum(sum(counts))
        if not total:
            self.carried = [None] * len(
                self.parts
            )  # the last step predicts nothing in any row, so a document begins after it
            return None
        self.before = (list(self.carried), torch.get_rng_state())
        self.optimizer.zero_grad()
        after, loss = [], 0.0
        for chunk, state, count in zip(self.chunks, self.carried, counts):
            mean, state = self._backward(chunk, state, count / total)
            after.append(state)
            loss += mean * count / total
        if self.team.count > 1:
            self.team.add_gradients(self.model.parameters())
            (loss,) = self.team.sum(loss)
        lr = self.schedule.rate(
            self.updates,
            epoch,
            (cut.stop - cut.start) / self.recipe.window if self.recipe.vary_window else 1.0,
        )
        figures = Figures(loss, self._clip(), lr, int(total))
        if figures.finite:
            self._step(lr)
            self.carried = after
        return figures

    def _backward(self, chunk: Chunk, state: Any, weight: float) -> tuple[float, Any]:
        """Add a part's gradients; give its mean loss and the state to carry."""
        if not weight:
            return 0.0, None
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(self.team.device.type, torch.bfloat16, enabled=low):
            cost, penalty, state = chunk_cost(self.model, chunk, state, self.recipe)
        whole = cost if weight == 1 else cost * weight
        (whole if penalty is None else whole + penalty / self.shares).backward()
        return cost.item(), states.redraw(states.detach(state))

    def _clip(self) -> float:
        limit = math.inf if self.recipe.clip_norm is None else self.recipe.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        if self.recipe.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.model.parameters(), self.recipe.clip_value)
        return norm

    def _step(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.updates += 1
        if self.average:
            self.average.update()

    def judge(self, validation_loss: float) -> None:
        """Take note of a validation."""
        self.schedule.judge(validation_loss)
        if self.average:
            self.average.judge(validation_loss)


def check_model(model: Any, *methods: str) -> None:
    """Raise unless a model has the methods of one that is trained here; says what to do with
    another.
    """
    if all(hasattr(model, method) for method in methods):
        return
    got = type(model).__name__
    way = (
        "for a module of your own, walk through recurra.train.tbptt(recurra.train.Streams(x, y),"
        " window) in a loop of your own"
    )
    raise ArgumentError(f"model must be a recurra.models.LanguageModel, got {got}; {way}")


def chunk_cost(
    model: LanguageModel, chunk: Chunk, state: Any, recipe: Recipe | None = None
) -> tuple[Tensor, Tensor | None, Any]:
    """The mean cost of a chunk's counted steps, its penalty, and the state to carry.

    Where the state is carried from the middle of the chunk (stride < window), the chunk runs in two
    parts.

    Args:
        model: the model.
        chunk: from `tbptt`.
        state: the state before the chunk.
        recipe: for the penalties on activations; none if None.

    Returns:
        The cost in nats a token, the penalty (None where the recipe has none), and the state after
        `chunk.carry` steps.
    """
    check_model(model, "features", "cost")
    k, counted = chunk.carry, slice(-chunk.counted, None)
    features = model.features(
        chunk.x[:k], state, resets=None if chunk.resets is None else chunk.resets[:k]
    )
    carried = features.state
    if k < len(chunk.x):
        rest = model.features(
            chunk.x[k:], carried, resets=None if chunk.resets is None else chunk.resets[k:]
        )
        features = Features(
            torch.cat([features.dropped, rest.dropped]),
            torch.cat([features.raw, rest.raw]),
            carried,
        )
    cost = model.cost(features.dropped[counted], chunk.y[counted])
    if recipe is None or not (recipe.activation_penalty or recipe.temporal_penalty):
        return cost, None, carried
    return (
        cost,
        model.penalty(features, recipe.activation_penalty, recipe.temporal_penalty, chunk.resets),
        carried,
    )


def chunk_loss(model: LanguageModel, chunk: Chunk, state: Any) -> tuple[Tensor, Any]:
    """The mean loss of a chunk's counted steps, and the state to carry: for a loop of one's own.

    Args:
        model: the model.
        chunk: from `tbptt`.
        state: the state before the chunk.

    Returns:
        The loss in nats a token, and the state after `chunk.carry` steps.
    """
    cost, _, carried = chunk_cost(model, chunk, state)
    return cost, carried
