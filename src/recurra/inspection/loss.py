"""The loss whose gradient is looked at."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from recurra.engine import Job
from recurra.errors import ArgumentError, ShapeError, shape_text

LOSS_AT = ("every step", "last step")


def check_loss_at(loss_at: str) -> None:
    """Raise unless it is known where the loss counts."""
    if loss_at not in LOSS_AT:
        raise ArgumentError(f"loss_at must be {' or '.join(map(repr, LOSS_AT))}, got {loss_at!r}")


def loss_of(model: nn.Module, output: Tensor, y: Tensor | None, job: Job, loss_at: str) -> Tensor:
    """The loss of a model's output.

    Args:
        model: with `cross_entropy(output, y)` of its own, or without: then half the sum of squares of output - y, the mean
            cross entropy where y holds whole numbers, and half the sum of squares of the output where y is None.
        output: (T, B, ...), (B, T, ...) or (T, ...) where it has a step for each of the scan's, else of any shape.
        y: of the output's shape; as whole numbers, without its last axis.
        job: the model's first scan, which has T and B.
        loss_at: "every step" or "last step"; an output without steps counts whole.

    Returns:
        The loss, ().

    Raises:
        ArgumentError, ShapeError: there is no y where one is needed, or it does not fit.
    """
    output, y, steps = _time_first(model, output, y, job)
    if steps and loss_at == "last step":
        output, y = output[-1:], None if y is None else y[-1:]
    if callable(own := getattr(model, "cross_entropy", None)):
        if y is None:
            raise ArgumentError(f"batch must be (x, y) for {type(model).__name__}, got x alone")
        loss: Tensor = own(output, y)
        return loss
    if y is not None and not y.is_floating_point():
        _check(y, output.shape[:-1])
        return F.cross_entropy(output.reshape(-1, output.shape[-1]), y.reshape(-1))
    if y is not None:
        _check(y, output.shape)
    return 0.5 * (output if y is None else output - y).square().sum()


def _check(y: Tensor, shape: Any) -> None:
    if y.shape != shape:
        raise ShapeError(f"y must have shape {shape_text(shape)}, as the output has, got {shape_text(y.shape)}; nothing is broadcast")


def _time_first(model: nn.Module, output: Tensor, y: Tensor | None, job: Job) -> tuple[Tensor, Tensor | None, bool]:
    """Turn an output and its targets time-major; say whether they have steps at all."""
    steps, rows = job.x.shape[:2]
    if output.ndim == 2 and rows == 1 and len(output) == steps:
        return output, y, True
    shape = tuple(output.shape[:2])
    first = steps != rows or _batch_first(model)
    if output.ndim >= 3 and shape == (rows, steps) and first:
        return output.transpose(0, 1), y if y is None or y.ndim < 2 else y.transpose(0, 1), True
    return output, y, output.ndim >= 3 and shape == (steps, rows)


def _batch_first(model: nn.Module) -> bool:
    """Whether the model, or else any layer in it, takes the batch first: asked only where the shapes do not tell."""
    own = getattr(model, "batch_first", None)
    return own if isinstance(own, bool) else any(getattr(module, "batch_first", False) for module in model.modules())
