"""python -m examples.sensor_anomalies.nab DIR: the benchmark's score of our detector and of simpler
ones, in one run.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from examples.sensor_anomalies import peers
from examples.sensor_anomalies.detector import Detector, load
from examples.sensor_anomalies.nab_score import LOW_FN, LOW_FP, STANDARD, left_out, sweep
from examples.sensor_anomalies.streams import Stream, names, read

PUBLISHED = {"null": "0.0", "random": "11.0", "windowed Gaussian": "39.6"}
SEEDS = 20


def stream_through(stream: Stream, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """A detector's score of each row, one row at a time (N,), and the seconds that each took
    (N,).
    """
    scores, seconds = np.empty(len(stream.values)), np.empty(len(stream.values))
    rows = zip(map(datetime.fromisoformat, stream.stamps), stream.values.tolist())
    for row, (stamp, value) in enumerate(rows):
        began = time.perf_counter()
        scores[row] = detector.push(stamp, value).score
        seconds[row] = time.perf_counter() - began
    return scores, seconds


def line(name: str, streams: list[Stream], scores: list[np.ndarray]) -> str:
    """A row of the table: the three profiles, thresholds left out, and what was published."""
    standard, low_fp, low_fn = (
        sweep(streams, scores, profile).best[0] for profile in (STANDARD, LOW_FP, LOW_FN)
    )
    others = left_out(streams, scores)
    return (
        f"{name:<30}{standard:10.1f}{low_fp:12.1f}{low_fn:12.1f}{others:12.1f}"
        f"{PUBLISHED.get(name, '-'):>12}"
    )


def random_line(streams: list[Stream]) -> str:
    """The mean over seeds, with the standard profile's standard deviation."""
    found = []
    for seed in range(SEEDS):
        draws = np.random.default_rng(seed)
        scores = [peers.random(stream.values, draws) for stream in streams]
        found.append(
            [
                *(sweep(streams, scores, each).best[0] for each in (STANDARD, LOW_FP, LOW_FN)),
                left_out(streams, scores),
            ]
        )
    standard, low_fp, low_fn, others = np.mean(found, axis=0)
    name = f"random, {SEEDS} seeds, sd {np.std(found, axis=0)[0]:.1f}"
    return (
        f"{name:<30}{standard:10.1f}{low_fp:12.1f}{low_fn:12.1f}{others:12.1f}"
        f"{PUBLISHED['random']:>12}"
    )


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        "examples.sensor_anomalies.nab", description="Score the detectors as the benchmark does."
    )
    parser.add_argument("models", type=Path, help="the folder that train wrote")
    args = parser.parse_args(argv)
    streams = [read(name) for name in names()]
    models = [load((args.models / stream.name).with_suffix(".rcr")) for stream in streams]
    columns = (
        f"{'detector':<30}{'standard':>10}{'low FP':>12}{'low FN':>12}"
        f"{'left out':>12}{'published':>12}"
    )
    print(
        f"{len(streams)} files, {sum(len(each.windows) for each in streams)} windows\n{columns}",
        flush=True,
    )
    print(line("null", streams, [peers.null(each.values) for each in streams]), flush=True)
    print(random_line(streams), flush=True)
    gaussian = [peers.windowed_gaussian(each.values) for each in streams]
    print(line("windowed Gaussian", streams, gaussian), flush=True)
    print(
        line(
            "windowed Gaussian, rests",
            streams,
            [peers.rested(*each) for each in zip(gaussian, streams)],
        ),
        flush=True,
    )
    print(
        line("last value, rests", streams, [peers.last_value(each) for each in streams]), flush=True
    )
    print(
        line(
            "GRU, does not rest",
            streams,
            [stream_through(*each)[0] for each in zip(streams, (Detector(m, 0) for m in models))],
        )
    )
    ours, seconds = zip(*(stream_through(*each) for each in zip(streams, map(Detector, models))))
    print(line("GRU, rests (ours)", streams, list(ours)))
    threshold = sweep(streams, ours).best[1]
    rows = 1e6 * np.concatenate(seconds)
    print(
        f"ours at its threshold {threshold:.4f}; a row takes {np.median(rows):.1f} us (p99"
        f" {np.quantile(rows, 0.99):.1f})"
    )


if __name__ == "__main__":
    main()
