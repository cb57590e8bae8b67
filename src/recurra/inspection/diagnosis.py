"""A first look at a net that does not learn: what was measured, what is wrong, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from recurra.check import check_number
from recurra.errors import ArgumentError
from recurra.inspection.example import example_of
from recurra.inspection.measurement import LayerFigures, finite, measure
from recurra.inspection.norms import TrainingNorms, training_norms
from recurra.inspection.observe import holds_torchs
from recurra.inspection.performance import Performance, course_of, performance_of
from recurra.inspection.run_verdicts import judge_run
from recurra.inspection.verdicts import Need, Verdict, by_severity, judge, need_of
from recurra.wording import count_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: print it, `to_dict()` it, `plot()` it; a notebook shows it as tables.

    Attributes:
        verdicts: the gravest first; empty for a healthy net.
        layers: the figures of each layer.
        norms: of the training steps; None without a history.
        need: how far back the loss's gradient reaches, and how far it must.
        performance: the loss, and the naive baseline's.
        window, clip_norm: as they were given.
        unseen: by name, recurrent modules that could not be seen into, and why.
    """

    verdicts: tuple[Verdict, ...]
    layers: tuple[LayerFigures, ...]
    norms: TrainingNorms | None = None
    need: Need = field(default_factory=Need)
    performance: Performance = field(default_factory=Performance)
    window: int | None = None
    clip_norm: float | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [str(verdict) for verdict in self.verdicts] or [
            "nothing is wrong with what was measured"
        ]
        lines += [
            f"{text[:1].upper()}{text[1:]}."
            for text in (self.need.text(), self.performance.text())
            if text
        ]
        lines += map(str, self.layers)
        lines += [f"training: {self.norms}"] if self.norms else []
        return "\n".join(
            [*lines, *(f"not seen into: {name}, {why}" for name, why in self.unseen.items())]
        )

    def __repr__(self) -> str:
        named = ", ".join(verdict.name for verdict in self.verdicts) or "nothing wrong"
        unseen = f", {len(self.unseen)} not seen into" if self.unseen else ""
        return f"Diagnosis({count_text(len(self.layers), 'layer')}{unseen}: {named})"

    def _repr_html_(self) -> str:
        from recurra.inspection.notebook import diagnosis_html

        return diagnosis_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it; null where a figure is not finite."""
        norms = (
            None
            if self.norms is None
            else {name: finite(value) for name, value in self.norms._asdict().items()}
        )
        return {
            "verdicts": [verdict._asdict() for verdict in self.verdicts],
            "layers": [layer.to_dict() for layer in self.layers],
            "reach": None if self.need.reach is None else finite(self.need.reach.steps),
            "reach_asked": self.need.asked,
            "loss": finite(self.performance.loss),
            "naive": finite(self.performance.naive),
            "baseline": self.performance.baseline,
            "unit": self.performance.unit,
            "norms": norms,
            "window": self.window,
            "clip_norm": self.clip_norm,
            "unseen": dict(self.unseen),
        }

    def plot(self, path: str | PathLike[str] | None = None) -> Figure | None:
        """Draw the gradient by step and by lag, time constants and saturation.

        Args:
            path: the picture to write; its ending says the format. None: give back matplotlib's
                figure, which a notebook shows.
        """
        from recurra.inspection.plot import plot_diagnosis

        return plot_diagnosis(self, path)


def diagnose(
    model: nn.Module,
    batch: tuple[Any, ...] | None = None,
    *,
    inputs: Any = None,
    target: Any = None,
    loss: Callable[[Any], Tensor] | None = None,
    reach: int | None = None,
    baseline: float | None = None,
    history: Iterable[Mapping[str, Any]] | None = None,
    clip_norm: float | None = None,
    window: int | None = None,
) -> Diagnosis:
    """Ask whether a net can learn what its loss asks, and say what stands in the way.

    Vanishing and exploding gradients, saturated gates, a forget bias too low, a window too short;
    of a run also whether it is better than the naive baseline, overfits or underfits. The model
    runs as at evaluation, without dropout's noise, and is left as it was: weights, gradients, mode
    and random generators. `recurra.inspection.verdicts` and `performance` hold the thresholds, each
    with its reason.

    The gradient *reaches* back to the largest k at which |dL/dh_(t-k)| is at least 1 % of its
    largest value along the sequence, the median of the rows, for the loss of each row's last step.
    It must reach as far as `reach` says; else, for a loss that counts at one step of a row, its
    end, as far as that; for a loss of every step nobody can tell, and it is a problem only below 5
    steps, or where a trained net is no better than the naive baseline. A loss that is better makes
    it a warning.

    Args:
        model: a recurra layer, torch.nn.RNN, LSTM or GRU, or any module that holds some.
        batch, inputs, target, loss: as for `gradient_flow`; as many steps as training sees at once,
            better twice as many.
        reach: steps back that the net has to learn from, if that is known.
        baseline: the loss of a naive baseline. Without one, and without one in the history: for
            whole numbers the entropy of how often each label comes, for other targets their
            variance.
        history: the rows of a run: for its losses, the share of clipped steps, and jumps of the
            gradient norm; () for a net that has not been trained.
        clip_norm: the norm that training clips gradients to.
        window: the steps that the gradient sees back in training; without it none is too short. It
            is never a need.

    Returns:
        The diagnosis; a healthy net gets no verdict.

    Raises:
        ArgumentError: `window`, `clip_norm` or `reach` is not positive, fewer steps than `reach`
            were given, or as for `gradient_flow`.
        ShapeError: as for `gradient_flow`.

    >>> layer = recurra.LSTM(3, 8)
    >>> diagnose(layer, (torch.randn(30, 4, 3),)).verdicts
    ()
    >>> found = diagnose(
    ...     layer, inputs=(torch.randn(200, 4, 3),), loss=lambda output: output[0][-1].sum()
    ... )
    >>> [verdict.name for verdict in found.verdicts], found.need.asked
    (['vanishing gradient'], 199.0)
    """
    for name, value in (("window", window), ("clip_norm", clip_norm), ("reach", reach)):
        if value is not None:
            check_number(name, value, ends="()", advice="leave it out if there is none")
    rows = None if history is None else list(history)
    layers, cost, asked, unseen = measure(model, example_of(model, batch, inputs, target, loss))
    need = need_of(layers, asked, reach)
    if (
        reach is not None
        and need.reach is not None
        and need.reach.whole
        and need.reach.measured < reach
    ):
        measured = count_text(int(need.reach.measured), "step")
        raise ArgumentError(
            f"reach must be at most the {measured} back that were measured, got {reach}; give"
            " longer rows"
        )
    norms, performance = training_norms(rows or (), clip_norm), performance_of(cost, rows, baseline)
    verdicts = judge_run(course_of(rows or ()), performance) + judge(
        layers, norms, window, need, performance, holds_torchs(model)
    )
    return Diagnosis(
        by_severity(verdicts), tuple(layers), norms, need, performance, window, clip_norm, unseen
    )
