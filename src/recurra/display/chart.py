"""A chart of lines as SVG: sharp at any size, in the colours of the theme, without a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from recurra.display.elements import Html, note, safe

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe & Ito's, which the colour-blind tell apart; without their black, which a dark theme
swallows.
"""
DASHES = ("", "6 3", "2 3")
WIDTH, HEIGHT, TOP, BOTTOM, RIGHT, CHARACTER = 560, 230, 24, 40, 36, 6.6
"""Of the drawing, its margins, and of a character, in pixels."""
POINTS = 600
"""Of a line: more than the drawing has pixels for."""
LARGEST = 1e300
"""What is beyond is drawn as infinity is, as a gap: differences must not overflow."""


class Line(NamedTuple):
    """One line of a chart; y may hold None, NaN and infinities, where it has a gap.

    Attributes:
        name: for the legend.
        x, y: as long as one another.
        dots: mark each point.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    dots: bool = False


class Axis(NamedTuple):
    """Where values stand: `place` gives pixels; `ticks` are values."""

    place: Callable[[float], float]
    ticks: list[float]


def chart(lines: Sequence[Line], x: str, y: str, log: bool = False) -> Html:
    """Draw lines.

    Args:
        lines: in order of their colours.
        x, y: what the axes say.
        log: draw y by its logarithm; figures that lie close by are drawn as they are.

    Returns:
        The chart and its legend; a sentence where no figure can be drawn.
    """
    drawn = [(line, list(_points(line, log))) for line in lines]
    points = [point for _, every in drawn for point in every if point]
    if not points:
        return note(f"{y}: no figure that can be drawn")
    low, high = min(v for _, v in points), max(v for _, v in points)
    log = log and high >= 3 * low
    y_ticks = log_ticks(low, high) if log else linear_ticks(low, high)
    left = 12 + CHARACTER * max(len(f"{tick:.10g}") for tick in y_ticks)
    down = _axis(math.log10 if log else float, low, high, y_ticks, HEIGHT - BOTTOM, TOP)
    first, last = min(t for t, _ in points), max(t for t, _ in points)
    along = _axis(float, first, last, linear_ticks(first, last), left, WIDTH - RIGHT)
    body = [_grid(along, down, left), _words(x, y)]
    body += [_line(line, every, along, down, number) for number, (line, every) in enumerate(drawn)]
    start = (
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-size="11" fill="currentColor">'
    )
    return Html(f"{start}<title>{safe(y)}, {safe(x)}</title>{''.join(body)}</svg>{_legend(lines)}")


def thin(
    x: Sequence[Any], y: Sequence[Any], most: int = 2000, top: bool = True
) -> tuple[list[Any], list[Any]]:
    """A line of at most so many points: the highest of each part, so that no jump is lost, or its
    mean at its last place.

    >>> thin([1, 2, 3, 4], [5.0, 9.0, 2.0, None], most=2), thin(
    ...     [1, 2, 3, 4], [5.0, 9.0, 2.0, None], most=2, top=False
    ... )
    (([2, 3], [9.0, 2.0]), ([2, 4], [7.0, 2.0]))
    """
    part = max(1, math.ceil(len(x) / most))
    thinned: tuple[list[Any], list[Any]] = [], []
    for start in range(0, len(x), part):
        places = range(start, min(start + part, len(x)))
        known = [place for place in places if y[place] is not None]
        best = max(known, key=lambda place: y[place]) if top and known else places[-1]
        value = y[best] if top or not known else sum(y[place] for place in known) / len(known)
        thinned[0].append(x[best])
        thinned[1].append(value)
    return thinned


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, three to seven.

    >>> linear_ticks(1, 60), linear_ticks(2.31, 2.39), linear_ticks(3, 3)
    ([10.0, 20.0, 30.0, 40.0, 50.0, 60.0], [2.32, 2.34, 2.36, 2.38], [3])
    """
    if not high - low > 1e-300:
        return [low]
    rough = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * digit for digit in (1, 2, 5, 10) if size * digit >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within a range, at most about six; where it has few, 1, 2 and 5 times them, or
    round numbers.

    >>> log_ticks(0.2, 30), log_ticks(1e-9, 1)
    ([0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0], [1e-08, 1e-06, 0.0001, 0.01, 1.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step, digits = max(1, math.ceil((last - first) / 6)), (1, 2, 5) if last - first <= 3 else (1,)
    powers = [power for power in range(first, last + 1) if power % step == 0]
    ticks = [
        tick
        for power in powers
        for digit in digits
        if low <= (tick := float(f"{digit}e{power}")) <= high
    ]
    return ticks if len(ticks) > 2 else linear_ticks(low, high)


def _points(line: Line, log: bool) -> Iterator[tuple[float, float] | None]:
    """Places of a line, thinned; None for a gap."""
    known = [
        value if value is not None and abs(value) < LARGEST and (value > 0 or not log) else None
        for value in line.y
    ]
    for t, value in zip(*thin(line.x, known, POINTS)):
        yield None if value is None else (float(t), float(value))


def _axis(
    scale: Callable[[float], float],
    low: float,
    high: float,
    ticks: list[float],
    start: float,
    end: float,
) -> Axis:
    """An axis from one pixel to another; values that are all the same stand in its middle."""
    span = scale(high) - scale(low)
    return Axis(
        lambda value: start + (end - start) * ((scale(value) - scale(low)) / span if span else 0.5),
        ticks,
    )


def _grid(along: Axis, down: Axis, left: float) -> str:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{floor - TOP}"'
        ' fill="none"/>'
    ]
    for tick in down.ticks:
        parts.append(
            f'<line x1="{left:.1f}" x2="{right}" y1="{down.place(tick):.1f}"'
            f' y2="{down.place(tick):.1f}"/>'
        )
    lines = f'<g stroke="currentColor" stroke-opacity=".2">{"".join(parts)}</g>'
    words = [
        f'<text x="{left - 6:.1f}" y="{down.place(t) + 4:.1f}" text-anchor="end">{t:.10g}</text>'
        for t in down.ticks
    ]
    words += [
        f'<text x="{along.place(t):.1f}" y="{floor + 15}" text-anchor="middle">{t:.10g}</text>'
        for t in along.ticks
    ]
    return lines + "".join(words)


def _words(x: str, y: str) -> str:
    """What the axes show: y's over it, x's under its end, where no number stands."""
    over = f'<text x="2" y="13">{safe(y)}</text>'
    return f'{over}<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{safe(x)}</text>'


def _line(
    line: Line, points: list[tuple[float, float] | None], along: Axis, down: Axis, number: int
) -> str:
    colour, runs = COLOURS[number % len(COLOURS)], _runs(points)
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    parts = []
    for run in runs:
        places = [(along.place(t), down.place(value)) for t, value in run]
        if line.dots or len(run) == 1:
            parts += [
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in places
            ]
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(
            f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.5"'
            f' stroke-dasharray="{dash}"/>'
        )
    return "".join(parts)


def _runs(points: list[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Points that are joined, gap by gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _legend(lines: Sequence[Line]) -> Html:
    names = [
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{safe(line.name)}</span>'
        for number, line in enumerate(lines)
    ]
    return Html(f'<div class="legend">{" ".join(names)}</div>')
