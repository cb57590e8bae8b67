"""What every module over time promises."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from recurra.errors import ArgumentError

FORWARD = frozenset({"forward"})


class SequenceModule(nn.Module):
    """A module over time: state in, state out, nothing remembered between calls.

    `forward(x, state, lengths=, resets=)` takes (T, B, I); `step(x, state)` takes (B, I) and gives
    the same numbers. A state of None is the module's own first state.
    """

    @abstractmethod
    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run a whole sequence, or a chunk of one."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run one step.

        Args:
            x: (B, I).
            state: the state before.

        Returns:
            The output (B, ...) and the state after.

        Raises:
            ArgumentError: the module cannot stream; gives the reason.
        """
        if why := self.streaming_obstacle():
            raise ArgumentError(
                f"step must be called on a module that can stream, got {type(self).__name__}: {why}"
            )
        if not torch.compiler.is_compiling() and (done := self.step_at_once(x, state)) is not None:
            return done
        y, state = run_time_first(self, x[None], state)
        return y[0], state

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        """One step as `step` runs it, without the ways round; None where it cannot be had, and a
        call is to say why.

        >>> with torch.no_grad():
        ...     done = recurra.GRU(3, 4).step_at_once(torch.zeros(2, 3), torch.zeros(1, 2, 4))
        >>> done[0].shape
        torch.Size([2, 4])
        """
        return None

    def streaming_obstacle(self) -> str | None:
        """Why this module cannot run step by step; None if it can."""
        for name, child in self.named_children():
            if isinstance(child, SequenceModule) and (why := child.streaming_obstacle()):
                return f"{name}: {why}" if not why.startswith("layer ") else why
        return None


def unchanged(module: nn.Module, kind: type[nn.Module], methods: Set[str]) -> bool:
    """Whether to call a module is to run the methods of `kind` on its own parameters: nothing
    hooked, overridden, computed.

    >>> layer = recurra.GRU(3, 4)
    >>> unchanged(layer, recurra.GRU, {"forward"})
    True
    >>> handle = layer.register_forward_hook(print)
    >>> unchanged(layer, recurra.GRU, {"forward"})
    False
    """
    if (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    ):
        return False
    own, actual = module.__dict__, type(module)
    if (
        not own.keys().isdisjoint(methods)
        or module._compiled_call_impl is not None
        or "parametrizations" in module._modules
    ):
        return False
    return not _has_any_global_hook() and (
        actual is kind or all([getattr(actual, name) is getattr(kind, name) for name in methods])
    )


def run_time_first(
    module: nn.Module, x: Tensor, state: Any = None, *, resets: Any = None, **options: Any
) -> tuple[Tensor, Any]:
    """Run a module over time on (T, B, ...), with resets (T, B), whatever order of axes it takes.

    >>> run_time_first(recurra.GRU(3, 4, batch_first=True), torch.zeros(5, 2, 3))[0].shape
    torch.Size([5, 2, 4])
    """
    turns = getattr(module, "batch_first", False)
    if resets is not None:
        options["resets"] = resets.T if turns else resets
    y, state = module(x.transpose(0, 1) if turns else x, state, **options)
    return y.transpose(0, 1) if turns else y, state


def zero_past(lengths: Any, x: Tensor) -> Tensor:
    """The steps of x (T, B, ...) within each row's length, zero past it; all of x without lengths.

    >>> zero_past([1, 2], torch.ones(2, 2, 1))[..., 0]
    tensor([[1., 1.],
            [0., 1.]])
    """
    if lengths is None:
        return x
    valid = torch.arange(x.shape[0], device=x.device)[:, None] < torch.as_tensor(
        lengths, device=x.device
    )
    return torch.where(
        valid[(...,) + (None,) * (x.ndim - 2)], x, torch.zeros((), dtype=x.dtype, device=x.device)
    )
