"""One side of a measurement: a module, how it is called, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.kernels.noise import draw
from recurra.layers import Recurrent


class Side(NamedTuple):
    """A module and how it is called.

    Attributes:
        module: holds the weights.
        call: (module, x, noise) to the output and the final state.
        gradients: whether a run has a backward pass.
    """

    module: nn.Module
    call: Callable[[nn.Module, Tensor, Any], tuple[Tensor, Any]]
    gradients: bool = True

    def way(self, x: Tensor) -> Callable[[], object]:
        """What is timed: forward and backward with gradients of x and of every weight, or forward
        alone.
        """
        if not self.gradients:
            return lambda: _without(self, x)
        x = x.clone().requires_grad_()
        given = torch.ones_like(self.call(self.module, x, None)[0]) / len(x)
        wanted = [x, *self.module.parameters()]
        return lambda: torch.autograd.grad(self.call(self.module, x, None)[0], wanted, given)

    def noise(self, x: Tensor) -> dict[str, Tensor] | None:
        """The noise of one run, drawn apart so that others can be given the same; None where there
        is none.
        """
        if not isinstance(self.module, Recurrent):
            return None
        return draw(self.module.cell, (x.shape[0], x.shape[1]), self.module.hidden_size, x) or None

    def results(self, x: Tensor, noise: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every value that one run gives, by name: output, final state, and the gradients of a
        fixed sum of them.
        """
        if not self.gradients:
            return dict(_named(_without(self, x)))
        x = x.clone().requires_grad_()
        values = dict(_named(self.call(self.module, x, noise)))
        total = sum((value * _pattern(value)).sum() for value in values.values())
        inputs = {"x": x, **dict(self.module.named_parameters())}
        gradients = torch.autograd.grad(total, list(inputs.values()))  # type: ignore[arg-type]
        return values | {
            f"the gradient of {name}": gradient for name, gradient in zip(inputs, gradients)
        }


def plain(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
    """Call a module on a sequence."""
    done: tuple[Tensor, Any] = module(x)
    return done


def with_noise(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
    """Call a `Recurrent`; what noise is not given it draws itself, as in training."""
    done = module.scan(x, noise=noise)  # type: ignore[operator]
    return done.h, done.final


def step_by_step(
    step: Callable[[nn.Module, Tensor, Any], tuple[Tensor, Any]],
) -> Callable[[nn.Module, Tensor, Any], tuple[Tensor, Any]]:
    """A call that runs one step after another and carries the state."""

    def call(module: nn.Module, x: Tensor, noise: Any) -> tuple[Tensor, Any]:
        outputs, state = [], None
        for row in x.unbind(0):
            y, state = step(module, row, state)
            outputs.append(y)
        return torch.stack(outputs), state

    return call


@torch.no_grad()
def _without(side: Side, x: Tensor) -> tuple[Tensor, Any]:
    return side.call(side.module, x, None)


def _named(done: tuple[Tensor, Any]) -> Iterator[tuple[str, Tensor]]:
    yield "the output", done[0]
    yield from (
        (f"the final state ({number})", value) for number, value in enumerate(_tensors(done[1]), 1)
    )


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    else:
        for value in state:
            yield from _tensors(value)


def _pattern(value: Tensor) -> Tensor:
    """Fixed factors, none like its neighbour."""
    return (
        torch.arange(1, value.numel() + 1, dtype=torch.float64)
        .cos()
        .to(value.dtype)
        .view(value.shape)
    )
