"""Modules over time made of others: one after another, both ways, around a shortcut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import ArgumentError, ShapeError
from recurra.layers.sequence import FORWARD, SequenceModule, unchanged, zero_past


class Stack(SequenceModule):
    """Layers one after another; the state is the tuple of their states.

    Args:
        layers: modules over time, or plain modules that act on each step alone (Linear, LayerNorm, Dropout);
            a plain module's state is None, and past a row's length it sees and gives zero.

    Raises:
        ArgumentError: there is no layer, or one is not a module, takes the batch first or is torch.nn's own.

    >>> net = Stack([recurra.Recurrent(recurra.cells.GRU(), 3, 4), nn.Linear(4, 2)])
    >>> net(torch.zeros(5, 1, 3))[0].shape
    torch.Size([5, 1, 2])
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        layers = list(layers)
        for layer in layers:
            if not isinstance(layer, nn.Module):
                raise ArgumentError(f"layers must be modules, got {layer!r}")
            if isinstance(layer, nn.RNNBase):
                raise ArgumentError(f"layers must be recurra's, got torch.nn's {layer!r}; use recurra.layers.from_torch")
            _check_time_major("layers", layer)
        if not layers:
            raise ArgumentError("layers must hold at least one module, got none")
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Run every layer in turn; arguments and returns as for `Recurrent`."""
        if state is None:
            state = (None,) * len(self.layers)
        if not isinstance(state, tuple) or len(state) != len(self.layers):
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise ShapeError(f"state must be a tuple of {len(self.layers)}, one for each layer, got {got}")
        after = []
        for layer, before in zip(self.layers, state):
            if isinstance(layer, SequenceModule):
                x, before = layer(x, before, lengths=lengths, resets=resets)
            else:
                x = zero_past(lengths, layer(zero_past(lengths, x)))
            after.append(before)
        return x, tuple(after)

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        if not unchanged(self, Stack, FORWARD):
            return None
        if state is None:
            state = (None,) * len(self.layers)
        if not isinstance(state, tuple) or len(state) != len(self.layers):
            return None
        after = []
        for layer, before in zip(self.layers, state):
            if isinstance(layer, SequenceModule):
                done = layer.step_at_once(x, before)
                if done is None:
                    y, before = layer(x[None], before)
                    done = y[0], before
                x, before = done
            else:
                x = layer(x[None])[0]
            after.append(before)
        return x, tuple(after)

    def streaming_obstacle(self) -> str | None:
        for number, layer in enumerate(self.layers):
            if isinstance(layer, SequenceModule) and (why := layer.streaming_obstacle()):
                return f"layer {number}: {why}"
        return None


class Bidirectional(SequenceModule):
    """Two layers over the same input, one from each row's end; their outputs side by side.

    Args:
        forward, backward: `Recurrent` layers, or weight transforms of them.

    Raises:
        ArgumentError: one of them cannot run backward.

    >>> both = Bidirectional(*(recurra.Recurrent(recurra.cells.GRU(), 3, 4) for _ in range(2)))
    >>> both(torch.zeros(5, 1, 3))[0].shape
    torch.Size([5, 1, 8])
    """

    def __init__(self, forward: nn.Module, backward: nn.Module) -> None:
        super().__init__()
        for name, layer in (("forward", forward), ("backward", backward)):
            if not hasattr(layer, "scan"):
                raise ArgumentError(f"{name} must be a Recurrent layer, got {type(layer).__name__}")
        self.forward_layer: Any = forward
        self.backward_layer: Any = backward

    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Run both; the state is the pair of theirs."""
        if state is None:
            state = (None, None)
        if not isinstance(state, tuple) or len(state) != 2:
            raise ShapeError(f"state must be a pair (forward, backward), got {type(state).__name__}")
        there = self.forward_layer.scan(x, state[0], lengths=lengths, resets=resets)
        back = self.backward_layer.scan(x, state[1], lengths=lengths, resets=resets, reverse=True)
        return torch.cat([there.h, back.h], -1), (there.final, back.final)

    def streaming_obstacle(self) -> str | None:
        return "a bidirectional layer needs the whole future before its first output"


class Residual(SequenceModule):
    """A shortcut around a layer: y = x + layer(x). Gradients then have a way past it.

    Args:
        layer: a module over time whose output is as wide as its input.

    Raises:
        ArgumentError: `layer` is not a module over time, or takes the batch first.

    Source: He et al. (2015), arXiv:1512.03385, around recurrent layers as in Wu et al. (2016), arXiv:1609.08144.

    >>> Residual(recurra.Recurrent(recurra.cells.LSTM(), 4, 4))(torch.zeros(5, 1, 4))[0].shape
    torch.Size([5, 1, 4])
    """

    def __init__(self, layer: SequenceModule) -> None:
        super().__init__()
        if not isinstance(layer, SequenceModule):
            raise ArgumentError(f"layer must be a module over time, got {type(layer).__name__}")
        _check_time_major("layer", layer)
        self.layer = layer

    def forward(self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        """Run the layer and add its input; past a row's length the output is zero."""
        y, after = self.layer(x, state, lengths=lengths, resets=resets)
        if y.shape != x.shape:
            raise ShapeError(f"layer must give back the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}")
        return zero_past(lengths, x + y), after

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        done = self.layer.step_at_once(x, state) if unchanged(self, Residual, FORWARD) else None
        return None if done is None or done[0].shape != x.shape else (x + done[0], done[1])


def _check_time_major(name: str, layer: nn.Module) -> None:
    """Refuse a layer that would take the batch for the time."""
    if getattr(layer, "batch_first", False):
        raise ArgumentError(f"{name} must be (T, B, I) inside another module, got {layer!r}; leave batch_first out")
