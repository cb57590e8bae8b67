"""The tables hold every figure, beside its target, in 120 columns."""

from __future__ import annotations

import pytest

from recurra.bench import Shape, report
from tests.bench.record import foretold


@pytest.mark.parametrize(
    ("ours", "torch"), [(0.1, 0.2), (45.678, 98.765), (98.7, 0.5), (0.001, 0.9)]
)
@pytest.mark.parametrize("peak", [None, 200.0])
def test_tables_fit_120_columns(ours: float, torch: float, peak: float | None) -> None:
    text = report(foretold(Shape(100, 128, 256, 1024, 2), peak, ours, torch))
    assert max(map(len, text.splitlines())) <= 120, max(text.splitlines(), key=len)


def test_a_row_says_what_was_wanted_and_what_came() -> None:
    lines = report(foretold()).splitlines()
    at = lines.index("lstm, 2 threads")
    figures = "64, 64, 256, 256, 1 100.00 200.00 128.8 64.4 64% 2.00"
    assert " ".join(lines[at + 2].split()) == f"{figures} target 1.15, got 2.00 ok, share MISSED"
    assert lines[at + 3].split(maxsplit=2)[2] == "target 1.5, got 2.00 ok"
    assert lines[at + 4].startswith("worst row (64, 64, 256, 256, 1)  ") and lines[at + 4].endswith(
        "target 1.15, got 2.00 ok"
    )
    assert lines[at + 5].startswith("lowest share") and lines[at + 5].endswith(
        "target 67 %, got 64 % MISSED"
    )


def test_every_part_and_setting_has_its_table() -> None:
    text = report(foretold())
    for words in (
        "gru, 1 thread\n",
        "rnn, 2 threads, beside one busy process\n",
        "Variants: ",
        "Zoneout GRU",
        "Ragged, ",
        "gru, 2 threads, one long row",
        "Held for backward",
        "over 10,000 calls",
        "One step at batch 1",
        "FMA peak, float32: 200 GFLOP/s on 1 thread, 200 GFLOP/s on 2 threads",
        "target at most 5, got 5.03 MISSED",
        "400.0 to 400.2 MiB",
    ):
        assert words in text, words
    busy = text[text.index("lstm, 2 threads, beside") :]
    assert busy[: busy.index("\n\n")].endswith("target 5, got 2.00 MISSED")
    busy = text[text.index("gru, 2 threads, beside") :]
    assert busy[: busy.index("\n\n")].split("\n")[-1].split() == ["geometric", "mean", "2.00"]


def test_a_share_without_a_peak_is_a_dash() -> None:
    text = report(foretold(peak=None))
    assert "FMA peak, float32: - (the native module does not measure it)" in text
    line = next(line for line in text.splitlines() if line.startswith("64, 64, 256, 256, 1"))
    assert line.split()[9:11] == ["-", "2.00"]


def test_a_machine_that_was_busy_is_called_so() -> None:
    record = foretold()
    assert "NOT QUIET" not in report(record)
    record["machine"]["load"] = 1.7
    assert "load 1.7: NOT QUIET" in report(record)
    record["machine"]["load"] = None
    assert "NOT QUIET" not in report(record)


def test_what_the_system_does_not_say_is_a_dash() -> None:
    record = foretold()
    (row,) = [row for row in record["rows"] if row["part"] == "flat"]
    row |= {"grown_mib": None, "before_mib": None, "after_mib": None, "verdicts": []}
    assert any(
        line.split() == ["lstm", "64,", "64,", "256,", "256,", "1", "-"]
        for line in report(record).splitlines()
    )


def test_the_last_line_counts_the_targets() -> None:
    record = foretold()
    judged = [
        each["ok"] for row in [*record["rows"], *record["summaries"]] for each in row["verdicts"]
    ]
    assert report(record).splitlines()[
        -1
    ] == f"{sum(judged)} of {len(judged)} targets reached" and 0 < sum(judged) < len(judged)
