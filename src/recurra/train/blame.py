"""Where numbers that are not finite came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra.train.learner import Learner, chunk_cost


def first_not_finite(learner: Learner) -> str:
    """Say what was not finite first in the last update: a weight, a layer's output, or a layer's
    gradient.

    The chunk is run again from the state and the generator it began with. Forward, the first part
    in the order of running is named; backward, the first in the order that gradients travel, which
    is the last in the order of running.

    Args:
        learner: after an update whose figures were not finite.
    """
    model = learner.model
    if broken := weights_not_finite(model):
        return broken
    carried, generator = learner.before
    torch.set_rng_state(generator)
    for chunk, state in zip(learner.chunks, carried):
        if any(not bool(value.isfinite().all()) for value in _tensors(state)):
            return "the state carried from the chunk before is not finite"
        order: list[tuple[str, Tensor]] = []
        handles = [
            part.register_forward_hook(_recorder(name, order))
            for name, part in model.named_modules()
            if not list(part.children())
        ]
        try:
            cost, _, _ = chunk_cost(model, chunk, state)
        finally:
            for handle in handles:
                handle.remove()
        forward = next((name for name, value in order if not bool(value.isfinite().all())), None)
        if forward is not None:
            return f"the output of {forward} went first"
        if not bool(cost.isfinite()):
            return "the loss itself went first, out of finite outputs"
        if (found := _gradient(model, order, cost)) is not None:
            return found
    return "nothing is not finite when the chunk is run again"


def weights_not_finite(model: nn.Module) -> str | None:
    """Name the first weights that are not finite; None if all are.

    >>> weights_not_finite(nn.Linear(2, 1))
    """
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            return f"the weights {name} are not finite"
    return None


def _gradient(model: nn.Module, order: list[tuple[str, Tensor]], cost: Tensor) -> str | None:
    """The part through which the gradient passed when it was finite before and not after; or whose
    weights' is not.
    """
    seen = [(name, value) for name, value in order if value.requires_grad]
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(cost, [value for _, value in seen + weights], allow_unused=True)
    through = "the loss"
    for (name, _), gradient in reversed(list(zip(seen, gradients))):
        if gradient is not None and not bool(gradient.isfinite().all()):
            return f"the gradient went first on its way back through {through}"
        through = name
    for (name, _), gradient in zip(weights, gradients[len(seen) :]):
        if gradient is not None and not bool(gradient.isfinite().all()):
            return f"the gradient of {name} went first"
    return None


def _recorder(name: str, order: list[tuple[str, Tensor]]) -> Any:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        values = [value for value in _tensors(output) if value.is_floating_point()]
        order.extend((name or "the model", value) for value in values[:1])

    return record


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
