"""The loss of a model over streams."""

from __future__ import annotations

from typing import Any

import torch

from recurra.errors import DataError
from recurra.models import LanguageModel
from recurra.models.mode import evaluating
from recurra.train.learner import check_model
from recurra.train.processes import Alone
from recurra.train.streams import tbptt


def evaluate(
    model: LanguageModel, streams: Any, window: int = 100, team: Alone | None = None
) -> float:
    """The mean loss of a model over streams, state carried, as at evaluation.

    Args:
        model: the model; its mode is left as it was.
        streams: the data.
        window: steps at a time; changes memory, not the result.
        team: processes, each of which takes its share of the rows; this one alone if None.

    Returns:
        Nats a token.

    Raises:
        DataError: no target counts.
        ArgumentError: the model is no language model; says what to do.
    """
    check_model(model, "loss")
    rank, count = (team.rank, team.count) if team else (0, 1)
    first, last = (streams.batch * i // count for i in (rank, rank + 1))
    total, tokens, state, device = 0.0, 0.0, None, next(model.parameters()).device
    with torch.no_grad(), evaluating(model):
        for given in (
            tbptt(streams if count == 1 else streams.rows(first, last), window)
            if last > first
            else ()
        ):
            chunk = given.to(device)
            loss, state = model.loss(chunk.x, chunk.y, state, resets=chunk.resets)
            total, tokens = total + float(loss) * chunk.tokens, tokens + chunk.tokens
    if team:
        total, tokens = team.sum(total, tokens)
    if not tokens:
        raise DataError("streams must hold a target that counts, got none")
    return total / tokens
