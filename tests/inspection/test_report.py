"""The page stands alone, says what was found, and draws the figures that were measured."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import recurra
from recurra.errors import RunError
from recurra.inspection import charts, diagnose, write_report
from recurra.inspection.chart import COLOURS, Chart, Series
from recurra.inspection.report import SCRIPT

I, H, T, B = 3, 6, 12, 4
HISTORY: list[dict[str, Any]] = [
    {"kind": "train", "step": 1, "loss": 3.0, "grad_norm": 2.0},
    {"kind": "train", "step": 2, "loss": 2.5, "grad_norm": None},
    {"kind": "validation", "step": 2, "validation_loss": 2.6},
    {"kind": "diagnosis", "step": 2, "verdicts": []},
    {"kind": "train", "step": 3, "loss": 2.0, "grad_norm": 0.5},
]


class Page(HTMLParser):
    """Text outside scripts, and what a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.loads, self.open = "", [], [""]  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        if self.open[-1] not in ("script", "style"):
            self.words += data + " "

    def handle_endtag(self, tag: str) -> None:
        self.open.append("")


def drawn(page: str) -> list[dict[str, Any]]:
    """The data of each chart of a page, as its script reads them."""
    return [
        json.loads(text)
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def sick() -> torch.nn.Module:
    net = recurra.LSTM(I, H, 2)
    recurra.init.forget_bias(net, -4.0)
    return net


def test_a_page_stands_alone_and_says_it_all(tmp_path: Path) -> None:
    found = diagnose(sick(), (torch.randn(T, B, I),), history=HISTORY, window=5, clip_norm=1.0)
    write_report(
        found, tmp_path / "a.html", history=HISTORY, title="runs/<a>", facts={"text": "a & b"}
    )
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads == [] and "://" not in text and len(text) < 100_000
    assert text.count(SCRIPT.read_text(encoding="utf-8")) == 1 and text.count(
        "<canvas"
    ) == 7 == len(drawn(text))
    for verdict in found.verdicts:
        assert verdict.evidence in page.words and verdict.advice in page.words
    for said in (
        "runs/<a>",
        "a & b",
        "5 steps",
        "66.7% of them clipped",
        "layer 0 LSTM()",
        "spectral radius",
    ):
        assert said in page.words, said
    assert headings(text) == [
        "Facts",
        "Gradient by step",
        "Gradient by lag",
        "Retention",
        "Time constants",
        "Saturation",
        "Loss",
        "Gradient norm",
    ]


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    found = diagnose(recurra.RNN(I, H, nonlinearity="relu"), (torch.randn(T, B, I),))
    write_report(found, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert headings(text) == ["Facts", "Gradient by step", "Gradient by lag"]
    assert (
        "Nothing is wrong with what was measured." in Page(text).words
        and "<title>Inspection</title>" in text
    )


def test_charts_draw_the_figures() -> None:
    found = diagnose(recurra.LSTM(I, H, 2), (torch.randn(T, B, I),))
    flow, lags = charts.flow_chart(found.layers), charts.lag_chart(found.layers, window=4)
    assert flow.series[1].y == found.layers[1].flow.tolist() and flow.series[1].x == list(
        range(1, T + 1)
    )
    assert [line.name for line in lags.series] == [
        f"layer {n}: d{s}_t/d{s}_k" for n in (0, 1) for s in "hc"
    ]
    assert lags.series[1].y == pytest.approx(found.layers[0].by_lag["c"].tolist())
    assert [(label, below) for _, label, below in lags.levels] == [
        ("1/e", False),
        ("1 %", True),
    ] and lags.places == [(4, "window")]
    assert charts.lag_chart(found.layers).places == []
    kept = charts.retention_chart(found.layers)
    assert (
        kept is not None
        and sum(y or 0 for y in kept.series[0].y) == H
        and "to" in kept.series[0].texts[3]
    )
    times = charts.time_chart(found.layers)
    assert times is not None and times.series[0].y == sorted(
        found.layers[0].time_constants.tolist()
    )  # type: ignore[union-attr]
    ends = charts.saturation_chart(found.layers)
    assert (
        ends is not None
        and list(ends.names) == list("ifgo")
        and ends.series[1].y == list(found.layers[1].saturation.values())
    )
    assert ends.record()["x"]["low"] == -0.5 and ends.record()["x"]["high"] == 3.5


def test_a_legend_stands_above_its_chart_in_the_order_of_layers_and_states() -> None:
    found = diagnose(recurra.LSTM(I, H, 3), (torch.randn(T, B, I),))
    text = charts.lag_chart(found.layers).to_html("Gradient by lag")
    names = re.findall(r"</svg> (.*?)</button>", text)
    assert names == [f"layer {n}: d{s}_t/d{s}_k" for n in range(3) for s in "hc"] and text.index(
        "<ul"
    ) < text.index("<canvas")
    colours = re.findall(r'stroke="(#\w+)" stroke-width="2.5" stroke-dasharray="(.*?)"', text)
    assert colours == [(colour, dash) for colour in COLOURS[:3] for dash in ("", "7 4")]
    assert [
        one["name"] for one in drawn(text)[0]["series"]
    ] == names and 'aria-label="Gradient by lag"' in text


def test_a_hostile_name_stays_text() -> None:
    name = "</script><img src=x onerror=alert(1)>"
    text = Chart("x", "y", series=[Series(name, COLOURS[0], [1, 2], [1.0, 2.0])]).to_html(name)
    assert (
        "<img" not in text
        and text.count("</script>") == 1
        and drawn(text)[0]["series"][0]["name"] == name
    )


@pytest.mark.parametrize("where", ["x", "y"])
def test_a_figure_that_is_not_finite_is_a_gap(where: str) -> None:
    good, bad = [1.0, 2.0, 3.0], [1.0, math.inf, math.nan]
    xs, ys = (bad, good) if where == "x" else (good, bad)
    text = Chart("x", "y", series=[Series("loss", COLOURS[0], xs, ys)]).to_html("loss")
    assert "Infinity" not in text and "NaN" not in text and drawn(text)


def test_history_is_drawn_with_the_clip_line_and_gaps() -> None:
    loss, norm = charts.loss_chart(HISTORY), charts.norm_chart(HISTORY, clip_norm=1.0)
    assert loss is not None and norm is not None
    assert [(line.name, line.x, line.y) for line in loss.series] == [
        ("training, each chunk", [1, 2, 3], [3.0, 2.5, 2.0]),
        ("validation", [2], [2.6]),
    ]
    assert (
        norm.series[0].y == [2.0, None, 0.5]
        and norm.series[1].name == "clip_norm 1"
        and norm.series[1].y == [1.0, 1.0]
    )
    assert loss.series[1].markers and len(charts.norm_chart(HISTORY).series) == 1  # type: ignore[union-attr]
    assert charts.loss_chart(HISTORY[2:4]) is None and charts.norm_chart([]) is None


def test_every_label_is_on_its_axis_once() -> None:
    """Charts whose figures are near one another, or far apart, keep a few ticks."""
    for low, high, kind, said in (
        (1.0, 1.1, False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (1.0, 90.0, True, ["1", "2", "5", "10", "20", "50", "100"]),
        (1e-30, 1.0, True, ["10⁻³⁰", "10⁻²⁵", "10⁻²⁰", "10⁻¹⁵", "10⁻¹⁰", "10⁻⁵", "10⁰"]),
    ):
        rows = [
            {"kind": "train", "step": step, "grad_norm": norm}
            for step, norm in enumerate((low, high))
        ]
        log, bottom, top, ticks = charts.norm_chart(rows).axis()  # type: ignore[union-attr]
        assert log is kind and [label for _, label in ticks] == said
        assert bottom <= low < high <= top and all(bottom <= value <= top for value, _ in ticks)


def test_an_axis_of_one_figure_or_none_has_a_width() -> None:
    for series in (
        [],
        [Series("a", COLOURS[0], [3], [2.0])],
        [Series("a", COLOURS[0], [3], [0.0])],
        [Series("a", COLOURS[0], [3], [None])],
    ):
        for log in (False, True):
            record = Chart("x", "y", log=log, series=series).record()
            assert (
                record["x"]["low"] < record["x"]["high"]
                and record["y"]["low"] < record["y"]["high"]
                and record["y"]["ticks"]
            )


def test_long_runs_are_thinned_to_their_jumps() -> None:
    x, y = list(range(50_000)), [1.0] * 50_000
    y[31_111] = 400.0
    few_x, few_y = charts.thin(x, y, most=100)
    assert len(few_x) == 100 and (31_111, 400.0) in zip(few_x, few_y) and few_x == sorted(few_x)
    assert charts.thin([1], [None]) == ([1], [None]) == charts.thin([1], [None], top=False)
    rows = [
        {"kind": "train", "step": step, "loss": norm, "grad_norm": norm} for step, norm in zip(x, y)
    ]
    loss, norm = charts.loss_chart(rows), charts.norm_chart(rows)
    assert (
        loss is not None
        and max(y or 0 for y in loss.series[0].y) == 1 + 399 / 25
        and len(loss.series[0].y) == 2000
    )
    assert (
        norm is not None
        and max(y or 0 for y in norm.series[0].y) == 400
        and len(norm.to_html("norm")) < 40_000
    )


def test_a_broken_net_still_has_its_page(tmp_path: Path) -> None:
    net = recurra.LSTM(I, H)
    with torch.no_grad():
        net.weight_hh_l0[0, 0] = torch.nan
    found = diagnose(net, (torch.randn(T, B, I),), window=5)
    assert [verdict.name for verdict in found.verdicts] == ["exploding gradient"]
    write_report(found, tmp_path / "a.html")
    found.plot(tmp_path / "a.png")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) and "stops being finite" in str(
        found
    )


def test_values_without_a_logarithm_are_gaps(tmp_path: Path) -> None:
    net = recurra.RNN(I, H, nonlinearity="relu")
    with torch.no_grad():
        net.weight_hh_l0.zero_()
    found = diagnose(net, (torch.randn(T, B, I),))
    assert charts.flow_chart(found.layers).series[0].y[:-1] == [None] * (T - 1)
    write_report(found, tmp_path / "a.html")
    assert len(drawn((tmp_path / "a.html").read_text(encoding="utf-8"))) == 2


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    found = diagnose(recurra.GRU(I, H), (torch.randn(T, B, I),))
    with pytest.raises(
        RunError,
        match=(
            r"^out must be a file that can be written, got '.*none/a.html' \(No such file or"
            r" directory\)$"
        ),
    ):
        write_report(found, tmp_path / "none" / "a.html")
