"""The drawing shows both sides of every shape and the peak."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from recurra.bench import plot_bench
from recurra.errors import ArgumentError
from tests.bench.record import foretold


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved."""
    figures: list[Figure] = []
    plain = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **options: (figures.append(self), plain(self, *args, **options)),
    )
    return figures


def test_a_panel_for_each_cell_and_setting_with_bars_and_the_peak(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    record = foretold()
    plot_bench(record, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    titles = [axes.get_title() for axes in figure.axes]
    assert (
        len(titles) == 12
        and titles[0] == "lstm, 1 thread"
        and titles[-1] == "rnn, 2 threads, beside a busy process"
    )
    (row,) = [
        r
        for r in record["rows"]
        if r["part"] == "cells" and (r["name"], r["threads"], r["busy"]) == ("lstm", 1, False)
    ]
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [
        row["gflops"]["ours"],
        row["gflops"]["torch"],
    ]
    assert list(axes.lines[0].get_ydata()) == [200.0, 200.0]
    assert [text.get_text() for text in axes.texts] == ["2.00x"]
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "T 64, B 64\nI 256, H 256\n1 layer"
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "FMA peak",
        "recurra",
        "torch.nn",
    ]


def test_without_a_peak_there_is_no_line(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_bench(foretold(peak=None), str(tmp_path / "bench.svg"))
    assert b"<svg" in (tmp_path / "bench.svg").read_bytes() and not drawn[0].axes[0].lines


def test_labels_do_not_overlap(tmp_path: Path, drawn: list[Figure]) -> None:
    from recurra.bench.registry import SHAPES

    record = foretold(SHAPES[0])
    for shape in SHAPES[1:]:
        record["rows"] += foretold(shape)["rows"]
    plot_bench(record, tmp_path / "bench.png")
    for axes in drawn[0].axes:
        spans = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert len(spans) == 7 and all(left.x1 < right.x0 for left, right in pairwise(spans))


def test_a_record_without_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^record must hold the part 'cells', got none of it$"):
        plot_bench({"summaries": [], "rows": []}, tmp_path / "bench.png")
