"""What figures mean: a verdict for each sickness, with its evidence and what to try."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from recurra.inspection.gates import SATURATED
from recurra.inspection.lag import E_FOLD
from recurra.inspection.measurement import GONE, GROWING, STUCK, LayerFigures
from recurra.inspection.norms import TrainingNorms

SHORT_MEMORY = 5
"""Steps: a net whose gradient is gone before them sees no further than the five words that a 5-gram table sees."""
EXPLODED = 1e4
"""A gradient that grows by this over the steps measured has exploded: what comes from afar leaves three of float32's seven
digits to what comes from near. Of the cells here as they start, layer norm's LSTM grows most: by 1.4e3 in 100 steps at most, in
20 draws."""
JUMP = 100.0
"""A gradient norm this many times the middle one comes from an explosion; rare hard batches bring factors of 10."""
ENOUGH_ROWS = 20
"""Training steps, below which a middle norm says little."""
HALF = 0.5
"""The share of a gate's values that must be saturated: then its usual answer no longer depends on what it sees."""
LONG_MEMORY = 50.0
"""Steps: a layer that forgets more slowly needs some gates within 1/50 of their ends, so that only stuck ones count."""
FORGETTING = 0.25
"""Of the state, the share that the middle unit keeps at a step: with less, one hundredth is left after three steps."""


class Verdict(NamedTuple):
    """A sickness that was found.

    Attributes:
        name: "vanishing gradient", "exploding gradient", "saturated gates", "forget bias too low" or "window too short".
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


def judge(layers: Sequence[LayerFigures], norms: TrainingNorms | None = None, window: int | None = None) -> tuple[Verdict, ...]:
    """Every sickness that the figures show, the gravest first; none of a healthy net."""
    found = [exploding(layers, norms), vanishing(layers), saturated(layers), forgetful(layers), cut_short(layers, window)]
    return tuple(verdict for verdict in found if verdict)


def exploding(layers: Sequence[LayerFigures], norms: TrainingNorms | None = None) -> Verdict | None:
    """A gradient grows ten-thousandfold on its way back, or the norms of the training steps jump a hundredfold."""
    said = []
    for layer in layers:
        if not layer.peak <= EXPLODED:
            radii = ", ".join(f"{gate} {radius:.3g}" for gate, radius in layer.spectral_radius.items())
            said.append(f"in {layer.short} a gradient {layer.growth_text()} within {layer.steps - 1} steps")
            said[-1] += f" (spectral radius {radii})" if radii else ""
        elif not bool(torch.isfinite(layer.flow).all()):
            said.append(f"in {layer.short} the loss's gradient is not finite")
    if norms and norms.infinite:
        said.append(f"{norms.infinite} of {norms.steps} training steps had a gradient that is not finite")
    if norms and norms.steps >= ENOUGH_ROWS and (norms.jump or 0.0) > JUMP:
        said.append(f"the gradient norm of the training steps jumped to {norms.largest:.3g}, {norms.jump:.0f} times the middle one")
    advice = (
        "clip gradients by norm (clip_norm=1.0, or less); a lower lr; recurra.init.orthogonal to start from; for an Elman net tanh, or "
        "an LSTM or GRU in its place"
    )
    return Verdict("exploding gradient", "problem", _sentence(said), advice) if said else None


def vanishing(layers: Sequence[LayerFigures]) -> Verdict | None:
    """In every layer less than a hundredth of a gradient is left after four steps."""
    if not layers or any(layer.steps < 2 or not layer.memory(GONE) < SHORT_MEMORY for layer in layers):
        return None
    first = ", ".join(f"{float(layer.strongest[1]):.2g} in {layer.short}" for layer in layers)
    longest = int(max(layer.memory(GONE) for layer in layers))
    evidence = f"of a gradient less than 1 % is left {_steps(longest)} back in every layer; after one step it is {first}"
    advice = (
        "a higher bias of the gate that keeps the state (recurra.init.forget_bias(model, 1.0), or recurra.init.chrono(model, longest) "
        "for memories of a known length)"
        if any(layer.gated for layer in layers)
        else "an LSTM or GRU, whose state passes through no matrix; or recurra.init.orthogonal or identity to start from"
    )
    return Verdict("vanishing gradient", "problem", _sentence([evidence]), advice)


def saturated(layers: Sequence[LayerFigures]) -> Verdict | None:
    """More than half of a gate's values stand at an end of its range, where its slope is next to nothing."""
    shares: dict[tuple[str, float], list[str]] = {}
    for layer in layers:
        slow = (layer.middle_time or 0.0) > LONG_MEMORY
        for gate, share in (layer.stuck if slow else layer.saturation).items():
            if share > HALF:
                shares.setdefault((gate, STUCK if slow else SATURATED), []).append(f"{share:.0%} in {layer.short}")
    said = [
        f"values of gate {gate} within {margin:g} of an end of its range: {', '.join(found)}" for (gate, margin), found in shares.items()
    ]
    advice = (
        "inputs of mean 0 and variance 1; smaller weights and biases to start from; a lower lr; weight decay; or layer norm "
        "(recurra.cells.LayerNormLSTM)"
    )
    return Verdict("saturated gates", "problem", _sentence(said), advice) if said else None


def forgetful(layers: Sequence[LayerFigures]) -> Verdict | None:
    """The middle unit keeps less than a quarter of its state at a step, and the bias of the gate that keeps is negative."""
    said = []
    for layer in layers:
        if layer.retention is None or layer.keeping_bias is None:
            continue
        middle = float(layer.retention.median())
        if middle < FORGETTING and layer.keeping_bias < 0:
            said.append(f"{middle:.2g} in {layer.short} (bias {layer.keeping_bias:.2g})")
    evidence = f"the share of its state that the middle unit keeps at a step is {', '.join(said)}"
    advice = (
        "a forget bias of 1 to start from (recurra.init.forget_bias(model, 1.0), recurra's default), or biases spread by "
        "recurra.init.chrono(model, longest), which works for a GRU too"
    )
    return Verdict("forget bias too low", "warning", _sentence([evidence]), advice) if said else None


def cut_short(layers: Sequence[LayerFigures], window: int | None = None) -> Verdict | None:
    """More than 1/e of a state, by its gates and by its gradient, is left when the training window ends.

    A gradient that grows is no sign of memory. Where fewer steps than the window were measured, the gates alone say it.
    """
    if window is None:
        return None
    said = [held for layer in layers if (held := _held(layer, window))]
    evidence = f"after the {_steps(window)} that the gradient sees back, there is left of the state {'; '.join(said)}"
    advice = (
        "a longer window; or a stride shorter than the window, so that each step sees at least window - stride steps back; in any "
        "case carry the state from chunk to chunk"
    )
    return Verdict("window too short", "warning", _sentence([evidence]), advice) if said else None


def _held(layer: LayerFigures, window: int) -> str | None:
    """What is left in a layer after a window, if it is more than 1/e and the loss depends on it."""
    lag = min(window, layer.steps - 1)
    measured = float(layer.strongest[lag]) if lag >= window - 1 else math.nan
    by_gates = layer.kept(window)
    known = layer.gated or not math.isnan(measured)
    calm = layer.gated or layer.peak <= GROWING
    if not known or not calm or math.isinf(measured) or measured < E_FOLD or by_gates < E_FOLD or not bool(layer.flow.any()):
        return None
    said = [f"{by_gates:.0%} by the gates"] * layer.gated + [f"{measured:.0%} by the gradient"] * (not math.isnan(measured))
    return f"in {layer.short} {' and '.join(said)}"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
