"""The charts of a report, which one can hover."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from recurra.display import COLOURS as HUES
from recurra.display import safe, thin
from recurra.errors import MissingDependency
from recurra.inspection.gates import SATURATED, time_constants
from recurra.inspection.lag import E_FOLD
from recurra.inspection.measurement import GONE, LayerFigures

COLOURS = (*HUES, "#000000")
DASHES = ("solid", "dash", "dot")


def graph_objects() -> Any:
    """plotly's module of figures.

    Raises:
        MissingDependency: plotly is not installed.
    """
    try:
        import plotly.graph_objects as objects
    except ImportError:
        raise MissingDependency('write_report needs plotly; install it with: pip install "recurra[train]"') from None
    return objects


def flow_chart(layers: Sequence[LayerFigures]) -> Any:
    """|dL/dh_t| by step, a line for each layer."""
    figure = _figure("step t", "|dL/dh_t|", log=True)
    for number, layer in enumerate(layers):
        _line(figure, range(1, layer.steps + 1), layer.flow.tolist(), layer.short, number, hover="step %{x}: %{y:.3g}")
    return figure


def lag_chart(layers: Sequence[LayerFigures], window: int | None = None) -> Any:
    """Norms of Jacobians by lag, a line for each layer and value of the state, with the shares that memory is read at."""
    figure = _figure("lag t - k, steps", "norm of the Jacobian", log=True)
    for number, layer in enumerate(layers):
        for dash, (value, norms) in zip(DASHES, layer.by_lag.items()):
            name = f"d{value}_t/d{value}_k, {layer.short}"
            _line(figure, range(layer.steps), norms.tolist(), name, number, dash, hover="lag %{x}: %{y:.3g}")
    _mark(figure, E_FOLD, "1/e")
    _mark(figure, GONE, "1 %", below=True)
    if window:
        figure.add_vline(x=window, line=dict(color="black", width=1, dash="dot"))
        figure.add_annotation(x=window, yref="paper", y=0, text="window", showarrow=False, xanchor="left", yanchor="bottom")
    return figure


def retention_chart(layers: Sequence[LayerFigures]) -> Any | None:
    """How many units keep which share of their state at a step; None where no gate says."""
    figure, edges = _figure("share of the state kept at a step", "units"), torch.linspace(0, 1, 41).double()
    for number, layer in enumerate(layers):
        if layer.retention is not None:
            counts = torch.histogram(layer.retention.double(), edges).hist.tolist()
            times = time_constants(edges).tolist()
            middles = (edges[:-1] + edges[1:]) / 2
            lasts = [f"{low:.3g} to {high:.3g} steps" for low, high in pairwise(times)]
            hover = "kept %{x:.2f}, time constant %{customdata}, units: %{y}"
            figure.add_bar(x=middles.tolist(), y=counts, customdata=lasts, name=safe(layer.short), width=0.025,
                           marker_color=_colour(number), hovertemplate=hover)  # fmt: skip
    figure.update_layout(barmode="stack").update_xaxes(range=[0, 1])
    return figure if figure.data else None


def time_chart(layers: Sequence[LayerFigures]) -> Any | None:
    """Time constants, unit by unit, from the shortest to the longest; None where no gate says."""
    figure = _figure("share of units", "time constant, steps", log=True)
    for number, layer in enumerate(layers):
        if layer.time_constants is not None:
            times = layer.time_constants.sort().values.tolist()
            shares = [(place + 1) / len(times) for place in range(len(times))]
            x, y = thin(shares, times)
            _line(figure, x, y, layer.short, number, hover="%{x:.0%} of units: up to %{y:.3g} steps")
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02])
    return figure if figure.data else None


def saturation_chart(layers: Sequence[LayerFigures]) -> Any | None:
    """The share of each gate's values at an end of its range; None where no gate has one."""
    figure = _figure("gate", f"share within {SATURATED} of an end")
    for number, layer in enumerate(layers):
        if layer.saturation:
            figure.add_bar(x=[safe(gate) for gate in layer.saturation], y=list(layer.saturation.values()), name=safe(layer.short),
                           marker_color=_colour(number), hovertemplate="gate %{x}: %{y:.2%}")  # fmt: skip
    highest = max([share for layer in layers for share in layer.saturation.values()], default=0.0)
    figure.update_layout(barmode="group").update_yaxes(range=[0, max(0.05, 1.1 * highest)], tickformat=".0%")
    return figure if figure.data else None


def loss_chart(history: Iterable[Mapping[str, Any]]) -> Any | None:
    """The loss of a run, of each chunk and of each validation; None without training rows."""
    rows = list(history)
    train = [row for row in rows if row.get("kind") == "train"]
    validation = [row for row in rows if row.get("kind") == "validation"]
    if not train:
        return None
    figure = _figure("training step", "loss, nats a token")
    x, y = thin(_column(train, "step"), _column(train, "loss"), top=False)
    _line(figure, x, y, "training, each chunk", 0, hover="step %{x}: %{y:.4g} nats")
    if validation:
        x, y = _column(validation, "step"), _column(validation, "validation_loss")
        _line(figure, x, y, "validation", 1, hover="step %{x}: %{y:.4g} nats")
        figure.data[-1].update(mode="lines+markers")
    return figure


def norm_chart(history: Iterable[Mapping[str, Any]], clip_norm: float | None = None) -> Any | None:
    """The gradient norm of each training step before clipping, with the norm that it was clipped to; None without any."""
    rows = [row for row in history if row.get("kind") == "train" and "grad_norm" in row]
    if not rows:
        return None
    figure = _figure("training step", "gradient norm", log=True)
    x, y = thin(_column(rows, "step"), _column(rows, "grad_norm"))
    _line(figure, x, y, "before clipping", 0, hover="step %{x}: %{y:.4g}")
    if clip_norm is not None:
        _line(figure, [x[0], x[-1]], [clip_norm, clip_norm], f"clip_norm {clip_norm:g}", 1, "dash", hover="clipped to %{y:g}")
    return figure


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row.get(name) for row in rows]


def _figure(x: str, y: str, log: bool = False) -> Any:
    axis = dict(title=y, type="log", exponentformat="power", minor=dict(showgrid=False)) if log else dict(title=y)
    return graph_objects().Figure(
        layout=dict(
            template="plotly_white", height=360, margin=dict(l=70, r=20, t=20, b=50), hovermode="closest", showlegend=True,
            legend=dict(orientation="h", y=1.02, yanchor="bottom", x=0), xaxis=dict(title=x), yaxis=axis,
        )
    )  # fmt: skip


def _line(figure: Any, x: Sequence[Any], y: Sequence[Any], name: str, number: int, dash: str = "solid", hover: str = "") -> None:
    """A line with gaps where a figure is missing, or has no logarithm where the axis is logarithmic."""
    log = figure.layout.yaxis.exponentformat == "power"
    shown = [None if not isinstance(value, (int, float)) or not math.isfinite(value) or (log and value <= 0) else value for value in y]
    figure.add_scatter(
        x=[value if isinstance(value, (int, float)) else safe(value) for value in x], y=shown, name=safe(name),
        mode="lines+markers" if len(shown) < 2 else "lines",
        line=dict(color=_colour(number), dash=dash), hovertemplate=hover,
    )  # fmt: skip
    if log:
        _scale(figure)


def _scale(figure: Any) -> None:
    """Ticks of a logarithmic axis: one a decade, or 1, 2 and 5 of each where there are few; figures close by need no such axis."""
    values = [value for line in figure.data for value in line.y or () if value]
    if not values:
        return
    low, high = min(values), max(values)
    if high < 3 * low:
        figure.update_yaxes(type="linear", rangemode="tozero")
    elif high < 1e3 * low:
        ticks = [
            digit * 10.0**decade for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for digit in (1, 2, 5)
        ]
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    else:
        figure.update_yaxes(type="log", tickvals=None, ticktext=None, dtick=max(1, math.ceil(math.log10(high / low) / 8)))


def _mark(figure: Any, y: float, text: str, below: bool = False) -> None:
    """A level across a figure; on a logarithmic axis annotations are placed by their logarithm."""
    figure.add_hline(y=y, line=dict(color="grey", width=1.5, dash="dot"))
    place = math.log10(y) if figure.layout.yaxis.type == "log" else y
    figure.add_annotation(
        text=text, showarrow=False, font=dict(color="grey"), bgcolor="rgba(255, 255, 255, 0.7)", xref="paper", x=1, xanchor="right",
        y=place, yanchor="top" if below else "bottom",
    )  # fmt: skip


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
