"""The record as tables, at most 120 columns wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recurra.bench.shape import Shape
from recurra.wording import count_text

UNITS = {"share": 100, "lowest share": 100}
"""Figures that read better in per cent."""


def report(record: dict[str, Any]) -> str:
    """Write the record of `measure` as text, each figure that has a target beside it."""
    machine = record["machine"]
    peaks = [
        f"{peak:.0f} GFLOP/s on {_threads(int(key))}"
        for key, peak in record["peak"].items()
        if peak is not None
    ]
    quiet = "" if (machine["load"] or 0) < 0.5 else ": NOT QUIET, others ran before"
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}{quiet}",
        (
            f"torch {machine['torch']}, recurra {machine['recurra']} ({machine['native']}), Python"
            f" {machine['python']}"
        ),
        (
            "FMA peak, float32:"
            f" {', '.join(peaks) if peaks else '- (the native module does not measure it)'}"
        ),
        (
            f"Our side by method {record['plan']['method']!r}. Forward and backward, float32;"
            " medians of rounds run in turn."
        ),
    ]
    for part, write in WRITERS.items():
        if found := [row for row in record["rows"] if row["part"] == part]:
            lines += ["", *write(found, record)]
    return "\n".join([*lines, "", _count(record)])


def verdict(judged: dict[str, Any]) -> str:
    """One verdict as words.

    >>> verdict({"what": "ratio", "target": 1.5, "at_least": True, "got": 1.617, "ok": True})
    'target 1.5, got 1.62 ok'
    >>> verdict({"what": "share", "target": 0.67, "at_least": True, "got": 0.51, "ok": False})
    'target 67 %, got 51 % MISSED'
    >>> verdict({"what": "time ratio", "target": 1.15, "at_least": False, "got": 1.1, "ok": True})
    'target at most 1.15, got 1.10 ok'
    """
    unit = UNITS.get(judged["what"])
    target, got = (
        (f"{judged['target'] * unit:.0f} %", f"{judged['got'] * unit:.0f} %")
        if unit
        else (f"{judged['target']:g}", f"{judged['got']:.2f}")
    )
    return (
        f"target {'' if judged['at_least'] else 'at most '}{target}, got {got}"
        f" {'ok' if judged['ok'] else 'MISSED'}"
    )


def _cells(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = []
    for summary in record["summaries"]:
        key = {name: summary[name] for name in ("name", "threads", "busy")}
        lines += [
            "",
            *_against_torch([row for row in rows if key.items() <= row.items()], _title(**key)),
        ]
        for judged in summary["verdicts"]:
            where = f" ({Shape(*summary['worst_shape'])})" if judged["what"] == "worst row" else ""
            lines.append(f"{judged['what'] + where:<77}{verdict(judged)}")
        if not any(judged["what"] == "geometric mean" for judged in summary["verdicts"]):
            lines.append(f"{'geometric mean':<68}{summary['geometric_mean']:>7.2f}")
    return lines[1:]


def _against_torch(rows: list[dict[str, Any]], title: str) -> list[str]:
    """Rows of cells that torch.nn has."""
    head = (
        f"{'T, B, I, H, layers':<21}{'ms: ours':>9}{'torch':>9}"
        f"{'GFLOP/s: ours':>14}{'torch':>8}{'share':>7}{'ratio':>7}"
    )
    lines = [title, head]
    for row in rows:
        ms, gflops = row["median_s"], row["gflops"]
        share = "-" if row["share"] is None else f"{row['share']:.0%}"
        speeds = (
            f"{ms['ours'] * 1e3:>9.2f}{ms['torch'] * 1e3:>9.2f}"
            f"{gflops['ours']:>14.1f}{gflops['torch']:>8.1f}"
        )
        figures = f"{speeds}{share:>7}{row['ratio']:>7.2f}"
        lines.append(f"{_shape(row):<21}{figures}{_first(row)}{''.join(_more(row))}")
    return lines


def _variants(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = [
        (
            "Variants: time over that of our plain cell of the same shape (CoupledLSTM: of as many"
            " gates' work)"
        ),
        (
            f"{'cell':<22}{'T, B, I, H, layers':<22}{'threads':>8}{'ms: ours':>11}{'plain':>10}  "
            " time over plain"
        ),
    ]
    for row in rows:
        ms = row["median_s"]
        figures = f"{row['threads']:>8}{ms['ours'] * 1e3:>11.2f}{ms['plain'] * 1e3:>10.2f}"
        lines.append(f"{row['name']:<22}{_shape(row):<22}{figures} {_first(row)}")
    return lines


def _ragged(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = [
        (
            "Ragged, rows of 1 to T steps: first ours over (the full batch's time x the share of"
            " valid steps),"
        ),
        "then torch.nn's time with a PackedSequence over ours",
        (
            f"{'cell':<8}{'T, B, I, H, layers':<22}{'threads':>8}{'valid':>7}"
            f"{'ms: ours':>10}{'full':>8}{'packed':>9}"
        ),
    ]
    for row in rows:
        ms = {side: each * 1e3 for side, each in row["median_s"].items()}
        figures = (
            f"{row['threads']:>8}{row['valid']:>7.0%}"
            f"{ms['ours']:>10.2f}{ms['full']:>8.2f}{ms['packed']:>9.2f}"
        )
        lines.append(f"{row['name']:<8}{_shape(row):<22}{figures}   {verdict(row['verdicts'][0])}")
        lines.append(f"{'':<75}{verdict(row['verdicts'][1])}")
    return lines


def _long(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = []
    for name, threads in dict.fromkeys((row["name"], row["threads"]) for row in rows):
        these = [row for row in rows if (row["name"], row["threads"]) == (name, threads)]
        lines += _against_torch(these, f"{_title(name, threads, False)}, one long row")
    return lines


def _memory(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = [
        (
            "Held for backward, one layer: floats a step, row and unit; apart from it output, input"
            " and weights,"
        ),
        "and what does not grow with T (start: floats a row and unit)",
        (
            f"{'cell':<6}{'T, B, I, H, layers':<22}{'side':<17}{'held':>6}"
            f"{'output':>8}{'input':>7}{'weights':>9}{'start':>8}"
        ),
    ]
    for row in rows:
        judged = {each["what"]: f"   {verdict(each)}" for each in row["verdicts"]}
        for side, units in row["units"].items():
            figures = (
                f"{units['held']:>6.2f}{units['output']:>8.2f}{units['input']:>7.2f}"
                f"{units['weights']:>9.2f}{units['start']:>8.2f}"
            )
            lines.append(
                f"{row['name']:<6}{_shape(row):<22}{side:<17}{figures}{judged.get(side, '')}"
            )
    return lines


def _flat(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = [
        f"Memory of the process over {count_text(rows[0]['calls'], 'call')}, forward and backward"
    ]
    for row in rows:
        if row["grown_mib"] is None:
            lines.append(f"{row['name']:<6}{_shape(row):<22}-")
        else:
            grown = f"{row['before_mib']:.1f} to {row['after_mib']:.1f} MiB"
            lines.append(
                f"{row['name']:<6}{_shape(row):<22}{grown:<24}MiB grown:"
                f" {verdict(row['verdicts'][0])}"
            )
    return lines


def _step(rows: list[dict[str, Any]], record: dict[str, Any]) -> list[str]:
    lines = [
        "One step at batch 1 without gradients: microseconds a step; ratio: torch.nn / ours",
        (
            f"{'cell':<6}{'I, H, layers':<16}{'threads':>8}{'step':>9}"
            f"{'torch.nn':>10}{'loop':>9}{'ratio':>8}"
        ),
    ]
    for row in rows:
        us, sizes = row["us"], ", ".join(map(str, row["shape"][2:]))
        figures = (
            f"{row['threads']:>8}{us['ours']:>9.1f}{us['torch']:>10.1f}"
            f"{us['loop']:>9.1f}{row['ratio']:>8.2f}"
        )
        lines.append(f"{row['name']:<6}{sizes:<16}{figures}")
    return lines


WRITERS: dict[str, Callable[[list[dict[str, Any]], dict[str, Any]], list[str]]] = {
    "cells": _cells,
    "variants": _variants,
    "ragged": _ragged,
    "long": _long,
    "memory": _memory,
    "flat": _flat,
    "step": _step,
}


def _title(name: str, threads: int, busy: bool) -> str:
    return f"{name}, {_threads(threads)}{', beside one busy process' if busy else ''}"


def _threads(number: int) -> str:
    return count_text(number, "thread")


def _shape(row: dict[str, Any]) -> str:
    return str(Shape(*row["shape"]))


def _first(row: dict[str, Any]) -> str:
    return f"  {verdict(row['verdicts'][0])}" if row["verdicts"] else ""


def _more(row: dict[str, Any]) -> list[str]:
    """What else is asked of a row, in a word: the figure stands in its own column."""
    return [
        f", {judged['what']} {'ok' if judged['ok'] else 'MISSED'}" for judged in row["verdicts"][1:]
    ]


def _count(record: dict[str, Any]) -> str:
    judged = [each for row in [*record["rows"], *record["summaries"]] for each in row["verdicts"]]
    return f"{sum(each['ok'] for each in judged)} of {len(judged)} targets reached"
