"""Run a model once, and note every scan in it with the gradient that reaches its hidden states."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.cells.values import Values
from recurra.cells.wrappers import probe_name
from recurra.engine import Job, Scan, listening, probing, scan
from recurra.errors import ArgumentError
from recurra.inspection.example import Example, described
from recurra.inspection.loss import Cost, answer_of, check_loss_at, cost_of, last_steps, layout_of
from recurra.layers.replace import LAYERS, from_torch, replace


class Seen(NamedTuple):
    """One scan of a model.

    Attributes:
        name: the cell, and whether it ran backward.
        job: what the scan did, without gradients and probes.
        gradient: by the name of the state, (T, B, its width), dL/dh and dL/dc; empty where no loss
            was asked for.
    """

    name: str
    job: Job
    gradient: dict[str, Tensor]


def holds_torchs(model: nn.Module) -> bool:
    """Whether a model is or holds a recurrent module of torch.nn."""
    return any(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in model.modules())


def reachable(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """A model whose scans can be seen: itself, or where it holds torch.nn's layers a copy with
    recurra's in their place.

    The copy shares the parameters. The model itself is left alone.

    Returns:
        The model, and by name the recurrent modules of torch.nn that had to stay, with the reason.

    Raises:
        ArgumentError: the model holds layers of torch.nn and cannot be copied.

    >>> reachable(torch.nn.GRU(3, 4))[0]
    GRU(3, 4)
    """
    if type(model) in LAYERS:
        return from_torch(model), {}
    if not holds_torchs(model):
        return model, {}
    if isinstance(model, (nn.RNNBase, nn.RNNCellBase)):
        return model, {"model": "only plain torch.nn.RNN, LSTM and GRU can be seen into"}
    try:
        twin = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    except (RuntimeError, TypeError) as error:
        text = (
            f"model must be one that copy.deepcopy can copy, got {type(model).__name__}"
            f" ({str(error).splitlines()[0]})"
        )
        raise ArgumentError(f"{text}; call recurra.replace(model) on it first") from None
    return twin, replace(twin).left


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Leave torch's random generators, those of the model's devices too, as they were."""
    devices = sorted(
        {parameter.device.index or 0 for parameter in model.parameters() if parameter.is_cuda}
    )
    with torch.random.fork_rng(devices=devices):
        yield


class Observation(NamedTuple):
    """A model's run on an example, and its loss.

    Attributes:
        scans: in the order they ran.
        cost: the loss of every step together.
        asked: how many steps back the loss asks for, the median of the rows; None where that cannot
            be told, since it counts at many steps.
    """

    scans: list[Seen]
    cost: Cost
    asked: float | None


def observe_scans(model: nn.Module, example: Example) -> list[Seen]:
    """Run a model, and note its scans without any gradient."""
    return [_seen(job, {}) for job in _run(model, example)[1]]


@torch.enable_grad()
def observe(model: nn.Module, example: Example, loss_at: str = "every step") -> Observation:
    """Run a model on an example, and its loss back, in the mode that it is in.

    Args:
        model: a model that `reachable` gave.
        example: from `example_of`.
        loss_at: as for `gradient_flow`.

    Raises:
        ArgumentError, ShapeError: as for `gradient_flow`.
    """
    check_loss_at(loss_at)
    output, jobs = _run(model, example)
    names = [(job, name) for job in jobs for name in job.cell.state]
    probes = [(job.noise or {})[probe_name(name)] for job, name in names]
    longest = max(jobs, key=lambda job: len(job.x))
    if example.loss is None:
        answer = answer_of(model, output, example, longest)
        cost = cost_of(model, answer, "every step")
        read = _gradients(cost.total, [answer.output], retain=True)
        asked = _asked([read[0] if answer.counted is not None else None], longest)
        total = cost.total if loss_at == "every step" else cost_of(model, answer, loss_at).total
        gradients = _gradients(total, probes)
    else:
        cost = _own_cost(example, output)
        outputs = [each for each in _tensors(output) if each.requires_grad]
        read = _gradients(cost.total, outputs, retain=True)
        views = [_steps_of(model, each, longest) for each in read]
        asked = _asked(views, longest)
        gradients = _gradients(cost.total, probes, retain=True)
        if loss_at == "last step" and any(view is not None for view in views):
            _keep_last(views)
            gradients = list(
                torch.autograd.grad(
                    outputs, probes, read, allow_unused=True, materialize_grads=True
                )
            )
    by_job: dict[int, dict[str, Tensor]] = {}
    for (job, name), gradient in zip(names, gradients):
        by_job.setdefault(id(job), {})[name] = gradient.detach()
    return Observation([_seen(job, by_job[id(job)]) for job in jobs], cost, asked)


def _run(model: nn.Module, example: Example) -> tuple[Any, list[Job]]:
    """The output and the scans of a model, with a probe in each."""
    jobs: list[Job] = []
    with torch.enable_grad(), probing(), listening(lambda job, choice: jobs.append(job)):
        output = example.run(model)
    if not jobs:
        raise ArgumentError(
            f"model must run a recurra layer, got {type(model).__name__}, which ran none"
        )
    return output, jobs


def _own_cost(example: Example, output: Any) -> Cost:
    """The value of the caller's own loss."""
    total = example.loss(output) if example.loss else None
    if not isinstance(total, Tensor) or total.numel() != 1:
        raise ArgumentError(f"loss must give a tensor of one number, got {described(total)}")
    return Cost(total.reshape(()), float(total.detach()))


def _gradients(total: Tensor, of: list[Tensor], retain: bool = False) -> list[Tensor]:
    if not total.requires_grad:
        raise ArgumentError(
            "loss must depend on the model's recurrent layers, got one that does not; is their"
            " output detached?"
        )
    return list(
        torch.autograd.grad(
            total, of, retain_graph=retain, allow_unused=True, materialize_grads=True
        )
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in an output."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from (tensor for each in value.values() for tensor in _tensors(each))
    elif isinstance(value, (tuple, list)):
        yield from (tensor for each in value for tensor in _tensors(each))


def _steps_of(model: nn.Module, gradient: Tensor, job: Job) -> Tensor | None:
    """A view (T, B, ...) of a gradient at an output; None where it has no steps."""
    layout = layout_of(model, gradient, job, squeezed=True)
    return None if layout is None or gradient.ndim < 2 else layout.turn(gradient)


def _reads(view: Tensor) -> Tensor:
    """(T, B) bool: the steps at which a loss reads an output."""
    return view.detach().flatten(2).ne(0).any(-1)


def _keep_last(views: list[Tensor | None]) -> None:
    """Of gradients at outputs, leave those of each row's last step that is read, in place."""
    known = [view for view in views if view is not None]
    last = last_steps(torch.stack([_reads(view) for view in known]).any(0))
    for view in known:
        view.mul_(last.reshape(*last.shape, *[1] * (view.ndim - 2)))


def _asked(views: list[Tensor | None], job: Job) -> float | None:
    """How many steps back from where it is read a loss asks for: all, if it is read at one step of
    each row only.
    """
    read = [_reads(view) for view in views if view is not None and bool(view.ne(0).any())]
    if not read:  # an answer for each row
        ends = torch.full(job.x.shape[1:2], len(job.x)) if job.lengths is None else job.lengths
        return float((ends.double() - 1).clamp(min=0).median())
    steps = torch.stack(read).any(0)
    if bool((steps.sum(0) > 1).any()):
        return None
    ends = steps.long().argmax(0)[steps.any(0)]
    return float(ends.double().median())


def _seen(job: Job, gradient: dict[str, Tensor]) -> Seen:
    cell: Cell = getattr(job.cell, "cell")  # noqa: B009 - the engine's own probe is around it
    probes = {probe_name(state) for state in cell.state}
    noise = {
        name: factor.detach() for name, factor in (job.noise or {}).items() if name not in probes
    }
    plain = replace_fields(
        job,
        cell=cell,
        x=job.x.detach(),
        weights={name: weight.detach() for name, weight in job.weights.items()},
        state=_detached(job.state),
        initial=_detached(job.initial),
        noise=noise or None,
    )
    return Seen(repr(cell) + ", backward" * job.reverse, plain, gradient)


def _detached(state: Any) -> Any:
    return type(state)(*(value if value is None else value.detach() for value in state))


def rerun(
    job: Job, keep: Iterable[str], cell: Cell | None = None, noise: Values | None = None
) -> Scan:
    """Run a scan again by itself, by another cell and with further noise if given."""
    factors = {**(job.noise or {}), **(noise or {})}
    return scan(
        cell or job.cell,
        job.weights,
        job.x,
        job.state,
        lengths=job.lengths,
        resets=job.resets,
        reverse=job.reverse,
        noise=factors or None,
        keep=keep,
    )
