"""What figures mean: a verdict for each sickness, with its evidence and what to try."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from recurra.inspection.flow import Reach
from recurra.inspection.gates import SATURATED
from recurra.inspection.lag import E_FOLD
from recurra.inspection.measurement import GROWING, STUCK, LayerFigures
from recurra.inspection.norms import TrainingNorms
from recurra.inspection.performance import Performance
from recurra.wording import count_text

SHORT_REACH = 5
"""Steps: a net whose gradient is gone before them sees no further than the five words that a 5-gram
table sees.
"""
EXPLODED = 1e4
"""A gradient that grows by this over the steps measured has exploded: what comes from afar leaves
three of float32's seven digits to what comes from near. Of the cells here as they start, layer
norm's LSTM grows most: by 1.4e3 in 100 steps at most, in 20 draws.
"""
JUMP = 100.0
"""A gradient norm this many times the middle one comes from an explosion; rare hard batches bring
factors of 10.
"""
ENOUGH_ROWS = 20
"""Training steps, below which a middle norm says little."""
HALF = 0.5
"""The share of a gate's values that must be saturated: then its usual answer no longer depends on
what it sees.
"""
LONG_MEMORY = 50.0
"""Steps: a layer that forgets more slowly needs some gates within 1/50 of their ends, so that only
stuck ones count.
"""
FORGETTING = 0.25
"""Of the state, the share that the middle unit keeps at a step: with less, one hundredth is left
after three steps.
"""


class Verdict(NamedTuple):
    """A sickness that was found.

    Attributes:
        name: "vanishing gradient", "exploding gradient", "saturated gates", "forget bias too low"
            or "window too short"; of a run "worse than the naive baseline", "overfitting" or
            "underfitting".
        severity: "problem", or "warning" where learning may go on, but not as well as it could.
        evidence: a sentence with the figures.
        advice: what to try.
    """

    name: str
    severity: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.name}\n  {self.evidence}\n  try: {self.advice}"


class Need(NamedTuple):
    """How far back the loss of a net reaches, and how far it must.

    Attributes:
        reach: the best of the layers; None where no gradient arrived at any.
        asked: steps that the loss asks for; None where that cannot be told.
        why: why it asks for them.
    """

    reach: Reach | None = None
    asked: float | None = None
    why: str = ""

    def text(self) -> str:
        """In a sentence without an end."""
        if self.reach is None:
            return "the loss's gradient reaches no layer"
        how = self.reach.text().replace("reach ", "the loss's gradient reaches ", 1)
        return f"{how} back" + ("" if self.asked is None else f"; {self.why}")


def need_of(layers: Sequence[LayerFigures], asked: float | None, reach: int | None = None) -> Need:
    """How far back a net reaches: its best layer, since what one of them carries is open to all.

    Args:
        layers: the figures.
        asked: what the loss itself asks for.
        reach: what the caller asks for in its place.
    """
    arrived = [layer.reach for layer in layers if not math.isnan(layer.reach.steps)]
    best = max(arrived, default=None)
    if reach is not None:
        return Need(best, float(reach), f"reach={reach} is asked for")
    why = (
        ""
        if asked is None
        else (
            f"the loss counts at one step of a row, so that {count_text(int(asked), 'step')} are"
            " asked for"
        )
    )
    return Need(best, asked, why)


def judge(
    layers: Sequence[LayerFigures],
    norms: TrainingNorms | None = None,
    window: int | None = None,
    need: Need | None = None,
    performance: Performance | None = None,
    foreign: bool = False,
) -> tuple[Verdict, ...]:
    """Every sickness that the figures show, the gravest first; none of a healthy net.

    Args:
        layers: the figures.
        norms, window: as for `diagnose`.
        need, performance: of the loss.
        foreign: whether the net holds layers of torch.nn, which recurra.init does not take.
    """
    need, performance = need or need_of(layers, None), performance or Performance()
    verdicts = [
        exploding(layers, norms),
        vanishing(layers, need, performance, window, foreign),
        saturated(layers),
        forgetful(layers),
        cut_short(layers, window, need),
    ]
    return tuple(verdict for verdict in verdicts if verdict)


def by_severity(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Problems before warnings; otherwise as they stand."""
    return tuple(sorted(verdicts, key=lambda verdict: verdict.severity != "problem"))


def exploding(layers: Sequence[LayerFigures], norms: TrainingNorms | None = None) -> Verdict | None:
    """A gradient grows ten-thousandfold on its way back, or the norms of the training steps jump a
    hundredfold.
    """
    said = []
    for layer in layers:
        if not layer.peak <= EXPLODED:
            radii = ", ".join(
                f"{gate} {radius:.3g}" for gate, radius in layer.spectral_radius.items()
            )
            said.append(
                f"in {layer.short} a gradient {layer.growth_text()} within {layer.steps - 1} steps"
            )
            said[-1] += f" (spectral radius {radii})" if radii else ""
        elif not bool(torch.isfinite(layer.flow).all()):
            said.append(f"in {layer.short} the loss's gradient is not finite")
    if norms and norms.infinite:
        said.append(
            f"{norms.infinite} of {norms.steps} training steps had a gradient that is not finite"
        )
    if norms and norms.steps >= ENOUGH_ROWS and (norms.jump or 0.0) > JUMP:
        said.append(
            f"the gradient norm of the training steps jumped to {norms.largest:.3g},"
            f" {norms.jump:.0f} times the middle one"
        )
    advice = (
        "clip gradients by norm (clip_norm=1.0, or less); a lower lr; recurra.init.orthogonal to"
        " start from; for an Elman net tanh, or an LSTM or GRU in its place"
    )
    return Verdict("exploding gradient", "problem", _sentence(said), advice) if said else None


def vanishing(
    layers: Sequence[LayerFigures],
    need: Need,
    performance: Performance | None = None,
    window: int | None = None,
    foreign: bool = False,
) -> Verdict | None:
    """The loss's gradient does not reach as far back as the loss asks for.

    Where nobody can tell how far that is, it vanishes below `SHORT_REACH` steps, and where a
    trained net is no better than the naive baseline. A net that is better learns something all the
    same: then it is a warning.
    """
    reach, performance = need.reach, performance or Performance()
    if reach is None or reach.whole or any(math.isinf(layer.peak) for layer in layers):
        return None
    short = reach.steps < (SHORT_REACH if need.asked is None else need.asked)
    stuck = need.asked is None and performance.fails and performance.trained is not False
    if not short and not stuck:
        return None
    severity = (
        "warning"
        if performance.beats or (stuck and not short and performance.trained is None)
        else "problem"
    )
    evidence = [need.text(), *filter(None, [performance.text()])]
    if severity == "warning" and not performance.beats:
        evidence.append(
            "that is so of every net before it is trained, and of one that cannot learn"
        )
    return Verdict(
        "vanishing gradient", severity, _sentence(evidence), _cures(layers, need, window, foreign)
    )


def _cures(layers: Sequence[LayerFigures], need: Need, window: int | None, foreign: bool) -> str:
    """What carries a gradient further, of what the library has."""
    steps = "longest" if need.asked is None else f"{max(3.0, need.asked):.0f}"
    chrono = (
        f"recurra.init.chrono(model, {steps}), which spreads the gates' biases over memories of up"
        f" to {steps} steps"
    )
    if any(layer.gated for layer in layers):
        cures = [
            chrono
            + " (after recurra.replace(model), which makes layers of torch.nn recurra's)" * foreign
        ]
    else:
        cures = [
            "a gated cell (recurra.LSTM or GRU), whose state passes through no matrix, begun by"
            f" {chrono}"
        ]
        cures.append("recurra.init.orthogonal or identity to start from")
    if not any("LayerNorm" in layer.cell for layer in layers):
        cures.append("layer norm (recurra.cells.LayerNormLSTM, LayerNormGRU)")
    if len(layers) > 1:
        cures.append("skip connections around the layers (recurra.Residual)")
    if window is not None and need.reach is not None and need.reach.steps >= window - 1:
        cures.append("a longer window")
    return "; ".join(cures)


def saturated(layers: Sequence[LayerFigures]) -> Verdict | None:
    """More than half of a gate's values stand at an end of its range, where its slope is next to
    nothing.
    """
    shares: dict[tuple[str, float], list[str]] = {}
    for layer in layers:
        slow = (layer.middle_time or 0.0) > LONG_MEMORY
        for gate, share in (layer.stuck if slow else layer.saturation).items():
            if share > HALF:
                shares.setdefault((gate, STUCK if slow else SATURATED), []).append(
                    f"{share:.0%} in {layer.short}"
                )
    said = [
        f"values of gate {gate} within {margin:g} of an end of its range: {', '.join(found)}"
        for (gate, margin), found in shares.items()
    ]
    advice = (
        "inputs of mean 0 and variance 1; smaller weights and biases to start from; a lower lr;"
        " weight decay; or layer norm (recurra.cells.LayerNormLSTM)"
    )
    return Verdict("saturated gates", "problem", _sentence(said), advice) if said else None


def forgetful(layers: Sequence[LayerFigures]) -> Verdict | None:
    """The middle unit keeps less than a quarter of its state at a step, and the bias of the gate
    that keeps is negative.
    """
    said = []
    for layer in layers:
        if layer.retention is None or layer.keeping_bias is None:
            continue
        middle = float(layer.retention.median())
        if middle < FORGETTING and layer.keeping_bias < 0:
            said.append(f"{middle:.2g} in {layer.short} (bias {layer.keeping_bias:.2g})")
    evidence = f"the share of its state that the middle unit keeps at a step is {', '.join(said)}"
    advice = (
        "a forget bias of 1 to start from (recurra.init.forget_bias(model, 1.0), recurra's"
        " default), or biases spread by recurra.init.chrono(model, longest), which works for a"
        " GRU too"
    )
    return (
        Verdict("forget bias too low", "warning", _sentence([evidence]), advice) if said else None
    )


def cut_short(
    layers: Sequence[LayerFigures], window: int | None = None, need: Need | None = None
) -> Verdict | None:
    """The loss asks for more steps than the training window has, or much of a state is left when it
    ends.

    Much is more than 1/e, by its gates and by its gradient. A gradient that grows is no sign of
    memory. Where fewer steps than the window were measured, the gates alone say it.
    """
    if window is None:
        return None
    advice = (
        "a longer window; or a stride shorter than the window, so that each step sees at least"
        " window - stride steps back; in any case carry the state from chunk to chunk"
    )
    if need and need.asked is not None and need.asked > window:
        evidence = f"the gradient sees {count_text(window, 'step')} back in training; {need.why}"
        return Verdict("window too short", "problem", _sentence([evidence]), advice)
    said = [held for layer in layers if (held := _held(layer, window))]
    evidence = (
        f"after the {count_text(window, 'step')} that the gradient sees back, there is left of the"
        f" state {'; '.join(said)}"
    )
    return Verdict("window too short", "warning", _sentence([evidence]), advice) if said else None


def _held(layer: LayerFigures, window: int) -> str | None:
    """What is left in a layer after a window, if it is more than 1/e and the loss depends on it."""
    lag = min(window, layer.steps - 1)
    measured = float(layer.strongest[lag]) if lag >= window - 1 else math.nan
    by_gates = layer.kept(window)
    known = layer.gated or not math.isnan(measured)
    calm = layer.gated or layer.peak <= GROWING
    if (
        not known
        or not calm
        or math.isinf(measured)
        or measured < E_FOLD
        or by_gates < E_FOLD
        or not bool(layer.flow.any())
    ):
        return None
    said = [f"{by_gates:.0%} by the gates"] * layer.gated + [f"{measured:.0%} by the gradient"] * (
        not math.isnan(measured)
    )
    return f"in {layer.short} {' and '.join(said)}"


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
