"""A first look at a net that does not learn: what was measured, what is wrong, and what to try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from torch import nn

from recurra.errors import ArgumentError
from recurra.inspection.measurement import LayerFigures, finite, measure
from recurra.inspection.norms import TrainingNorms, training_norms
from recurra.inspection.verdicts import Verdict, judge


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: print it, `to_dict()` it, `plot(path)` it.

    Attributes:
        verdicts: the gravest first; empty for a healthy net.
        layers: the figures of each layer.
        norms: of the training steps; None without a history.
        window, clip_norm: as they were given.
        unseen: by name, recurrent modules that could not be seen into, and why.
    """

    verdicts: tuple[Verdict, ...]
    layers: tuple[LayerFigures, ...]
    norms: TrainingNorms | None = None
    window: int | None = None
    clip_norm: float | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [str(verdict) for verdict in self.verdicts] or ["nothing is wrong with what was measured"]
        lines += map(str, self.layers)
        lines += [f"training: {self.norms}"] if self.norms else []
        return "\n".join([*lines, *(f"not seen into: {name}, {why}" for name, why in self.unseen.items())])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it; null where a figure is not finite."""
        norms = None if self.norms is None else {name: finite(value) for name, value in self.norms._asdict().items()}
        return {
            "verdicts": [verdict._asdict() for verdict in self.verdicts], "layers": [layer.to_dict() for layer in self.layers],
            "norms": norms, "window": self.window, "clip_norm": self.clip_norm, "unseen": dict(self.unseen),
        }  # fmt: skip

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the gradient by step and by lag, time constants and saturation; the path's ending says the format."""
        from recurra.inspection.plot import plot_diagnosis

        plot_diagnosis(self, path)


def diagnose(
    model: nn.Module, batch: tuple[Any, ...], state: Any = None, *, history: Iterable[Mapping[str, Any]] | None = None,
    clip_norm: float | None = None, window: int | None = None, loss_at: str = "last step",
) -> Diagnosis:  # fmt: skip
    """Look for vanishing and exploding gradients, saturated gates, a forget bias too low and a window too short.

    The model runs as at evaluation, without dropout's noise, and is left as it was: weights, gradients, mode and random
    generators. `recurra.inspection.verdicts` holds the thresholds, each with its reason.

    Args:
        model: a recurra layer, torch.nn.RNN, LSTM or GRU, or any module that holds some.
        batch: (x, y), or (x,), or a `recurra.train.Chunk`; as many steps as training sees at once, better twice as many.
        state: the state before.
        history: the rows of a run, for the share of clipped steps and for jumps of the gradient norm.
        clip_norm: the norm that training clips gradients to.
        window: the steps that the gradient sees back in training; without it none is too short.
        loss_at: as for `gradient_flow`.

    Returns:
        The diagnosis; a healthy net gets no verdict.

    Raises:
        ArgumentError: `window` or `clip_norm` is not positive, or as for `gradient_flow`.
        ShapeError: as for `gradient_flow`.

    >>> layer = recurra.LSTM(3, 8)
    >>> diagnose(layer, (torch.randn(30, 4, 3),)).verdicts
    ()
    >>> recurra.init.forget_bias(layer, -4.0)
    >>> [verdict.name for verdict in diagnose(layer, (torch.randn(30, 4, 3),)).verdicts]
    ['vanishing gradient', 'forget bias too low']
    """
    for name, value in (("window", window), ("clip_norm", clip_norm)):
        if value is not None and not value > 0:
            raise ArgumentError(f"{name} must be positive, got {value}; leave it out if there is none")
    layers, unseen = measure(model, batch, state, loss_at)
    norms = training_norms(history or (), clip_norm)
    return Diagnosis(judge(layers, norms, window), tuple(layers), norms, window, clip_norm, unseen)
