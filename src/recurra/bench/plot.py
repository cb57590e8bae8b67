"""The drawing of a benchmark."""

from __future__ import annotations

from os import PathLike
from typing import Any

from recurra.errors import ArgumentError
from recurra.wording import count_text


def plot_bench(record: dict[str, Any], path: str | PathLike[str]) -> None:
    """Draw GFLOP/s by shape, ours beside torch.nn's, with the FMA peak as a line: a row of panels
    for each cell.

    Args:
        record: from `measure`; its part "cells" is drawn.
        path: the picture to write; its ending says the format.

    Raises:
        ArgumentError: nothing of that part was measured.
    """
    from matplotlib.figure import Figure

    summaries = record["summaries"]
    if not summaries:
        raise ArgumentError("record must hold the part 'cells', got none of it")
    names = list(dict.fromkeys(each["name"] for each in summaries))
    settings = list(dict.fromkeys((each["threads"], each["busy"]) for each in summaries))
    shapes = len({tuple(row["shape"]) for row in record["rows"] if row["part"] == "cells"})
    width = max(4.5, 0.85 * shapes + 1.0)
    figure = Figure(figsize=(width * len(settings), 2.7 * len(names) + 0.6), layout="constrained")
    grid = figure.subplots(len(names), len(settings), squeeze=False, sharey="col")
    for line, name in zip(grid, names):
        for axes, (threads, busy) in zip(line, settings):
            key = {"part": "cells", "name": name, "threads": threads, "busy": busy}
            _panel(
                axes,
                [row for row in record["rows"] if key.items() <= row.items()],
                record["peak"][str(threads)],
            )
            beside = ", beside a busy process" if busy else ""
            axes.set_title(f"{name}, {count_text(threads, 'thread')}{beside}", fontsize=10)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9, frameon=False
    )
    figure.supxlabel("above each pair: torch.nn's time over recurra's", fontsize=8)
    figure.savefig(path, dpi=120)


def _panel(axes: Any, rows: list[dict[str, Any]], peak: float | None) -> None:
    """One cell in one setting: a pair of bars for each shape, torch's time over ours above it."""
    places = range(len(rows))
    if peak is not None:
        axes.axhline(peak, color="0.35", linestyle="--", linewidth=1.2, label="FMA peak")
    for shift, side, label, color in (
        (-0.2, "ours", "recurra", "#1b6ca8"),
        (0.2, "torch", "torch.nn", "#d9a441"),
    ):
        axes.bar(
            [place + shift for place in places],
            [row["gflops"][side] for row in rows],
            0.38,
            label=label,
            color=color,
        )
    behind = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for place, row in zip(places, rows):
        top = (place, max(row["gflops"].values()))
        axes.annotate(
            f"{row['ratio']:.2f}x",
            top,
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox=behind,
        )
    axes.set_xticks(list(places), [_label(row["shape"]) for row in rows], fontsize=7)
    axes.set_ylabel("GFLOP/s")
    axes.margins(y=0.14)
    axes.grid(True, axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _label(shape: list[int]) -> str:
    steps, rows, width, hidden, layers = shape
    return f"T {steps}, B {rows}\nI {width}, H {hidden}\n{count_text(layers, 'layer')}"
