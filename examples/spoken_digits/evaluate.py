"""python -m examples.spoken_digits.evaluate MODEL: how well and how soon it decides, and what a
frame costs; without PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from examples.spoken_digits.features import HOP, RATE, LogMel
from examples.spoken_digits.listen import cost
from examples.spoken_digits.listener import FRAME_S, Listener
from examples.spoken_digits.recordings import TEST_TAKES, Recording, read
from recurra.errors import RecurraError
from recurra.runtime import Model, load

Array = npt.NDArray[Any]
AFTER_MS = (100, 150, 200, 250, 300, 400, 500)
GAP_S, LATE_S, NOISE_RMS = (0.4, 0.8), 0.3, 3e-4
"""Seconds between recordings in the long stream, how late after a recording's end its decision
still counts, and the noise in it.
"""


class Heard(NamedTuple):
    """What came of one long stream.

    Attributes:
        right, wrong, missed: recordings by their first decision, which add up to all.
        extra: decisions beyond these.
        after_start_ms, before_end_ms: medians over the right ones.
    """

    right: int
    wrong: int
    missed: int
    extra: int
    after_start_ms: float
    before_end_ms: float


def tested(recordings: Sequence[Recording], left_out: str | None) -> list[Recording]:
    """The recordings of the test: the official ones, or all of the speaker that training left
    out.
    """
    return [
        each
        for each in recordings
        if (each.take in TEST_TAKES if left_out is None else each.speaker == left_out)
    ]


def logits(model: Model, recordings: Sequence[Recording]) -> list[Array]:
    """Every frame's logits (T, 11), of each recording by itself, as the runtime computes them."""
    facts = model.network.facts
    features, session = (
        LogMel(np.float32(facts["mean"]), np.float32(facts["scale"])),
        model.session(),
    )
    found = []
    for recording in recordings:
        features.reset()
        session.reset()
        found.append(session.push(features.push(recording.samples)[:, None])[:, 0])
    return found


def accuracy(
    found: Sequence[Array], recordings: Sequence[Recording], after_ms: int | None = None
) -> float:
    """The share of recordings whose likeliest digit is right, so long after their start, or at
    their end if that is sooner.
    """
    step = None if after_ms is None else round(after_ms / 1000 / FRAME_S)
    last = [each[-1] if step is None else each[min(step, len(each)) - 1] for each in found]
    return float(
        np.mean([row[:10].argmax() == recording.digit for row, recording in zip(last, recordings)])
    )


def settled_ms(found: Sequence[Array]) -> Array:
    """(N,), after how long the likeliest digit of each recording was what it is at the end, and
    stayed so.

    >>> frames = np.eye(10)[[3, 7, 3, 5, 5, 5]]
    >>> settled_ms([frames]).tolist()
    [40.0]
    """
    first = []
    for each in found:
        digits = each[:, :10].argmax(1)
        other = np.flatnonzero(digits != digits[-1])
        first.append(0 if not len(other) else other[-1] + 1)
    return (np.array(first) + 1.0) * FRAME_S * 1000


def long_stream(
    recordings: Sequence[Recording], seed: int = 0
) -> tuple[Array, list[tuple[int, int, int]]]:
    """All recordings in one stream, in an order drawn, with gaps and faint noise; and of each its
    first sample, its end, its digit.
    """
    draws = np.random.default_rng(seed)
    parts: list[Array] = []
    spans, at = [], 0
    for number in draws.permutation(len(recordings)):
        gap, (digit, _, _, samples) = int(draws.uniform(*GAP_S) * RATE), recordings[number]
        spans.append((at + gap, at + gap + len(samples), digit))
        parts += [np.zeros(gap, np.float32), samples.astype(np.float32) / 32768]
        at += gap + len(samples)
    whole = np.concatenate([*parts, np.zeros(RATE, np.float32)])
    noise = NOISE_RMS * draws.standard_normal(len(whole), np.float32)
    return (whole + noise).clip(-1, 1), spans


def listened(listener: Listener, samples: Array, spans: Sequence[tuple[int, int, int]]) -> Heard:
    """What a listener decides in a long stream, 10 ms at once."""
    found = [
        decision
        for at in range(0, len(samples), HOP)
        for decision in listener.push(samples[at : at + HOP])
    ]
    right, wrong, used, after, before = 0, 0, 0, [], []
    for first, end, digit in spans:
        own = [each for each in found if first / RATE < each.time_s <= end / RATE + LATE_S]
        used += bool(own)
        if own and own[0].label == listener.labels[digit]:
            right += 1
            after.append(own[0].time_s - first / RATE)
            before.append(end / RATE - own[0].time_s)
        elif own:
            wrong += 1
    medians = [1000 * float(np.median(each)) if each else float("nan") for each in (after, before)]
    return Heard(right, wrong, len(spans) - used, len(found) - used, *medians)


def report(model: Model, recordings: Sequence[Recording]) -> str:
    """All figures of a model on recordings, as lines."""
    whole, small = logits(model, recordings), Model(model.network.quantised("int8"))
    kinds = (("float32", model, whole), ("int8", small, logits(small, recordings)))
    samples, spans = long_stream(recordings)
    lines = [
        f"{len(recordings)} recordings; chance is 10 %",
        f"{'':<24}{'float32':>10}{'int8':>10}",
    ]
    lines += _row(
        "accuracy at the end", [f"{accuracy(found, recordings):.1%}" for _, _, found in kinds]
    )
    for after_ms in AFTER_MS:
        lines += _row(
            f"  after {after_ms} ms",
            [f"{accuracy(found, recordings, after_ms):.1%}" for _, _, found in kinds],
        )
    lines += _row(
        "settled after, median", [f"{np.median(settled_ms(found)):.0f} ms" for _, _, found in kinds]
    )
    lines += _row("bytes of weights", [f"{each.network.nbytes:,}" for _, each, _ in kinds])
    lines.append(
        f"one stream of {len(samples) / RATE / 60:.1f} minutes, the digits {GAP_S[0]} to {GAP_S[1]}"
        " s apart:"
    )
    for name, each, _ in kinds:
        listener = Listener(each)
        heard = listened(listener, samples, spans)
        lines.append(
            f"  {name}: right {heard.right}, wrong {heard.wrong}, missed {heard.missed}, extra"
            f" {heard.extra}"
        )
        lines.append(
            f"    decided {heard.after_start_ms:.0f} ms after the start, {heard.before_end_ms:.0f}"
            " ms before the end (medians)"
        )
        lines.append(f"    {cost(listener)}")
    return "\n".join(lines)


def _row(name: str, values: Sequence[str]) -> list[str]:
    return [f"{name:<24}" + "".join(f"{value:>10}" for value in values)]


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 when done, 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        "python -m examples.spoken_digits.evaluate",
        description="Measure a model on the test recordings.",
    )
    parser.add_argument("model", help="the .rcr file that examples.spoken_digits.train wrote")
    args = parser.parse_args(arguments)
    try:
        model = load(args.model)
        Listener(model)
        print(report(model, tested(read(), model.network.facts.get("left_out"))))
    except RecurraError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
