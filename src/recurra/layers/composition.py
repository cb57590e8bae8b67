"""Modules over time made of others: one after another, both ways, around a shortcut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.cells import Cell
from recurra.check import check_flag, check_number, check_whole
from recurra.errors import ArgumentError, ShapeError
from recurra.layers.door import turn_time_first
from recurra.layers.dropout import warn_of_idle_dropout
from recurra.layers.recurrent import Recurrent
from recurra.layers.sequence import FORWARD, SequenceModule, unchanged, zero_past
from recurra.layers.weight_hooks import compute_weights


class Stack(SequenceModule):
    """Layers one after another; the state is the tuple of their states.

    Args:
        layers: modules over time, or plain modules that act on each step alone (Linear, LayerNorm,
            Dropout); a plain module's state is None, and past a row's length it sees and gives
            zero.
        dropout: rate of the dropout of what each layer but the last gives, when training, drawn
            anew at each step.
        batch_first: input and output are (B, T, .) in place of (T, B, .), and `resets` too; the
            state is as ever.

    Raises:
        ArgumentError: there is no layer, one is not a module, takes the batch first or is
            torch.nn's own, or `dropout` is outside [0, 1).

    >>> net = Stack([recurra.Recurrent(recurra.cells.GRU(), 3, 4), nn.Linear(4, 2)])
    >>> net(torch.zeros(5, 1, 3))[0].shape
    torch.Size([5, 1, 2])
    """

    def __init__(
        self, layers: Iterable[nn.Module], dropout: float = 0.0, batch_first: bool = False
    ) -> None:
        super().__init__()
        layers = list(layers)
        for layer in layers:
            if not isinstance(layer, nn.Module):
                raise ArgumentError(f"layers must be modules, got {layer!r}")
            if isinstance(layer, nn.RNNBase):
                raise ArgumentError(
                    f"layers must be recurra's, got torch.nn's {layer!r}; use"
                    " recurra.layers.from_torch"
                )
            _check_time_major("layers", layer)
        if not layers:
            raise ArgumentError("layers must hold at least one module, got none")
        check_flag("batch_first", batch_first)
        self.dropout, self.batch_first = check_number("dropout", dropout, 0, 1), batch_first
        if self.dropout and len(layers) == 1:
            warn_of_idle_dropout("Stack", dropout, "one layer")
        self.layers = nn.ModuleList(layers)

    @classmethod
    def of(
        cls,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        **options: Any,
    ) -> Stack:
        """Layers of one cell, with the options of torch.nn.LSTM.

        Args:
            cell: the equations, as for `Recurrent`.
            input_size, hidden_size: I of the first layer, and H of each.
            num_layers: how many.
            bidirectional: also run from each row's end; the outputs are side by side, and a layer's
                state is the pair of both.
            dropout, batch_first: as for a stack.
            options: of each `Recurrent`: biases, learned_state, init, device, dtype, recompute.

        Returns:
            A stack of `Recurrent` layers, or of `Bidirectional` ones.

        Raises:
            ArgumentError: an option is outside its range.

        >>> net = Stack.of(
        ...     recurra.cells.LayerNormLSTM(),
        ...     3,
        ...     4,
        ...     num_layers=2,
        ...     bidirectional=True,
        ...     batch_first=True,
        ... )
        >>> net(torch.zeros(2, 5, 3))[0].shape
        torch.Size([2, 5, 8])
        """
        layers: list[nn.Module] = []
        for _ in range(check_whole("num_layers", num_layers)):
            both = [
                Recurrent(cell, input_size, hidden_size, **options)
                for _ in range(2 if bidirectional else 1)
            ]
            layers.append(Bidirectional(*both) if bidirectional else both[0])
            input_size = both[0].output_size * len(both)
        return cls(layers, dropout, batch_first)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run every layer in turn; arguments and returns as for `Recurrent`, in the order of axes
        that the stack takes.
        """
        if state is None:
            state = (None,) * len(self.layers)
        if not isinstance(state, tuple) or len(state) != len(self.layers):
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise ShapeError(
                f"state must be a tuple of {len(self.layers)}, one for each layer, got {got}"
            )
        if self.batch_first:
            x, resets = turn_time_first(x, resets)
        after = []
        for number, (layer, before) in enumerate(zip(self.layers, state)):
            if isinstance(layer, SequenceModule):
                x, before = layer(x, before, lengths=lengths, resets=resets)
            else:
                x = zero_past(lengths, layer(zero_past(lengths, x)))
            x = self._drop(number, x)
            after.append(before)
        return x.transpose(0, 1) if self.batch_first else x, tuple(after)

    def _drop(self, number: int, x: Tensor) -> Tensor:
        """What a layer gives, with dropout where another follows."""
        drops = self.dropout and self.training and number < len(self.layers) - 1
        return F.dropout(x, self.dropout) if drops else x

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        if not unchanged(self, Stack, FORWARD):
            return None
        if state is None:
            state = (None,) * len(self.layers)
        if not isinstance(state, tuple) or len(state) != len(self.layers):
            return None
        after = []
        for number, (layer, before) in enumerate(zip(self.layers, state)):
            if isinstance(layer, SequenceModule):
                done = layer.step_at_once(x, before)
                if done is None:
                    y, before = layer(x[None], before)
                    done = y[0], before
                x, before = done
            else:
                x = layer(x[None])[0]
            x = self._drop(number, x)
            after.append(before)
        return x, tuple(after)

    def streaming_obstacle(self) -> str | None:
        for number, layer in enumerate(self.layers):
            if isinstance(layer, SequenceModule) and (why := layer.streaming_obstacle()):
                return f"layer {number}: {why}"
        return None

    def extra_repr(self) -> str:
        named = [f"dropout={self.dropout}"] * bool(self.dropout) + [
            "batch_first=True"
        ] * self.batch_first
        return ", ".join(named)


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

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run both; the state is the pair of theirs."""
        if state is None:
            state = (None, None)
        if not isinstance(state, tuple) or len(state) != 2:
            raise ShapeError(
                f"state must be a pair (forward, backward), got {type(state).__name__}"
            )
        compute_weights(self)
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

    Source: He et al. (2015), arXiv:1512.03385, around recurrent layers as in Wu et al. (2016),
        arXiv:1609.08144.

    >>> Residual(recurra.Recurrent(recurra.cells.LSTM(), 4, 4))(torch.zeros(5, 1, 4))[0].shape
    torch.Size([5, 1, 4])
    """

    def __init__(self, layer: SequenceModule) -> None:
        super().__init__()
        if not isinstance(layer, SequenceModule):
            raise ArgumentError(f"layer must be a module over time, got {type(layer).__name__}")
        _check_time_major("layer", layer)
        self.layer = layer

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run the layer and add its input; past a row's length the output is zero."""
        y, after = self.layer(x, state, lengths=lengths, resets=resets)
        if y.shape != x.shape:
            raise ShapeError(
                f"layer must give back the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}"
            )
        return zero_past(lengths, x + y), after

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        done = self.layer.step_at_once(x, state) if unchanged(self, Residual, FORWARD) else None
        return None if done is None or done[0].shape != x.shape else (x + done[0], done[1])


def _check_time_major(name: str, layer: nn.Module) -> None:
    """Refuse a layer that would take the batch for the time."""
    if getattr(layer, "batch_first", False):
        raise ArgumentError(
            f"{name} must be (T, B, I) inside another module, got {layer!r}; leave batch_first out"
        )
