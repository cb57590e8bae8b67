"""python -m examples.sensor_anomalies.plot DIR NAME --out PICTURE: a stream's values, scores and
labelled windows.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from os import PathLike
from pathlib import Path

import numpy as np

from examples.sensor_anomalies.detector import Detector, load
from examples.sensor_anomalies.nab import stream_through
from examples.sensor_anomalies.streams import Stream, read

THRESHOLD = 0.96
"""About where the benchmark's protocol puts it."""


def plot(
    stream: Stream, scores: np.ndarray, path: str | PathLike[str], threshold: float = THRESHOLD
) -> None:
    """Draw the values above the scores, the windows shaded in both, in order of rows.

    Args:
        stream: with its windows.
        scores: (N,).
        path: the picture to write; its ending says the format.
        threshold: from where on a score is drawn as an alarm.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    when = np.array([datetime.fromisoformat(stamp) for stamp in stream.stamps])
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot(when, stream.values, color="#1b6ca8", linewidth=0.7, label="value")
    below.vlines(when, 0, scores, color="#777777", linewidth=0.8, label="score")
    alarms = scores >= threshold
    alarms[: stream.probation] = False
    below.plot(
        when[alarms],
        scores[alarms],
        "v",
        color="#c0392b",
        markersize=5,
        label=f"alarm, score >= {threshold:g}",
    )
    for axes in (above, below):
        for number, (first, last) in enumerate(stream.windows):
            axes.axvspan(
                when[first],
                when[last],
                color="#d9a441",
                alpha=0.35,
                linewidth=0,
                label="labelled window" if not number else None,
            )
        axes.axvspan(
            when[0],
            when[stream.probation],
            color="#bbbbbb",
            alpha=0.35,
            linewidth=0,
            label="trained on, not scored",
        )
    above.set(ylabel="value", title=stream.name)
    below.set(ylabel="score", ylim=(0, 1.12))
    locator = AutoDateLocator()
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    found = {
        label: handle
        for axes in (above, below)
        for handle, label in zip(*axes.get_legend_handles_labels())
    }
    figure.legend(
        found.values(),
        found.keys(),
        loc="outside lower center",
        ncols=len(found),
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=100)


def main(argv: list[str] | None = None) -> None:
    """Score a stream of the benchmark and draw it."""
    parser = argparse.ArgumentParser(
        "examples.sensor_anomalies.plot",
        description="Draw a stream of the benchmark with its scores.",
    )
    parser.add_argument("models", type=Path, help="the folder that train wrote")
    parser.add_argument("name", help="as realKnownCause/machine_temperature_system_failure.csv")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="the picture; .png, .svg or .pdf"
    )
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    args = parser.parse_args(argv)
    stream = read(args.name)
    model = load((args.models / stream.name).with_suffix(".rcr"))
    plot(stream, stream_through(stream, Detector(model))[0], args.out, args.threshold)
    print(args.out)


if __name__ == "__main__":
    main()
