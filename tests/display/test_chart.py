"""A chart draws what it is given, within its frame, and its labels stand apart."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest

from recurra.display import Line, chart
from recurra.display.chart import BOTTOM, HEIGHT, POINTS, RIGHT, TOP, WIDTH, linear_ticks, log_ticks
from tests.display.markup import Markup


def curves(drawn: str) -> list[list[tuple[float, float]]]:
    """The corners of every line."""
    found = re.findall(r'<polyline points="([^"]*)"', drawn)
    return [
        [(float(a), float(b)) for a, b in (corner.split(",") for corner in each.split())]
        for each in found
    ]


def labels(drawn: str) -> list[tuple[float, float, str, str]]:
    """x, y, the anchor and the words of every text."""
    found = re.findall(
        r'<text x="([\d.-]+)" y="([\d.-]+)"(?: text-anchor="(\w+)")?>([^<]*)</text>', drawn
    )
    return [(float(x), float(y), anchor, words) for x, y, anchor, words in found]


def boxes(drawn: str) -> list[tuple[float, float, float, float]]:
    """Left, right, top and bottom of every text, at 6.2 pixels a character."""
    found = []
    for x, y, anchor, words in labels(drawn):
        wide = 6.2 * len(words)
        left = x - {"end": wide, "middle": wide / 2, "": 0.0}[anchor]
        found.append((left, left + wide, y - 9, y + 2))
    return found


def test_a_line_goes_where_its_figures_are() -> None:
    (line,) = curves(chart([Line("a", [0, 1, 2], [0.0, 10.0, 5.0])], "x", "y"))
    left = line[0][0]
    assert line == [
        (left, HEIGHT - BOTTOM),
        (pytest.approx((left + WIDTH - RIGHT) / 2, abs=0.1), TOP),
        (WIDTH - RIGHT, (TOP + HEIGHT - BOTTOM) / 2),
    ]


def test_a_logarithm_makes_powers_a_straight_line() -> None:
    (line,) = curves(chart([Line("a", range(7), [10.0**-t for t in range(7)])], "x", "y", log=True))
    slopes = {round(b[1] - a[1]) for a, b in pairwise(line)}
    assert len(slopes) == 1 and line[0][1] == TOP and line[-1][1] == HEIGHT - BOTTOM
    assert {"1", "0.1", "1e-06"} <= {
        words
        for *_, words in labels(
            chart([Line("a", range(7), [10.0**-t for t in range(7)])], "x", "y", log=True)
        )
    }


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, -math.inf, 1e305])
def test_what_is_no_figure_is_a_gap(gap: float | None) -> None:
    drawn = chart([Line("a", range(5), [1.0, 2.0, gap, 3.0, 4.0])], "x", "y")
    assert [len(line) for line in curves(drawn)] == [2, 2]
    Markup(drawn)


def test_zero_has_no_logarithm() -> None:
    assert [
        len(line)
        for line in curves(
            chart([Line("a", range(4), [1.0, 0.0, 100.0, 10.0])], "x", "y", log=True)
        )
    ] == [1, 2]


@pytest.mark.parametrize("figures", [[], [math.nan], [0.0, -1.0]], ids=str)
def test_nothing_to_draw_is_said(figures: list[float]) -> None:
    assert (
        Markup(chart([Line("a", range(len(figures)), figures)], "x", "y <b>", log=True)).words
        == "y <b>: no figure that can be drawn"
    )


def test_one_point_and_a_flat_line_are_drawn() -> None:
    single = chart([Line("a", [3], [2.0])], "x", "y")
    assert single.count("<circle") == 1 and {words for *_, words in labels(single)} == {
        "x",
        "y",
        "3",
        "2",
    }
    assert (
        len({y for _, y in curves(chart([Line("a", range(3), [5.0] * 3)], "x", "y", log=True))[0]})
        == 1
    )


def test_a_long_line_is_thinned_and_keeps_its_peak() -> None:
    figures = [1.0] * 100_000
    figures[54_321] = 7.0
    (line,) = curves(chart([Line("a", range(100_000), figures)], "x", "y"))
    assert len(line) <= POINTS and min(y for _, y in line) == TOP


@pytest.mark.parametrize(
    ("low", "high", "steps", "log"),
    [
        (1e-300, 1e299, 9, True),
        (1e-7, 3.0, 100_000, True),
        (0.2, 30.0, 7, True),
        (3.3, 9.9, 12, True),
        (2.0, 2.0001, 12, False),
        (-1e6, 1e6, 1_000_000, False),
        (0.0, 1.0, 2, False),
        (123456.0, 123457.0, 60, False),
        (0.0, 5e-324, 3, False),
        (1.0, 2.0, 1999, True),
    ],
)
def test_labels_stand_apart_and_within_the_drawing(
    low: float, high: float, steps: int, log: bool
) -> None:
    drawn = chart([Line("a", [1, steps], [low, high])], "training step", "loss, nats a token", log)
    found = boxes(drawn)
    assert len(found) >= 5 or high < 1e-300
    for number, (left, right, top, bottom) in enumerate(found):
        assert left >= 0 and right <= WIDTH and top >= 0 and bottom <= HEIGHT, labels(drawn)[number]
        for a, b, c, d in found[:number]:
            assert right <= a or b <= left or bottom <= c or d <= top, labels(drawn)


@pytest.mark.parametrize(
    "ticks",
    [
        linear_ticks(1, 10),
        linear_ticks(-3, 4),
        log_ticks(2, 7),
        log_ticks(1e-5, 1e5),
        log_ticks(1, 1e3),
    ],
    ids=str,
)
def test_an_axis_has_a_few_marks(ticks: Sequence[float]) -> None:
    assert 3 <= len(ticks) <= 11 and sorted(set(ticks)) == list(ticks)


def test_every_line_has_its_colour_and_dash_and_is_named() -> None:
    drawn = chart([Line(f"<{n}>", range(2), [0.0, n]) for n in range(8)], "x", "y")
    styles = re.findall(r'stroke="(#\w+)"[^>]*stroke-dasharray="([\d ]*)"', drawn)
    assert len(set(styles)) == 8 and all(f"<{n}>" in Markup(drawn).words for n in range(8))
