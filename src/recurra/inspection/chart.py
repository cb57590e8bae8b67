"""A chart as data: lines or bars, their axes and levels. `charts.js` draws it in a page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recurra.strict_json import dumps

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe & Ito's, which the colour-blind tell apart."""
DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3))
"""Lengths of strokes and gaps in pixels, of a layer's first line, its second and third."""
DIGITS = 5
"""Of each number in a page: more than a screen shows."""


@dataclass(frozen=True)
class Series:
    """A line, or the bars of one layer.

    Attributes:
        name: in the legend.
        colour: of CSS.
        x, y: the points; None where there is no figure, so that the line has a gap.
        dash: strokes and gaps of a line.
        markers: draw each point too.
        texts: what is said of each bar.
    """

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float | None]
    dash: tuple[int, ...] = ()
    markers: bool = False
    texts: Sequence[str] = ()


@dataclass
class Chart:
    """Lines or bars with their axes; series stand in the order of layers, and so does the legend.

    Attributes:
        x_label, y_label: of the axes.
        kind: "lines", "stacked" (bars on one another) or "grouped" (bars side by side, by name).
        hover: what is said of a point: {x} and {y} are put in.
        log: a logarithmic y axis, where figures are far apart.
        zero: whether a linear y axis begins at 0.
        x_range: the ends of the x axis; those of the points if None.
        x_percent, y_percent: write figures of the axis in percent.
        names: of the places 0, 1, ... on the x axis, for "grouped".
        bar: width of a bar, on the x axis.
        least: what the y axis reaches up to at least.
        series: what is drawn.
        levels: values across the chart, with a label, and whether it stands below.
        places: the same along the x axis.
    """

    x_label: str
    y_label: str
    kind: str = "lines"
    hover: str = ""
    log: bool = False
    zero: bool = False
    x_range: tuple[float, float] | None = None
    x_percent: bool = False
    y_percent: bool = False
    names: Sequence[str] = ()
    bar: float = 0.8
    least: float = 0.0
    series: list[Series] = field(default_factory=list)
    levels: list[tuple[float, str, bool]] = field(default_factory=list)
    places: list[tuple[float, str]] = field(default_factory=list)

    def axis(self) -> tuple[bool, float, float, list[tuple[float, str]]]:
        """The y axis: whether it is logarithmic, its ends and its ticks; figures close by need no
        logarithm.
        """
        values = (
            self._tops()
            if self.kind == "stacked"
            else [value for one in self.series for value in one.y if value is not None]
        )
        values += [level[0] for level in self.levels] + ([self.least] if self.least else [])
        values = [value for value in values if math.isfinite(value)]
        low, high = min(values, default=0.0), max(values, default=1.0)
        if self.log and low > 0 and high >= 3 * low:
            pad = (high / low) ** 0.04
            return True, low / pad, high * pad, log_ticks(low / pad, high * pad)
        low = 0.0 if self.zero or self.log or self.kind != "lines" else low
        pad = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
        ends = (low if low == 0 else low - pad), high + pad
        return False, *ends, linear_ticks(*ends, self.y_percent)

    def _tops(self) -> list[float]:
        sums: dict[float, float] = {}
        for one in self.series:
            for x, y in zip(one.x, one.y):
                sums[x] = sums.get(x, 0.0) + (y or 0.0)
        return [0.0, *sums.values()]

    def record(self) -> dict[str, Any]:
        """What `charts.js` draws."""
        log, low, high, ticks = self.axis()
        xs = [x for one in self.series for x in one.x]
        ends = self.x_range or (
            (-0.5, len(self.names) - 0.5)
            if self.names
            else (min(xs, default=0.0), max(xs, default=1.0))
        )
        ends = ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[0] + 0.5)
        x = {
            "label": self.x_label,
            "low": ends[0],
            "high": ends[1],
            "percent": self.x_percent,
            "bar": self.bar,
        }
        return {
            "kind": self.kind,
            "hover": self.hover,
            "x": x | ({"names": list(self.names)} if self.names else {}),
            "y": {
                "label": self.y_label,
                "low": low,
                "high": high,
                "log": log,
                "ticks": ticks,
                "percent": self.y_percent,
            },
            "series": [
                vars(one) | {"x": _short(one.x), "y": _short(one.y), "texts": list(one.texts)}
                for one in self.series
            ],
            "levels": self.levels,
            "places": self.places,
        }

    def to_html(self, label: str) -> str:
        """The chart in a page that has `charts.js`: its legend above it, so that it covers nothing,
        and its figures.

        Args:
            label: what it shows, for who cannot see it.
        """
        swatch = '<svg width="26" height="10" aria-hidden="true">{}</svg>'
        line = (
            '<line x1="0" y1="5" x2="26" y2="5" stroke="{}" stroke-width="2.5"'
            ' stroke-dasharray="{}"/>'
        )
        box = '<rect width="14" height="10" x="6" fill="{}"/>'
        marks = [
            (
                line.format(one.colour, " ".join(map(str, one.dash)))
                if self.kind == "lines"
                else box.format(one.colour)
            )
            for one in self.series
        ]
        items = "".join(
            f'<li><button type="button" aria-pressed="true">{swatch.format(mark)}'
            f" {html.escape(one.name)}</button></li>"
            for mark, one in zip(marks, self.series)
        )
        data = dumps(self.record()).replace("<", "\\u003c")
        canvas = (
            f'<canvas role="img" aria-label="{html.escape(label)}"></canvas><div class="tip"'
            " hidden></div>"
        )
        script = f'<script type="application/json">{data}</script>'
        return f'<figure class="chart"><ul class="legend">{items}</ul>{canvas}{script}</figure>'


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis: 1, 2 and 5 of each decade where there are few, else powers of
    ten, eight at most.

    >>> log_ticks(0.9, 30), [label for _, label in log_ticks(1e-7, 1.1)]
    ([(1.0, '1'), (2.0, '2'), (5.0, '5'), (10.0, '10'), (20.0, '20')], ['10⁻⁷', '10⁻⁶', '10⁻⁵',
    '10⁻⁴', '10⁻³', '10⁻²', '10⁻¹', '10⁰'])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if high < 1e3 * low:
        ticks = [digit * 10.0**decade for decade in range(first, last + 1) for digit in (1, 2, 5)]
        return [(tick, f"{tick:g}") for tick in ticks if low <= tick <= high]
    step = max(1, math.ceil(math.log10(high / low) / 8))
    decades = [
        decade
        for decade in range(first, last + 1)
        if decade % step == 0 and low <= 10.0**decade <= high
    ]
    return [
        (10.0**decade, "10" + str(decade).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")))
        for decade in decades
    ]


def linear_ticks(
    low: float, high: float, percent: bool = False, most: int = 6
) -> list[tuple[float, str]]:
    """Ticks of a linear axis, at round values.

    >>> linear_ticks(0, 0.4, percent=True)
    [(0.0, '0 %'), (0.1, '10 %'), (0.2, '20 %'), (0.3, '30 %'), (0.4, '40 %')]
    """
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        digit * size for digit in (1, 2, 5, 10) if digit * size >= 0.999 * (high - low) / most
    )
    numbers = [
        float(f"{n * step:.10g}")
        for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
    return [(tick, f"{100 * tick:g} %" if percent else f"{tick:g}") for tick in numbers]


def _short(values: Sequence[float | None]) -> list[float | None]:
    return [
        value if value is None or isinstance(value, int) else float(f"{value:.{DIGITS}g}")
        for value in values
    ]
