"""The page stands alone, says what was found, and draws the figures that were measured."""

from __future__ import annotations

import builtins
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import recurra
from recurra.errors import MissingDependency, RunError
from recurra.inspection import charts, diagnose, write_report

I, H, T, B = 3, 6, 12, 4
HISTORY: list[dict[str, Any]] = [
    {"kind": "train", "step": 1, "loss": 3.0, "grad_norm": 2.0}, {"kind": "train", "step": 2, "loss": 2.5, "grad_norm": None},
    {"kind": "validation", "step": 2, "validation_loss": 2.6}, {"kind": "diagnosis", "step": 2, "verdicts": []},
    {"kind": "train", "step": 3, "loss": 2.0, "grad_norm": 0.5},
]  # fmt: skip


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


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def sick() -> torch.nn.Module:
    net = recurra.LSTM(I, H, 2)
    recurra.init.forget_bias(net, -4.0)
    return net


def test_a_page_stands_alone_and_says_it_all(tmp_path: Path) -> None:
    found = diagnose(sick(), (torch.randn(T, B, I),), history=HISTORY, window=5, clip_norm=1.0)
    write_report(found, tmp_path / "a.html", history=HISTORY, title="runs/<a>", facts={"text": "a & b"})
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert (
        page.loads == []
        and text.count("plotly.js v") == 1
        and "cdn.plot.ly" not in re.sub(r"<script>/\*\*.*?</script>", "", text, flags=re.DOTALL)
    )
    for verdict in found.verdicts:
        assert verdict.evidence in page.words and verdict.advice in page.words
    for said in ("runs/<a>", "a & b", "5 steps", "66.7% of them clipped", "layer 0 LSTM()", "spectral radius"):
        assert said in page.words, said
    assert headings(text) == [
        "Facts", "Gradient by step", "Gradient by lag", "Retention", "Time constants", "Saturation", "Loss", "Gradient norm",
    ]  # fmt: skip


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    found = diagnose(recurra.RNN(I, H, nonlinearity="relu"), (torch.randn(T, B, I),))
    write_report(found, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert headings(text) == ["Facts", "Gradient by step", "Gradient by lag"]
    assert "Nothing is wrong with what was measured." in Page(text).words and "<title>Inspection</title>" in text


def test_charts_draw_the_figures() -> None:
    found = diagnose(recurra.LSTM(I, H, 2), (torch.randn(T, B, I),))
    flow, lags = charts.flow_chart(found.layers), charts.lag_chart(found.layers, window=4)
    assert list(flow.data[1].y) == found.layers[1].flow.tolist() and list(flow.data[1].x) == list(range(1, T + 1))
    assert [line.name for line in lags.data] == [f"d{s}_t/d{s}_k, layer {n}" for n in (0, 1) for s in "hc"]
    assert list(lags.data[1].y) == pytest.approx(found.layers[0].by_lag["c"].tolist())
    assert {note.text for note in lags.layout.annotations} == {"1/e", "1 %", "window"} and len(lags.layout.shapes) == 3
    assert {note.text for note in charts.lag_chart(found.layers).layout.annotations} == {"1/e", "1 %"}
    kept = charts.retention_chart(found.layers)
    assert kept is not None and sum(kept.data[0].y) == H and "to" in kept.data[0].customdata[3]
    times = charts.time_chart(found.layers)
    assert times is not None and list(times.data[0].y) == sorted(found.layers[0].time_constants.tolist())  # type: ignore[union-attr]
    ends = charts.saturation_chart(found.layers)
    assert ends is not None and list(ends.data[0].x) == list("ifgo") and list(ends.data[1].y) == list(found.layers[1].saturation.values())


def test_history_is_drawn_with_the_clip_line_and_gaps() -> None:
    loss, norm = charts.loss_chart(HISTORY), charts.norm_chart(HISTORY, clip_norm=1.0)
    assert loss is not None and norm is not None
    assert [(line.name, list(line.x), list(line.y)) for line in loss.data] == [
        ("training, each chunk", [1, 2, 3], [3.0, 2.5, 2.0]), ("validation", [2], [2.6]),
    ]  # fmt: skip
    assert list(norm.data[0].y) == [2.0, None, 0.5] and norm.data[1].name == "clip_norm 1" and list(norm.data[1].y) == [1.0, 1.0]
    assert len(charts.norm_chart(HISTORY).data) == 1  # type: ignore[union-attr]
    assert charts.loss_chart(HISTORY[2:4]) is None and charts.norm_chart([]) is None


def test_every_label_is_on_its_axis_once() -> None:
    """Charts whose figures are near one another, or far apart, keep a few ticks."""
    for low, high, kind in ((1.0, 1.1, "linear"), (1.0, 90.0, "log"), (1e-30, 1.0, "log")):
        rows = [{"kind": "train", "step": step, "grad_norm": norm} for step, norm in enumerate((low, high))]
        axis = charts.norm_chart(rows).layout.yaxis  # type: ignore[union-attr]
        assert axis.type == kind
        if (low, high) == (1.0, 90.0):
            assert axis.ticktext[:4] == ("1", "2", "5", "10")
        if low < 1e-20:
            assert axis.tickvals is None and axis.dtick == 4


def test_long_runs_are_thinned_to_their_jumps() -> None:
    x, y = list(range(50_000)), [1.0] * 50_000
    y[31_111] = 400.0
    few_x, few_y = charts.thin(x, y, most=100)
    assert len(few_x) == 100 and (31_111, 400.0) in zip(few_x, few_y) and few_x == sorted(few_x)
    assert charts.thin([1], [None]) == ([1], [None]) == charts.thin([1], [None], top=False)
    rows = [{"kind": "train", "step": step, "loss": norm, "grad_norm": norm} for step, norm in zip(x, y)]
    loss, norm = charts.loss_chart(rows), charts.norm_chart(rows)
    assert loss is not None and max(loss.data[0].y) == 1 + 399 / 25 and len(loss.data[0].y) == 2000
    assert norm is not None and max(norm.data[0].y) == 400


def test_a_broken_net_still_has_its_page(tmp_path: Path) -> None:
    net = recurra.LSTM(I, H)
    with torch.no_grad():
        net.weight_hh_l0[0, 0] = torch.nan
    found = diagnose(net, (torch.randn(T, B, I),), window=5)
    assert [verdict.name for verdict in found.verdicts] == ["exploding gradient"]
    write_report(found, tmp_path / "a.html")
    found.plot(tmp_path / "a.png")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) and "stops being finite" in str(found)


def test_values_without_a_logarithm_are_gaps(tmp_path: Path) -> None:
    net = recurra.RNN(I, H, nonlinearity="relu")
    with torch.no_grad():
        net.weight_hh_l0.zero_()
    found = diagnose(net, (torch.randn(T, B, I),))
    assert list(charts.flow_chart(found.layers).data[0].y)[:-1] == [None] * (T - 1)
    write_report(found, tmp_path / "a.html")
    figures = re.findall(r'"y":(\[.*?\])', (tmp_path / "a.html").read_text(encoding="utf-8"))
    assert all(json.loads(values) is not None for values in figures) and figures


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    found = diagnose(recurra.GRU(I, H), (torch.randn(T, B, I),))
    with pytest.raises(RunError, match=r"^out must be a file that can be written, got '.*none/a.html' \(No such file or directory\)$"):
        write_report(found, tmp_path / "none" / "a.html")


def test_without_plotly_the_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, usual = diagnose(recurra.GRU(I, H), (torch.randn(T, B, I),)), builtins.__import__
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "plotly":
            raise ImportError(name)
        return usual(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r'^write_report needs plotly; install it with: pip install "recurra\[train\]"$'):
        write_report(found, tmp_path / "a.html")
    assert not list(tmp_path.iterdir())
