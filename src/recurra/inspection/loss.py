"""The loss whose gradient is looked at, and how it compares with an answer that needs no net."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from recurra.engine import Job
from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.inspection.example import Example, described

LOSS_AT = ("every step", "last step")
IGNORED = -100
"""A target that is not counted, as torch.nn.functional.cross_entropy has it."""


class Cost(NamedTuple):
    """A loss of a model's output.

    Attributes:
        total: (), what is differentiated.
        figure: what people read: nats a label, the mean squared error, or the value of a loss of
            one's own.
        naive: the same of the naive baseline on the same targets; None where there is none.
        baseline: what the naive baseline is.
        unit: of the figure.
    """

    total: Tensor
    figure: float | None = None
    naive: float | None = None
    baseline: str = ""
    unit: str = ""


class Answer(NamedTuple):
    """A model's output as a loss sees it.

    Attributes:
        output: (T, B, ...) where it has steps, else as the model gave it.
        target: in the same order, or None.
        counted: (T, B) bool, the steps that count; None where there are no steps.
    """

    output: Tensor
    target: Any
    counted: Tensor | None


def check_loss_at(loss_at: str) -> None:
    """Raise unless it is known where the loss counts."""
    if loss_at not in LOSS_AT:
        raise ArgumentError(f"loss_at must be {' or '.join(map(repr, LOSS_AT))}, got {loss_at!r}")


def answer_of(model: nn.Module, output: Any, example: Example, job: Job) -> Answer:
    """Turn an output and its target time-major, and find which steps count: none past a row's
    length, and no target of -100.

    Args:
        model: what gave the output.
        output: (T, B, ...), (B, T, ...) or (T, ...) where it has a step for each of the scan's,
            else of any shape; a PackedSequence; or the first of a pair, whose other half is a
            state.
        example: what the model was run on.
        job: the model's longest scan, which has T and B.

    Raises:
        ArgumentError, ShapeError: the output is not one tensor, or the target does not fit it.
    """
    lengths = lengths_of(example, job)
    output, packed = _padded(_one_tensor(model, output))
    target, _ = _padded(example.target)
    lengths = lengths if packed is None else packed
    if target is not None and not isinstance(target, Tensor):
        raise ArgumentError(
            f"target must be a tensor, got {described(target)}; give loss=, a function of the"
            " model's output"
        )
    squeezed = target is not None and target.is_floating_point() and target.shape == output.shape
    layout = layout_of(model, output, job, squeezed)
    if layout is None:
        return Answer(output, target, None)
    _check_target(target, output)
    steps, target = layout.turn(output), None if target is None else layout.turn(target)
    counted = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
    if lengths is not None:
        counted = torch.arange(len(steps), device=steps.device)[:, None] < lengths.to(steps.device)
    if target is not None and not target.is_floating_point():
        counted = counted & (target != IGNORED)
    return Answer(steps, target, counted)


def _one_tensor(model: nn.Module, output: Any) -> Any:
    """The output alone, of an output or a pair of it and a state."""
    if (
        isinstance(output, (tuple, list))
        and len(output) == 2
        and not isinstance(output, PackedSequence)
    ):
        output = output[0]
    if not isinstance(output, (Tensor, PackedSequence)):
        text = (
            "loss must be given for a model that gives neither a tensor nor a tensor and a state,"
            f" got {described(output)}"
        )
        raise ArgumentError(f"{text} from {type(model).__name__}; give loss=, a function of it")
    return output


def _padded(value: Any) -> tuple[Any, Tensor | None]:
    """A PackedSequence as (T, B, ...) with its rows' lengths; anything else as it is."""
    return pad_packed_sequence(value) if isinstance(value, PackedSequence) else (value, None)


def _check_target(y: Tensor | None, output: Tensor) -> None:
    """Raise unless a target is of the output's shape, or, as whole numbers, of its shape without
    the last axis.
    """
    if y is None:
        return
    shape = output.shape if y.is_floating_point() else output.shape[:-1]
    if y.shape != shape:
        raise ShapeError(
            f"y must have shape {shape_text(shape)}, as the output has, got {shape_text(y.shape)};"
            " nothing is broadcast"
        )


def cost_of(model: nn.Module, answer: Answer, loss_at: str) -> Cost:
    """The loss of a model's output.

    Args:
        model: with `cross_entropy(output, y)` of its own, or without: then half the sum of squares
            of output - y, the mean cross entropy where y holds whole numbers, and half the sum of
            squares of the output where there is no y.
        answer: from `answer_of`.
        loss_at: "every step", or "last step": of each row the last that counts.

    Raises:
        ArgumentError, ShapeError: there is no y where one is needed, it does not fit, or none of it
            counts.
    """
    output, y = answer.output, answer.target
    own = getattr(model, "cross_entropy", None)
    if callable(own) and y is None:
        raise ArgumentError(f"batch must be (x, y) for {type(model).__name__}, got x alone")
    if answer.counted is not None:
        counted = last_steps(answer.counted) if loss_at == "last step" else answer.counted
        if not bool(counted.all()):
            output, y = output[counted][:, None], None if y is None else y[counted][:, None]
    whole_numbers = y is not None and not y.is_floating_point()
    if not output.numel() or (whole_numbers and not bool((y != IGNORED).any())):
        raise ArgumentError(
            f"y must hold a target that counts, got only {IGNORED} or steps past the rows' lengths"
        )
    if callable(own):
        total = own(output, y)
        return Cost(total, float(total.detach()), *_by_frequency(y))
    if y is None:
        return Cost(0.5 * output.square().sum())
    _check_target(y, output)
    if whole_numbers:
        total = F.cross_entropy(
            output.reshape(-1, output.shape[-1]), y.reshape(-1).long(), ignore_index=IGNORED
        )
        return Cost(total, float(total.detach()), *_by_frequency(y))
    squares = (output - y).square()
    return Cost(0.5 * squares.sum(), float(squares.detach().mean()), *_by_mean(y))


def _by_frequency(y: Tensor) -> tuple[float | None, str, str]:
    """What always saying how often each label comes costs: the entropy of the labels."""
    labels = y[y != IGNORED]
    if labels.numel() < 2:
        return None, "", "nats a label"
    shares = labels.unique(return_counts=True)[1].double() / labels.numel()
    return (
        float(-(shares * shares.log()).sum()),
        "answering by how often each label comes",
        "nats a label",
    )


def _by_mean(y: Tensor) -> tuple[float | None, str, str]:
    """What always answering the mean costs: the variance of the targets."""
    rows = y.reshape(-1, y.shape[-1]).double() if y.ndim > 1 else y.double()[:, None]
    if len(rows) < 2:
        return None, "", "mean squared error"
    return (
        float((rows - rows.mean(0)).square().mean()),
        "always answering the mean",
        "mean squared error",
    )


def last_steps(counted: Tensor) -> Tensor:
    """(T, B) bool: of the steps that count, each row's last."""
    later = counted.flip(0).cumsum(0).flip(0)
    return counted & (later == 1)


def lengths_of(example: Example, job: Job) -> Tensor | None:
    """The rows' lengths in the order of the output's rows, or None where all are whole.

    A model may sort its rows on their way in; so the lengths are taken as the inputs hold them, and
    only where these hold none in the order in which the scan ran them.
    """
    if job.lengths is None:
        return None
    known = job.lengths.sort().values.tolist()
    for value in (*example.inputs, *example.options.values()):
        given = value.tolist() if isinstance(value, Tensor) and value.ndim == 1 else value
        if (
            isinstance(given, (list, tuple))
            and all(isinstance(each, int) for each in given)
            and sorted(given) == known
        ):
            return torch.tensor(given)
    return job.lengths


class Layout(NamedTuple):
    """Where an output has its steps and rows.

    Attributes:
        axes: "steps first", "rows first", or "one row", which has no axis of rows.
        squeezed: each step is one number, without an axis of its own.
    """

    axes: str
    squeezed: bool

    def turn(self, value: Tensor) -> Tensor:
        """A view (T, B, ...) of what is laid out so."""
        wide = value[..., None] if self.squeezed else value
        return (
            wide.transpose(0, 1)
            if self.axes == "rows first"
            else wide[:, None]
            if self.axes == "one row"
            else wide
        )


def layout_of(model: nn.Module, value: Tensor, job: Job, squeezed: bool = False) -> Layout | None:
    """How an output that has a step for each of the scan's is laid out; None where it has no steps.

    Args:
        model: what gave it; asked for `batch_first` only where the shape does not tell.
        value: the output.
        job: the scan, with T and B.
        squeezed: whether (T, B) and (B, T) are taken for steps of one number, too.
    """
    steps, rows = job.x.shape[:2]
    shape = tuple(value.shape[:2])
    if value.ndim == 2 and rows == 1 and len(value) == steps:
        return Layout("one row", squeezed=False)
    if value.ndim < 2 + (not squeezed):
        return None
    if shape == (rows, steps) and (steps != rows or _batch_first(model)):
        return Layout("rows first", value.ndim == 2)
    return Layout("steps first", value.ndim == 2) if shape == (steps, rows) else None


def _batch_first(model: nn.Module) -> bool:
    """Whether the model, or else any layer in it, takes the batch first."""
    own = getattr(model, "batch_first", None)
    return (
        own
        if isinstance(own, bool)
        else any(getattr(module, "batch_first", False) for module in model.modules())
    )
