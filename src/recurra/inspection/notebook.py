"""What inspection found, as HTML: pieces that a notebook and a report show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recurra.display import Html, Line, card, chart, meter, notice, table
from recurra.inspection.gates import quantiles_text
from recurra.inspection.measurement import GONE
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.inspection.diagnosis import Diagnosis
    from recurra.inspection.flow import GradientFlow
    from recurra.inspection.gates import GateUse
    from recurra.inspection.lag import GradientByLag


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """The verdicts, and the figures of each layer."""
    return card(
        "Diagnosis",
        verdict_notices(diagnosis),
        layer_table(diagnosis),
        table([], facts(diagnosis).items()),
    )


def verdict_notices(diagnosis: Diagnosis) -> Html:
    """A box for each verdict; one for a healthy net."""
    boxes = [
        notice(
            f"{each.severity}: {each.name}",
            each.evidence,
            f"Try: {each.advice}.",
            kind=each.severity,
        )
        for each in diagnosis.verdicts
    ]
    return Html("".join(boxes) or notice("Nothing is wrong with what was measured."))


def layer_table(diagnosis: Diagnosis) -> Html:
    """A line for each layer."""
    heads = [
        "layer",
        "reach of the loss",
        "memory, until below 1/e",
        "until below 1 %",
        "time constants",
        "saturated",
        "spectral radius",
    ]
    lines = []
    for layer in diagnosis.layers:
        times = "" if layer.time_constants is None else quantiles_text(layer.time_constants)
        saturated = ", ".join(f"{gate} {share:.1%}" for gate, share in layer.saturation.items())
        radii = ", ".join(
            f"{gate} {radius:.3g}"
            for gate, radius in layer.spectral_radius.items()
            if not math.isnan(radius)
        )
        lines.append(
            [
                layer.name,
                layer.reach.text().removeprefix("reach "),
                layer.memory_text(),
                layer.memory_text(GONE),
                times,
                saturated,
                radii,
            ]
        )
    return table(heads, lines)


def facts(diagnosis: Diagnosis) -> dict[str, str]:
    """What else a diagnosis knows, by name."""
    sentences = {"reach": diagnosis.need.text(), "loss": diagnosis.performance.text()}
    said = {name: f"{text[:1].upper()}{text[1:]}." for name, text in sentences.items() if text}
    said |= {"window": count_text(diagnosis.window, "step")} if diagnosis.window else {}
    said |= {"clip_norm": f"{diagnosis.clip_norm:g}"} if diagnosis.clip_norm else {}
    said |= {"training": str(diagnosis.norms)} if diagnosis.norms else {}
    return said | {f"not seen into: {name}": why for name, why in diagnosis.unseen.items()}


def flow_html(flow: GradientFlow) -> str:
    """|dL/dh_t| by step, and what of it reaches the first step."""
    lines, cells = [], []
    for number, (name, row) in enumerate(zip(flow.layers, flow.norms)):
        known = row[: max(1, int((~row.isnan()).sum()))].tolist()
        lines.append(Line(f"layer {number}: {name}", range(1, len(known) + 1), known))
        ratio = known[0] / known[-1] if known[-1] else math.nan
        cells.append(
            [f"layer {number}: {name}", *(f"{value:.3g}" for value in (known[0], known[-1], ratio))]
        )
    heads = ["layer", "first step", "last step", "first / last"]
    return card(
        "Gradient that reaches each hidden state",
        chart(lines, "step t", "|dL/dh_t|", log=True),
        table(heads, cells),
    )


def lag_html(lags: GradientByLag) -> str:
    """Norms of Jacobians by lag."""
    lines = [
        Line(f"d{value}_t/d{value}_k, layer {number}: {name}", range(len(norms)), norms.tolist())
        for number, (name, found) in enumerate(zip(lags.layers, lags.norms))
        for value, norms in found.items()
    ]
    return card(
        "What is left of a gradient by lag",
        chart(lines, "lag t - k, steps", "norm of the Jacobian", log=True),
    )


def gates_html(use: GateUse) -> str:
    """Saturation gate by gate, and how long each layer's gates let its state last."""
    cells: list[list[Any]] = []
    for number, (name, shares, times) in enumerate(
        zip(use.layers, use.saturation, use.time_constants)
    ):
        lasts = "" if times is None else quantiles_text(times)
        gates = [[gate, meter(share)] for gate, share in shares.items()] or [
            ["", "no gate has an end"]
        ]
        for line, gate in enumerate(gates):
            cells.append(["" if line else f"layer {number}: {name}", *gate, "" if line else lasts])
    return card(
        "What the gates do", table(["layer", "gate", "saturated", "time constants, steps"], cells)
    )
