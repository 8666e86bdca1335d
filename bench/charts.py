"""Three kinds of charts as inline SVG: dots on a logarithmic axis, bars from zero, and lines. No scripts."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final, Literal, NamedTuple

from bench.figures import Series

Tone = Literal["ours", "peer", "limit"]
Scale = Callable[[float], float]
"""From a value to its place."""

WIDTH: Final = 860
LABELS: Final = 300
VALUES: Final = 140
ROW: Final = 30
TOP: Final = 26
PLOT: Final = WIDTH - LABELS - VALUES
HEIGHT_OF_LINES: Final = 220


class Row(NamedTuple):
    """A median, and what it lies between."""

    label: str
    value: float
    low: float
    high: float
    tone: Tone


def dots(rows: Sequence[Row], unit: str) -> str:
    """A dot for each median and a line from lowest to highest, over decades: lengths would mean nothing here."""
    least = math.floor(math.log10(min(row.low for row in rows)))
    most = max(math.ceil(math.log10(max(row.high for row in rows))), least + 1)

    def x(value: float) -> float:
        return LABELS + PLOT * (math.log10(value) - least) / (most - least)

    marks = [10.0**power for power in range(least, most + 1)]
    drawn = [*_grid(marks, x, len(rows))]
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        drawn.append(f'<line class="range {row.tone}" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"/>')
        drawn.append(f'<circle class="{row.tone}" cx="{x(row.value):.1f}" cy="{y}" r="6"/>')
        drawn.extend(_words(row, unit, y))
    return _svg(drawn, TOP + ROW * len(rows) + 8)


def bars(rows: Sequence[Row], unit: str, mark: float | None = None) -> str:
    """A bar from zero for each median, a line from lowest to highest; and a mark where the goal is."""
    most = nice(max([row.high for row in rows] + ([mark] if mark else [])))

    def x(value: float) -> float:
        return LABELS + PLOT * value / most

    drawn = [*_grid([most * part / 4 for part in range(5)], x, len(rows))]
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        width = max(1.0, x(row.value) - LABELS)
        drawn.append(
            f'<rect class="{row.tone}" x="{LABELS}" y="{y + 7}" width="{width:.1f}" height="{ROW - 14}" rx="2"/>'
        )
        middle = y + ROW / 2
        if row.high > row.low:
            ends = f'x1="{x(row.low):.1f}" x2="{x(row.high):.1f}"'
            drawn.append(f'<line class="spread" {ends} y1="{middle}" y2="{middle}"/>')
        drawn.extend(_words(row, unit, middle))
    if mark:
        end = TOP + ROW * len(rows)
        drawn.append(f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{TOP - 4}" y2="{end}"/>')
    return _svg(drawn, TOP + ROW * len(rows) + 8)


def lines(series: Sequence[Series]) -> str:
    """All over the same axis, each with its name at its end."""
    right = max(x for each in series for x, _ in each.points)
    top = nice(max(y for each in series for _, y in each.points))
    left, bottom, width = 60, HEIGHT_OF_LINES - 34, WIDTH - 60 - 170

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * x / right, bottom - (bottom - 12) * y / top

    drawn = []
    for part in range(5):
        y = place(0, top * part / 4)[1]
        drawn.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(
            f'<text class="axis" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{short(top * part / 4)}</text>'
        )
    for part in range(6):
        x = place(right * part / 5, 0)[0]
        drawn.append(
            f'<text class="axis" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{short(right * part / 5)}</text>'
        )
    for number, each in enumerate(series):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in each.points))
        drawn.append(f'<polyline class="line{number}" points="{path}"/>')
        x, y = place(*each.points[-1])
        drawn.append(f'<text class="line{number}" x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(each.title)}</text>')
    units = f"{series[0].unit}, over {series[0].over}"
    drawn.append(f'<text class="axis" x="{left + width}" y="{bottom + 32}" text-anchor="end">{escape(units)}</text>')
    return _svg(drawn, HEIGHT_OF_LINES)


def short(value: float) -> str:
    """As people write it: 1,234,000 is 1.23 M; small numbers keep three digits."""
    if abs(value) >= 1e6:  # noqa: PLR2004 - a million
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1e4:  # noqa: PLR2004 - what five digits are hard to read from
        return f"{value / 1e3:.3g} k"
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"


def nice(value: float) -> float:
    """The next of 1, 2, 4 or 8 times a power of ten: an axis that ends there has round quarters."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 8, 10) if value <= step * power or step == 10)  # noqa: PLR2004 - as listed


def _grid(marks: Sequence[float], x: Scale, rows: int) -> Iterator[str]:
    for mark in marks:
        at = f"{x(mark):.1f}"
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP - 6}" y2="{TOP + ROW * rows}"/>'
        yield f'<text class="axis" x="{at}" y="{TOP - 11}" text-anchor="middle">{short(mark)}</text>'


def _words(row: Row, unit: str, y: float) -> Iterator[str]:
    yield f'<text class="label" x="{LABELS - 12}" y="{y + 4}" text-anchor="end">{escape(row.label)}</text>'
    value = f'{short(row.value)} <tspan class="axis">{escape(unit)}</tspan>'
    yield f'<text class="value" x="{LABELS + PLOT + 12}" y="{y + 4}">{value}</text>'


def _svg(drawn: Sequence[str], height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(drawn)}</svg>'
