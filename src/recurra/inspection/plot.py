"""Drawings of what inspection measures."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from torch import Tensor

from recurra.errors import ArgumentError
from recurra.inspection.flow import GradientFlow
from recurra.inspection.gates import SATURATED
from recurra.inspection.lag import E_FOLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from recurra.inspection.diagnosis import Diagnosis


def plot_flow(flow: GradientFlow, path: str | PathLike[str] | None = None) -> Figure | None:
    """Draw |dL/dh_t| by step, one line a layer, on a logarithmic axis.

    Args:
        flow: from `gradient_flow`.
        path: the picture to write; its ending says the format. None: give the figure back, which a
            notebook shows.
    """
    figure, axes = _figure()
    for number, (name, row) in enumerate(zip(flow.layers, flow.norms.tolist())):
        axes.plot(range(1, len(row) + 1), row, label=f"layer {number}: {name}")
    scale = "log" if bool((flow.norms > 0).any()) else "linear"
    axes.set(
        xlabel="step t",
        ylabel="|dL/dh_t|",
        yscale=scale,
        title="Gradient that reaches each hidden state",
    )
    axes.legend(loc="best", fontsize=8)
    return _done(figure, path)


def plot_history(
    history: Sequence[dict[str, Any]], path: str | PathLike[str] | None = None
) -> Figure | None:
    """Draw the loss of a run by training step: each chunk's, and each validation's.

    Args:
        history: the rows of a run.
        path: the picture to write; its ending says the format. None: give the figure back, which a
            notebook shows.

    Raises:
        ArgumentError: there is no training row.
    """
    train = [(row["step"], row["loss"]) for row in history if row["kind"] == "train"]
    if not train:
        raise ArgumentError("history must hold at least one training row, got none")
    figure, axes = _figure()
    validation = [
        (row["step"], row["validation_loss"]) for row in history if row["kind"] == "validation"
    ]
    axes.plot(*zip(*train), linewidth=0.8, alpha=0.7, label="training, each chunk")
    if validation:
        axes.plot(*zip(*validation), marker="o", label="validation")
    axes.set(xlabel="training step", ylabel="loss, nats a token", title="Loss")
    axes.legend(loc="upper right")
    return _done(figure, path)


def plot_diagnosis(diagnosis: Diagnosis, path: str | PathLike[str] | None = None) -> Figure | None:
    """Draw a diagnosis: the gradient by step and by lag, the time constants of the gates, and their
    saturation.

    Args:
        diagnosis: from `diagnose`.
        path: the picture to write; its ending says the format. None: give the figure back, which a
            notebook shows.
    """
    from recurra.inspection.figure import NotebookFigure

    figure = NotebookFigure(figsize=(14, 8), layout="constrained")
    by_step, by_lag, times, ends = figure.subplots(2, 2).flat
    named = ", ".join(verdict.name for verdict in diagnosis.verdicts)
    figure.suptitle(named or "nothing is wrong with what was measured")
    _draw_flow(by_step, diagnosis)
    _draw_lags(by_lag, diagnosis)
    _draw_times(times, diagnosis)
    _draw_saturation(ends, diagnosis)
    for axes in (by_step, by_lag, times, ends):
        axes.grid(True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return _done(figure, path)


def _draw_flow(axes: Any, diagnosis: Diagnosis) -> None:
    for layer in diagnosis.layers:
        axes.plot(range(1, layer.steps + 1), _positive(layer.flow), label=layer.short)
    axes.set(
        xlabel="step t",
        ylabel="|dL/dh_t|",
        yscale="log",
        title="Gradient that reaches each hidden state",
    )


def _draw_lags(axes: Any, diagnosis: Diagnosis) -> None:
    for number, layer in enumerate(diagnosis.layers):
        for line, (name, norms) in zip(("-", "--", ":"), layer.by_lag.items()):
            axes.plot(
                range(layer.steps),
                _positive(norms),
                line,
                color=f"C{number}",
                label=f"d{name}_t/d{name}_k, {layer.short}",
            )
    axes.axhline(E_FOLD, color="grey", linewidth=0.8, label="1/e")
    if diagnosis.window:
        axes.axvline(diagnosis.window, color="black", linewidth=0.8, linestyle=":", label="window")
    axes.set(
        xlabel="lag t - k, steps",
        ylabel="norm of the Jacobian",
        yscale="log",
        title="What is left of a gradient by lag",
    )


def _draw_times(axes: Any, diagnosis: Diagnosis) -> None:
    gated = {
        layer.short: layer.retention.tolist()
        for layer in diagnosis.layers
        if layer.retention is not None
    }
    if gated:
        axes.hist(list(gated.values()), bins=40, range=(0, 1), stacked=True, label=list(gated))
    axes.set(
        xlabel="share of the state that a unit keeps at a step",
        ylabel="units",
        title="Retention by the gates",
    )


def _draw_saturation(axes: Any, diagnosis: Diagnosis) -> None:
    bars = [
        (f"{gate}\n{number}", share)
        for number, layer in enumerate(diagnosis.layers)
        for gate, share in layer.saturation.items()
    ]
    axes.bar(range(len(bars)), [share for _, share in bars])
    axes.set_xticks(range(len(bars)), [name for name, _ in bars])
    axes.set(
        xlabel="gate, layer",
        ylabel=f"share within {SATURATED} of an end",
        ylim=(0, 1),
        title="Saturation",
    )


def _positive(norms: Tensor) -> list[float]:
    """Figures for a logarithmic axis, NaN where there is no logarithm: a line has a gap there."""
    return [value if 0 < value < float("inf") else float("nan") for value in norms.tolist()]


def _figure() -> tuple[Any, Any]:
    from recurra.inspection.figure import NotebookFigure

    figure = NotebookFigure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True, alpha=0.3)
    return figure, axes


def _done(figure: Figure, path: str | PathLike[str] | None) -> Figure | None:
    """The figure, or None once it is in a file: a notebook would show it too."""
    if path is None:
        return figure
    figure.savefig(path, dpi=120)
    return None
