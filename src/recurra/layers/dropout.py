"""Dropout that fits recurrent nets: one mask for a whole sequence, or on the recurrent weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.cells.named import named_type
from recurra.check import check_number
from recurra.engine import Scan
from recurra.errors import ArgumentError, ShapeError, choice_text, shape_text
from recurra.layers.recurrent import METHODS, Recurrent
from recurra.layers.sequence import FORWARD, SequenceModule, unchanged
from recurra.layers.weight_hooks import compute_weights

Locked = named_type("State", ("mask",))


class LockedDropout(SequenceModule):
    """Dropout whose mask is the same at every step of a sequence; it rides in the state.

        y_t = m * x_t             m = 0 with chance `rate`, else 1 / (1 - rate); m = 1 at evaluation

    So chunks equal the whole in training too. `recurra.state.redraw` drops the mask, and the next
    call draws one.

    Args:
        rate: the chance that a feature is dropped, in [0, 1).

    Source: Gal & Ghahramani (2016), arXiv:1512.05287; the name from Merity et al. (2017),
        arXiv:1708.02182.

    >>> y, state = LockedDropout(0.5)(torch.ones(3, 1, 4))
    >>> bool((y == y[0]).all()), state.mask.shape
    (True, torch.Size([1, 4]))
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check_number("rate", rate, 0, 1)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """Multiply every step by the mask; `lengths` and `resets` change nothing here."""
        if not self.training or not self.rate:
            return x, Locked(None)
        mask = None if state is None else state.mask
        if mask is None:
            mask = F.dropout(torch.ones_like(x[0]), self.rate)
        elif mask.shape != x.shape[1:]:
            raise ShapeError(
                f"state.mask must have shape {shape_text(x.shape[1:])}, got"
                f" {shape_text(mask.shape)}"
            )
        return x * mask, Locked(mask)

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        idle = not self.training or not self.rate
        return (x, Locked(None)) if idle and unchanged(self, LockedDropout, FORWARD) else None

    def extra_repr(self) -> str:
        return f"{self.rate}"


class WeightDropout(SequenceModule):
    """Dropout on a layer's recurrent weights, drawn once a call: DropConnect.

    The layer keeps its own parameters; the dropped ones exist only during the call. The mask
    belongs to the weights, not to a row, so it is not part of the state: each chunk of a sequence
    has its own.

    Args:
        layer: a `Recurrent` layer.
        rate: the chance that a weight is dropped, in [0, 1).
        names: which weights.

    Raises:
        ArgumentError: the layer has no such weight, or a rate is outside [0, 1).

    Source: Wan et al. (2013), proceedings.mlr.press/v28/wan13.html; on weight_hh in Merity et al.
        (2017), arXiv:1708.02182.

    >>> layer = WeightDropout(Recurrent(recurra.cells.LSTM(), 3, 4), 0.5)
    >>> layer(torch.zeros(2, 1, 3))[0].shape
    torch.Size([2, 1, 4])
    """

    def __init__(
        self, layer: Recurrent, rate: float, names: Iterable[str] = ("weight_hh",)
    ) -> None:
        super().__init__()
        if not isinstance(layer, Recurrent):
            raise ArgumentError(f"layer must be a Recurrent layer, got {type(layer).__name__}")
        self.layer, self.rate, self.names = layer, check_number("rate", rate, 0, 1), tuple(names)
        for name in self.names:
            if name not in layer.weights():
                raise ArgumentError(choice_text("names", name, layer.weights()))

    def weights(self) -> dict[str, Tensor]:
        """The layer's weights, some of them dropped when training."""
        weights = self.layer.weights()
        dropped = (
            {name: F.dropout(weights[name], self.rate) for name in self.names}
            if self.training
            else {}
        )
        return weights | dropped

    def scan(self, x: Tensor, state: Any = None, **options: Any) -> Scan:
        """As `Recurrent.scan`, with the dropped weights."""
        return self.layer.scan(x, state, weights=self.weights(), **options)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Any = None, resets: Any = None
    ) -> tuple[Tensor, Any]:
        """As `Recurrent`, with the dropped weights."""
        compute_weights(self.layer)
        done = self.scan(x, state, lengths=lengths, resets=resets)
        return done.h, done.final

    def step_at_once(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any] | None:
        return (
            None
            if self.training or not unchanged(self, WeightDropout, METHODS)
            else self.layer.step_at_once(x, state)
        )

    def extra_repr(self) -> str:
        return f"{self.rate}, names={self.names}"


def warn_of_idle_dropout(kind: str, rate: float, why: str, stacklevel: int = 3) -> None:
    """Warn that dropout between layers has none to act between; `why` says how many there are."""
    text = (
        f"dropout of {kind} acts between layers, so dropout={rate} does nothing with {why}; use"
        " recurra.LockedDropout after the layer"
    )
    warnings.warn(text, stacklevel=stacklevel)
