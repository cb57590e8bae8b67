"""The layer that an ONNX node becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import ArgumentError, ShapeError, shape_text
from recurra.layers import Recurrent, SequenceModule
from recurra.layers.weight_hooks import compute_weights


class OnnxLayer(SequenceModule):
    """One ONNX RNN, LSTM or GRU with torch's conventions: y (T, B, D*H), state (D, B, H), for an
    LSTM (h, c).

    In a node's own terms: y is Y (T, D, B, H) with the directions side by side, the state is Y_h
    and Y_c. Past a row's length y is zero; a row of length 0 keeps its first state.

    Args:
        layers: a `Recurrent` for each direction.
        direction: "forward", "reverse" or "bidirectional".
        states: by name (`h`, `c`), the node's first state, (D, B, H); zero for a name that is
            missing.
        sequence_lens: (B,), the node's lengths, used where the caller gives none; or None.
        fed: what the node reads from inputs of its graph, "sequence_lens", "initial_h" and
            "initial_c": a call must give it.

    Attributes:
        directions: the layers.
        initial_h, initial_c: the node's first state, or None.
        sequence_lens: the node's lengths, or None.
        fed: the names that were given.

    Raises:
        ArgumentError: there is not one layer for each direction.

    >>> layer = OnnxLayer(
    ...     [Recurrent(recurra.cells.LSTM(), 3, 4) for _ in range(2)], "bidirectional"
    ... )
    >>> y, (h, c) = layer(torch.zeros(5, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    sequence_lens: Tensor | None
    directions: Sequence[Recurrent]  # an nn.ModuleList, whose items a type checker would not know

    def __init__(
        self,
        layers: Sequence[Recurrent],
        direction: str = "forward",
        states: Mapping[str, Tensor] | None = None,
        sequence_lens: Tensor | None = None,
        fed: Sequence[str] = (),
    ) -> None:
        super().__init__()
        runs = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
        if direction not in runs or len(layers) != len(runs[direction]):
            raise ArgumentError(
                "direction must be 'forward', 'reverse' or, with two layers, 'bidirectional', got"
                f" {direction!r}"
            )
        self.direction, self.reversed = direction, runs[direction]
        self.directions = nn.ModuleList(layers)  # type: ignore[assignment]
        self.names = layers[0].cell.state
        for name in self.names:
            self.register_buffer(f"initial_{name}", (states or {}).get(name))
        self.register_buffer("sequence_lens", sequence_lens)
        self.fed = tuple(fed)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Run a sequence.

        Args:
            x: (T, B, I).
            state: the state to begin with, (D, B, H), for an LSTM (h, c); the node's own if None,
                and it must not be where the node reads one of them from an input of its graph.
            lengths: (B,), steps of each row; the node's own if None, and the same holds.
            resets: (T, B) bool, True where a step begins a new segment, from the node's own state,
                which is zero where it has none.

        Returns:
            y (T, B, D*H), and the final state in the form of `state`.

        Raises:
            ArgumentError: `state` or `lengths` is missing.
            ShapeError: `x` or `state` does not fit, or has another B than the node's first state or
                lengths.
        """
        self._check_fed(state, lengths)
        before = None if state is None else self._enter(state)
        lengths = self.sequence_lens if lengths is None else lengths
        outs, finals = [], []
        compute_weights(self)
        for number, (layer, reverse) in enumerate(zip(self.directions, self.reversed)):
            weights = layer.weights() | self._initial(number, x)
            first = None if before is None else tuple(value[number] for value in before)
            done = layer.scan(
                x, first, lengths=lengths, resets=resets, reverse=reverse, weights=weights
            )
            outs.append(done.h)
            finals.append(done.final)
        values = tuple(torch.stack([final[i] for final in finals]) for i in range(len(self.names)))
        return torch.cat(outs, -1), values if len(values) > 1 else values[0]

    def _check_fed(self, state: Any, lengths: Any) -> None:
        """Raise where a call lacks what the node reads from inputs of its graph."""
        states = [name for name in self.fed if name != "sequence_lens"]
        shapes = ", ".join(f"{name} (D, B, H)" for name in self.names)
        if state is None and states:
            raise ArgumentError(
                f"state must be given, {shapes}, as the node reads {' and '.join(states)} from its"
                " graph's inputs, got none"
            )
        if lengths is None and "sequence_lens" in self.fed:
            raise ArgumentError(
                "lengths must be given, (B,), as the node reads sequence_lens from its graph's"
                " inputs, got none"
            )

    def _initial(self, number: int, x: Tensor) -> dict[str, Tensor]:
        """The node's first state as one direction's own."""
        known = {f"initial_{name}": getattr(self, f"initial_{name}") for name in self.names}
        for name, value in known.items():
            if value is not None and x.ndim == 3 and value.shape[1] != x.shape[1]:
                raise ShapeError(
                    f"x must have B = {value.shape[1]} rows, as the node's {name} has, got shape"
                    f" {shape_text(x.shape)}"
                )
        return {name: value[number] for name, value in known.items() if value is not None}

    def _enter(self, state: Any) -> tuple[Tensor, ...]:
        """A given state as a tuple of (D, B, H)."""
        values = state if len(self.names) > 1 else (state,)
        if not isinstance(values, (tuple, list)) or len(values) != len(self.names):
            raise ShapeError(
                f"state must be a tuple ({', '.join(self.names)}), got {type(state).__name__}"
            )
        for name, value in zip(self.names, values):
            if (
                not isinstance(value, Tensor)
                or value.ndim != 3
                or len(value) != len(self.directions)
            ):
                got = shape_text(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ShapeError(
                    f"state ({name}) must have shape ({len(self.directions)}, B, H), got {got}"
                )
        return tuple(values)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if why := self.streaming_obstacle():
            raise ArgumentError(
                f"step must be called on a module that can stream, got OnnxLayer: {why}"
            )
        return super().step(x, state)

    def streaming_obstacle(self) -> str | None:
        if self.direction != "forward":
            return "a layer that runs backward needs the whole future before its first output"
        counted = self.sequence_lens is not None or "sequence_lens" in self.fed
        return "the node's sequence_lens count the steps of whole rows" if counted else None

    def extra_repr(self) -> str:
        return self.direction
