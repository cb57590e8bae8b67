"""Run a model once, and note every scan in it with the gradient that reaches its hidden states."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.cells.cell import Values
from recurra.engine import Job, Scan, listening, probing, scan
from recurra.errors import ArgumentError
from recurra.inspection.loss import check_loss_at, loss_of
from recurra.layers.replace import LAYERS, from_torch, replace


class Seen(NamedTuple):
    """One scan of a model.

    Attributes:
        name: the cell, and whether it ran backward.
        job: what the scan did, without gradients and probes.
        gradient: (T, B, width of h), dL/dh.
    """

    name: str
    job: Job
    gradient: Tensor


def reachable(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """A model whose scans can be seen: itself, or where it holds torch.nn's layers a copy with recurra's in their place.

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
    if not any(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in model.modules()):
        return model, {}
    if isinstance(model, (nn.RNNBase, nn.RNNCellBase)):
        return model, {"model": "only plain torch.nn.RNN, LSTM and GRU can be seen into"}
    try:
        twin = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    except (RuntimeError, TypeError) as error:
        text = f"model must be one that copy.deepcopy can copy, got {type(model).__name__} ({str(error).splitlines()[0]})"
        raise ArgumentError(f"{text}; call recurra.replace(model) on it first") from None
    return twin, replace(twin).left


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Leave torch's random generators, those of the model's devices too, as they were."""
    devices = sorted({parameter.device.index or 0 for parameter in model.parameters() if parameter.is_cuda})
    with torch.random.fork_rng(devices=devices):
        yield


def observe(model: nn.Module, batch: Any, state: Any = None, loss_at: str = "every step") -> list[Seen]:
    """Run a model on a batch, and its loss back, in the mode that it is in.

    Args:
        model: a model that `reachable` gave.
        batch, state, loss_at: as for `gradient_flow`.

    Returns:
        Every scan, in the order they ran.

    Raises:
        ArgumentError, ShapeError: as for `gradient_flow`.
    """
    if not isinstance(batch, (tuple, list)) or not batch:
        raise ArgumentError(f"batch must be a tuple (x,) or (x, y), got {type(batch).__name__}")
    check_loss_at(loss_at)
    jobs: list[Job] = []
    with torch.enable_grad(), probing(), listening(lambda job, choice: jobs.append(job)):
        output = _call(model, batch[0], state, getattr(batch, "resets", None))
        if not jobs:
            raise ArgumentError(f"model must run a recurra layer, got {type(model).__name__}, which ran none")
        loss = loss_of(model, output, batch[1] if len(batch) > 1 else None, jobs[0], loss_at)
    probes = [(job.noise or {})["probe"] for job in jobs]
    gradients = torch.autograd.grad(loss, probes, allow_unused=True, materialize_grads=True)
    return [_seen(job, gradient.detach()) for job, gradient in zip(jobs, gradients)]


def _call(model: nn.Module, x: Any, state: Any, resets: Any) -> Tensor:
    """The output alone; a module that takes no state is not given any."""
    options = {} if resets is None else {"resets": resets}
    needed = [
        each for each in inspect.signature(model.forward).parameters.values()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]  # fmt: skip
    done = model(x, **options) if state is None and len(needed) < 2 else model(x, state, **options)
    output = done[0] if isinstance(done, (tuple, list)) and not hasattr(done, "batch_sizes") else done
    if not isinstance(output, Tensor):
        text = f"model must give a tensor, or a tensor and a state, got {type(output).__name__}"
        raise ArgumentError(f"{text}; give it padded rows in place of a PackedSequence" if hasattr(output, "batch_sizes") else text)
    return output


def _seen(job: Job, gradient: Tensor) -> Seen:
    cell: Cell = getattr(job.cell, "cell")  # noqa: B009 - the engine's own probe is around it
    noise = {name: factor.detach() for name, factor in (job.noise or {}).items() if name != "probe"}
    plain = replace_fields(
        job, cell=cell, x=job.x.detach(), weights={name: weight.detach() for name, weight in job.weights.items()},
        state=_detached(job.state), initial=_detached(job.initial), noise=noise or None,
    )  # fmt: skip
    return Seen(repr(cell) + ", backward" * job.reverse, plain, gradient)


def _detached(state: Any) -> Any:
    return type(state)(*(value if value is None else value.detach() for value in state))


def rerun(job: Job, keep: Iterable[str], cell: Cell | None = None, noise: Values | None = None) -> Scan:
    """Run a scan again by itself, by another cell and with further noise if given."""
    factors = {**(job.noise or {}), **(noise or {})}
    return scan(
        cell or job.cell, job.weights, job.x, job.state, lengths=job.lengths, resets=job.resets, reverse=job.reverse,
        noise=factors or None, keep=keep,
    )  # fmt: skip
