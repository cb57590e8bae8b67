"""Drawings of what inspection measures."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from recurra.errors import ArgumentError
from recurra.inspection.flow import GradientFlow


def plot_flow(flow: GradientFlow, path: str | PathLike[str]) -> None:
    """Draw |dL/dh_t| by step, one line a layer, on a logarithmic axis.

    Args:
        flow: from `gradient_flow`.
        path: the picture to write; its ending says the format.
    """
    figure, axes = _figure()
    for number, (name, row) in enumerate(zip(flow.layers, flow.norms.tolist())):
        axes.plot(range(1, len(row) + 1), row, label=f"layer {number}: {name}")
    scale = "log" if bool((flow.norms > 0).any()) else "linear"
    axes.set(xlabel="step t", ylabel="|dL/dh_t|", yscale=scale, title="Gradient that reaches each hidden state")
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=120)


def plot_history(history: Sequence[dict[str, Any]], path: str | PathLike[str]) -> None:
    """Draw the loss of a run by training step: each chunk's, and each validation's.

    Args:
        history: the rows of a run.
        path: the picture to write; its ending says the format.

    Raises:
        ArgumentError: there is no training row.
    """
    train = [(row["step"], row["loss"]) for row in history if row["kind"] == "train"]
    if not train:
        raise ArgumentError("history must hold at least one training row, got none")
    figure, axes = _figure()
    validation = [(row["step"], row["validation_loss"]) for row in history if row["kind"] == "validation"]
    axes.plot(*zip(*train), linewidth=0.8, alpha=0.7, label="training, each chunk")
    if validation:
        axes.plot(*zip(*validation), marker="o", label="validation")
    axes.set(xlabel="training step", ylabel="loss, nats a token", title="Loss")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True, alpha=0.3)
    return figure, axes
