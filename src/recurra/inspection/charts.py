"""The charts of a report, which one can hover."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from recurra.display import thin
from recurra.inspection.chart import COLOURS, DASHES, Chart, Series
from recurra.inspection.gates import SATURATED, time_constants
from recurra.inspection.lag import E_FOLD
from recurra.inspection.measurement import GONE, LayerFigures


def flow_chart(layers: Sequence[LayerFigures]) -> Chart:
    """|dL/dh_t| by step, a line for each layer."""
    chart = Chart("step t", "|dL/dh_t|", hover="step {x}: {y}", log=True)
    for number, layer in enumerate(layers):
        _line(chart, range(1, layer.steps + 1), layer.flow.tolist(), layer.short, number)
    return chart


def lag_chart(layers: Sequence[LayerFigures], window: int | None = None) -> Chart:
    """Norms of Jacobians by lag, a line for each layer and value of the state, with the shares that
    memory is read at.
    """
    chart = Chart("lag t - k, steps", "norm of the Jacobian", hover="lag {x}: {y}", log=True)
    for number, layer in enumerate(layers):
        for dash, (value, norms) in zip(DASHES, layer.by_lag.items()):
            _line(
                chart,
                range(layer.steps),
                norms.tolist(),
                f"{layer.short}: d{value}_t/d{value}_k",
                number,
                dash,
            )
    chart.levels = [(E_FOLD, "1/e", False), (GONE, "1 %", True)]
    chart.places = [(window, "window")] if window else []
    return chart


def retention_chart(layers: Sequence[LayerFigures]) -> Chart | None:
    """How many units keep which share of their state at a step; None where no gate says."""
    chart = Chart(
        "share of the state kept at a step", "units", "stacked", x_range=(0.0, 1.0), bar=0.025
    )
    edges = torch.linspace(0, 1, 41).double()
    for number, layer in enumerate(layers):
        if layer.retention is not None:
            counts = torch.histogram(layer.retention.double(), edges).hist.tolist()
            lasts = [
                f"{low:.3g} to {high:.3g} steps"
                for low, high in pairwise(time_constants(edges).tolist())
            ]
            middles = ((edges[:-1] + edges[1:]) / 2).tolist()
            texts = [
                f"kept {x:.2f}, time constant {last}, units {y:g}"
                for x, y, last in zip(middles, counts, lasts)
            ]
            chart.series.append(Series(layer.short, _colour(number), middles, counts, texts=texts))
    return chart if chart.series else None


def time_chart(layers: Sequence[LayerFigures]) -> Chart | None:
    """Time constants, unit by unit, from the shortest to the longest; None where no gate says."""
    hover = "{x} of units: up to {y} steps"
    chart = Chart(
        "share of units",
        "time constant, steps",
        hover=hover,
        log=True,
        x_range=(0.0, 1.02),
        x_percent=True,
    )
    for number, layer in enumerate(layers):
        if layer.time_constants is not None:
            times = layer.time_constants.sort().values.tolist()
            x, y = thin([(place + 1) / len(times) for place in range(len(times))], times)
            _line(chart, x, y, layer.short, number)
    return chart if chart.series else None


def saturation_chart(layers: Sequence[LayerFigures]) -> Chart | None:
    """The share of each gate's values at an end of its range; None where no gate has one."""
    names = list(dict.fromkeys(gate for layer in layers for gate in layer.saturation))
    chart = Chart(
        "gate",
        f"share within {SATURATED} of an end",
        "grouped",
        y_percent=True,
        names=names,
        least=0.05,
    )
    for number, layer in enumerate(layers):
        if layer.saturation:
            texts = [f"gate {gate}: {share:.2%}" for gate, share in layer.saturation.items()]
            places = [names.index(gate) for gate in layer.saturation]
            chart.series.append(
                Series(
                    layer.short,
                    _colour(number),
                    places,
                    list(layer.saturation.values()),
                    texts=texts,
                )
            )
    return chart if chart.series else None


def loss_chart(history: Iterable[Mapping[str, Any]]) -> Chart | None:
    """The loss of a run, of each chunk and of each validation; None without training rows."""
    rows = list(history)
    train, validation = _rows(rows, "train", "loss"), _rows(rows, "validation", "validation_loss")
    if not train:
        return None
    chart = Chart("training step", "loss, nats a token", hover="step {x}: {y} nats")
    x, y = thin(_column(train, "step"), _column(train, "loss"), top=False)
    _line(chart, x, y, "training, each chunk", 0)
    if validation:
        _line(
            chart,
            _column(validation, "step"),
            _column(validation, "validation_loss"),
            "validation",
            1,
            markers=True,
        )
    return chart


def norm_chart(
    history: Iterable[Mapping[str, Any]], clip_norm: float | None = None
) -> Chart | None:
    """The gradient norm of each training step before clipping, with the norm that it was clipped
    to; None without any.
    """
    rows = _rows(history, "train", "grad_norm")
    if not rows:
        return None
    chart = Chart("training step", "gradient norm", hover="step {x}: {y}", log=True)
    x, y = thin(_column(rows, "step"), _column(rows, "grad_norm"))
    _line(chart, x, y, "before clipping", 0)
    if clip_norm is not None:
        _line(
            chart, [x[0], x[-1]], [clip_norm, clip_norm], f"clip_norm {clip_norm:g}", 1, DASHES[1]
        )
    return chart


def _rows(history: Iterable[Mapping[str, Any]], kind: str, name: str) -> list[Mapping[str, Any]]:
    """The rows of a kind that have a step and a figure; what somebody else wrote into a history is
    passed over.
    """
    return [
        row
        for row in history
        if row.get("kind") == kind and name in row and isinstance(row.get("step"), (int, float))
    ]


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [value if isinstance(value := row[name], (int, float)) else None for row in rows]


def _line(
    chart: Chart,
    x: Sequence[Any],
    y: Sequence[Any],
    name: str,
    number: int,
    dash: tuple[int, ...] = (),
    markers: bool = False,
) -> None:
    """A line with gaps where a figure is missing, or has no logarithm where the axis may be
    logarithmic.
    """
    shown = [
        None if value is None or not math.isfinite(value) or (chart.log and value <= 0) else value
        for value in y
    ]
    chart.series.append(Series(name, _colour(number), list(x), shown, dash, markers))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
