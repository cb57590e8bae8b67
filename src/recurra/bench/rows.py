"""From raw times to the rows of the record: medians, ratios, verdicts."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from recurra.bench import registry
from recurra.bench.memory import held_for_backward, resident_mib
from recurra.bench.registry import CONTENDERS, VARIANTS, Case
from recurra.bench.shape import Shape
from recurra.bench.timing import medians
from recurra.layers import Recurrent


def timed(
    case: Case, seconds: dict[str, list[float]], threads: int, busy: bool, peak: float | None
) -> list[dict[str, Any]]:
    """The rows of a case that was timed."""
    row: dict[str, Any] = {
        "part": case.part,
        "name": case.name,
        "shape": list(case.shape),
        "threads": threads,
        "busy": busy,
        "seconds": seconds,
        "median_s": medians(seconds),
        "verdicts": [],
    }
    if case.part == "variants":
        return [_variant(row, key) for key in VARIANTS[case.name]]
    {"cells": _cell, "long": _cell, "ragged": _ragged, "step": _step}[case.part](
        row, case.shape, peak
    )
    return [row]


def _cell(row: dict[str, Any], shape: Shape, peak: float | None) -> None:
    contender, threads, median = CONTENDERS[row["name"]], row["threads"], row["median_s"]
    row["gflops"] = {
        side: shape.flop(contender.gates) / each / 1e9 for side, each in median.items()
    }
    row["share"] = None if peak is None else row["gflops"]["ours"] / peak
    row["ratio"] = median["torch"] / median["ours"]
    if row["busy"]:
        return
    target = registry.LONG_TARGET if row["part"] == "long" else contender.worst
    row["verdicts"].append(target.on(threads).judge("ratio", row["ratio"]))
    if (
        row["share"] is not None
        and threads > 1
        and shape.rows >= registry.SHARE_ROWS
        and shape.hidden_size >= registry.SHARE_HIDDEN
    ):
        row["verdicts"].append(registry.SHARE.judge("share", row["share"]))


def _variant(row: dict[str, Any], key: str) -> dict[str, Any]:
    """One variant's row: its time over the plain cell's, or over the share of it that is the
    variant's own work.
    """
    variant = VARIANTS[row["name"]][key]
    sides = {"ours": key, "plain": row["name"]}
    median = {side: row["median_s"][name] for side, name in sides.items()}
    ratio = median["ours"] / (median["plain"] * variant.work)
    target = variant.at(row["shape"][3]).on(row["threads"])
    return row | {
        "name": key,
        "plain": row["name"],
        "work": variant.work,
        "seconds": {side: row["seconds"][name] for side, name in sides.items()},
        "median_s": median,
        "time_ratio": ratio,
        "verdicts": [target.judge("time ratio", ratio)],
    }


def _ragged(row: dict[str, Any], shape: Shape, peak: float | None) -> None:
    median, targets = row["median_s"], registry.RAGGED_TARGETS
    row["valid"] = float(registry.ragged_lengths(shape).sum()) / (shape.steps * shape.rows)
    row["time_ratio"] = median["ours"] / (median["full"] * row["valid"])
    row["ratio"] = median["packed"] / median["ours"]
    row["verdicts"] = [
        targets["full"].on(row["threads"]).judge("time ratio", row["time_ratio"]),
        targets["packed"].on(row["threads"]).judge("ratio", row["ratio"]),
    ]


def _step(row: dict[str, Any], shape: Shape, peak: float | None) -> None:
    row["us"] = {side: 1e6 * each / shape.steps for side, each in row["median_s"].items()}
    row["ratio"] = row["us"]["torch"] / row["us"]["ours"]


def held(name: str, shape: Shape) -> dict[str, Any]:
    """What ours and torch.nn hold for backward, in floats a step, row and unit.

    The figure is the slope from T to 2 T steps; "start" is what does not grow with T, in floats a
    row and unit, and "output", "input" and "weights" are told apart, at T steps.
    """
    contender, found = CONTENDERS[name], {}
    each = shape.rows * shape.hidden_size
    sides = registry.cell_case("memory", name, shape).sides(shape)
    again = Recurrent(
        registry.PLAIN[name],
        shape.input_size,
        shape.hidden_size,
        recompute=True,
        dtype=torch.float32,
    )
    for side, module in (
        ("ours", sides["ours"].module),
        ("ours, recompute", again),
        ("torch", sides["torch"].module),
    ):
        once, twice = (
            held_for_backward(
                module, torch.randn(times * shape.steps, *shape[1:3], dtype=torch.float32), module
            )
            for times in (1, 2)
        )
        units = {kind: floats / (shape.steps * each) for kind, floats in once.items()}
        units["held"] = (twice["held"] - once["held"]) / (shape.steps * each)
        units["start"] = once["held"] / each - units["held"] * shape.steps
        found[side] = units
    verdicts = []
    if contender.held is not None:
        wanted = zip(("ours", "ours, recompute"), contender.held)
        verdicts = [target.judge(side, round(found[side]["held"], 3)) for side, target in wanted]
    return {
        "part": "memory",
        "name": name,
        "shape": list(shape),
        "units": found,
        "verdicts": verdicts,
    }


def flat(name: str, shape: Shape, calls: int) -> dict[str, Any]:
    """The growth of the process over many calls, forward and backward, after a tenth as many to
    settle.
    """
    side = registry.cell_case("flat", name, shape).sides(shape)["ours"]
    way = side.way(torch.randn(*shape[:3], dtype=torch.float32))
    for _ in range(max(calls // 10, 10)):
        way()
    before = resident_mib()
    for _ in range(calls):
        way()
    after = resident_mib()
    row: dict[str, Any] = {
        "part": "flat",
        "name": name,
        "shape": list(shape),
        "calls": calls,
        "before_mib": before,
        "after_mib": after,
    }
    grown = None if before is None or after is None else after - before
    return row | {
        "grown_mib": grown,
        "verdicts": [] if grown is None else [registry.FLAT_TARGET.judge("MiB grown", grown)],
    }


def summaries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each cell, number of threads and neighbour: the geometric mean, the worst row, the lowest
    share.
    """
    groups: dict[tuple[str, int, bool], list[dict[str, Any]]] = {}
    for row in rows:
        if row["part"] == "cells":
            groups.setdefault((row["name"], row["threads"], row["busy"]), []).append(row)
    return [_summary(*key, group) for key, group in groups.items()]


def _summary(name: str, threads: int, busy: bool, group: list[dict[str, Any]]) -> dict[str, Any]:
    contender = CONTENDERS[name]
    mean = statistics.geometric_mean(row["ratio"] for row in group)
    worst = min(group, key=lambda row: row["ratio"])
    verdicts = []
    if not busy:
        verdicts.append(contender.mean.on(threads).judge("geometric mean", mean))
        verdicts.append(contender.worst.on(threads).judge("worst row", worst["ratio"]))
    elif contender.busy is not None and threads > 1:
        verdicts.append(contender.busy.judge("geometric mean", mean))
    shares = [
        verdict["got"] for row in group for verdict in row["verdicts"] if verdict["what"] == "share"
    ]
    if shares:
        verdicts.append(registry.SHARE.judge("lowest share", min(shares)))
    return {
        "name": name,
        "threads": threads,
        "busy": busy,
        "geometric_mean": mean,
        "worst": worst["ratio"],
        "worst_shape": worst["shape"],
        "verdicts": verdicts,
    }
