"""Pictures of figures as plain SVG, readable on a light and on a dark page. Pure: what goes in comes out as text.

Four kinds: `Lines`, something against a load or a size; `Bars`, one value for each of several things; `Columns`, one
value for each of many days, and the mean of some around it; `Steps`, how parts come to a total. Lines carry their names
at their ends, so there is no legend to decode; what a line is compared with is dashed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 760, 430
LEFT, RIGHT, TOP, BOTTOM = 76, 152, 100, 62
BAR, GAP = 20, 10
LABEL = 15
"""Least distance of two labels at the ends of lines."""

MARK = 34
"""Least distance of two marks below the axis; what is nearer to the one before it has none."""


LIGHT = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#9a6700")
DARK = ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#d29922")
"""Colours of lines, in their order: apart for most eyes, and each light or dark enough for its page."""


def _coloured(colours: Sequence[str]) -> str:
    return "".join(f".s{n}{{stroke:{colour}}}.f{n}{{fill:{colour}}}" for n, colour in enumerate(colours))


STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:12px;fill:#57606a}"
    ".page{fill:#ffffff}.title{font-size:17px;font-weight:600;fill:#1f2328}.grid{stroke:#d8dee4}.axis{stroke:#8c959f}"
    ".line{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}.band{opacity:.14}"
    ".dot{stroke:#ffffff;stroke-width:1.5}.name{font-weight:600}.rule{stroke:#57606a;stroke-dasharray:5 4}"
    f"{_coloured(LIGHT)}@media(prefers-color-scheme:dark){{text{{fill:#9198a1}}.page{{fill:#0d1117}}"
    ".title{fill:#f0f6fc}.grid{stroke:#262c36}.axis{stroke:#656c76}.dot{stroke:#0d1117}.rule{stroke:#9198a1}"
    f"{_coloured(DARK)}}}"
)


@dataclass(frozen=True)
class Series:
    """One line: points (x, y), or (x, y, least, most) where repeats differ."""

    name: str
    points: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Lines:
    """Something against a load or a size. The rules are what it is compared with, by name."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    rules: tuple[tuple[str, float], ...] = ()
    logarithmic: bool = False
    """Of y; x is always by its logarithm, since loads and sizes are doubled."""


@dataclass(frozen=True)
class Bars:
    """One value for each of several things, the largest first."""

    title: str
    unit: str
    values: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Columns:
    """One value for each of many days, in their order; the marks name some of them by their place."""

    title: str
    y: str
    values: tuple[float, ...]
    marks: tuple[tuple[int, str], ...]
    around: int = 7
    """Of so many the mean is drawn as a line: a week has its quiet days."""


@dataclass(frozen=True)
class Steps:
    """How parts come to a total, one after the other; what takes away has the second colour, the total the third."""

    title: str
    unit: str
    parts: tuple[tuple[str, float], ...]
    total: str


Picture = Lines | Bars | Columns | Steps


def svg(picture: Picture, *, note: str = "") -> str:
    """Return a picture as a whole SVG document; the note stands below its title."""
    match picture:
        case Lines():
            height, body = _lines(picture)
        case Bars():
            height, body = _bars(picture)
        case Columns():
            height, body = _columns(picture)
        case Steps():
            height, body = _steps(picture)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(picture.title)}"><style>{STYLE}</style>'
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>'
        f'<text class="title" x="24" y="34">{escape(picture.title)}</text>'
        f'<text x="24" y="54">{escape(note)}</text>{"".join(body)}</svg>\n'
    )


def ticks(most: float, *, wanted: int = 5) -> list[float]:
    """Return round values from 0 up to the first that is not below `most`."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / wanted
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return [step * n for n in range(math.ceil(most / step - 1e-9) + 1)]


def decades(least: float, most: float) -> list[float]:
    """Return the powers of ten that enclose two positive values."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def apart(wanted: Sequence[float], distance: float, *, most: float) -> list[float]:
    """Return places near the wanted ones, in the same order, no two nearer than `distance` and none beyond `most`."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    placed = list(wanted)
    for before, here in pairwise(order):
        placed[here] = max(placed[here], placed[before] + distance)
    bound = most
    for here in reversed(order):
        placed[here] = min(placed[here], bound)
        bound = placed[here] - distance
    return placed


def short(value: float) -> str:
    """Return a value as an axis has it: 0.25, 40, 1,500, 20k, 3M."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _lines(picture: Lines) -> tuple[int, list[str]]:
    xs = sorted({point[0] for series in picture.series for point in series.points})
    values = [value for series in picture.series for point in series.points for value in point[1:]]
    values += [value for _, value in picture.rules]
    positive = [value for value in values if value > 0] or [1.0]
    marks = decades(min(positive), max(positive)) if picture.logarithmic else ticks(max(values))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    span = math.log(xs[-1] / xs[0]) if len(xs) > 1 else 1.0

    def across(x: float) -> float:
        return LEFT + (right - LEFT) * (math.log(x / xs[0]) / span if len(xs) > 1 else 0.5)

    def up(y: float) -> float:
        if picture.logarithmic:
            share = math.log(max(y, marks[0]) / marks[0]) / math.log(marks[-1] / marks[0])
        else:
            share = y / marks[-1]
        return bottom - (bottom - TOP) * share

    out = [f'<text x="{LEFT}" y="{TOP - 12}">{escape(picture.y)}</text>']
    for mark in marks:
        kind = "axis" if mark == marks[0] else "grid"
        out.append(f'<path class="{kind}" d="M{LEFT} {up(mark):.1f}H{right}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{up(mark) + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    last = float("-inf")
    for x in xs:
        if across(x) - last < MARK:
            continue
        last = across(x)
        size = short(round(x) if x >= 10 else x)
        out.append(f'<text x="{last:.1f}" y="{bottom + 20}" text-anchor="middle">{size}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{bottom + 42}" text-anchor="middle">{escape(picture.x)}</text>')

    ends = [up(series.points[-1][1]) for series in picture.series] + [up(value) for _, value in picture.rules]
    places = apart(ends, LABEL, most=bottom)
    for number, series in enumerate(picture.series):
        colour = number % len(LIGHT)
        points = [(across(point[0]), up(point[1])) for point in series.points]
        if all(len(point) == 4 for point in series.points):
            upper = [f"{across(point[0]):.1f} {up(point[3]):.1f}" for point in series.points]
            lower = [f"{across(point[0]):.1f} {up(point[2]):.1f}" for point in reversed(series.points)]
            out.append(f'<path class="band f{colour}" d="M{"L".join(upper + lower)}Z"/>')
        out.append(f'<path class="line s{colour}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>')
        out += [f'<circle class="dot f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        out.append(
            f'<text class="name f{colour}" x="{right + 12}" y="{places[number] + 4:.1f}">{escape(series.name)}</text>'
        )
    for (name, value), place in zip(picture.rules, places[len(picture.series) :], strict=True):
        out.append(f'<path class="rule" d="M{LEFT} {up(value):.1f}H{right}"/>')
        out.append(f'<text x="{right + 12}" y="{place + 4:.1f}">{escape(name)}</text>')
    return HEIGHT, out


def _bars(picture: Bars) -> tuple[int, list[str]]:
    most = max(value for _, value in picture.values) or 1.0
    left, right = 150, WIDTH - 110
    out = []
    for number, (name, value) in enumerate(picture.values):
        y = TOP + number * (BAR + GAP)
        length = (right - left) * value / most
        out.append(f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect class="bar f0" x="{left}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" rx="3"/>')
        worth = f"{short(float(f'{value:.3g}'))} {escape(picture.unit)}"
        out.append(f'<text x="{left + length + 8:.1f}" y="{y + 15}">{worth}</text>')
    return TOP + len(picture.values) * (BAR + GAP) + 20, out


def means(values: Sequence[float], around: int) -> list[float]:
    """Return for each value the mean of those around it, so many as there are, itself in the middle."""
    reach = around // 2
    windows = [values[max(0, n - reach) : n + reach + 1] for n in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _columns(picture: Columns) -> tuple[int, list[str]]:
    marks = ticks(max(picture.values, default=0.0))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    width = (right - LEFT) / max(1, len(picture.values))

    def up(y: float) -> float:
        return bottom - (bottom - TOP) * y / marks[-1]

    out = [f'<text x="{LEFT}" y="{TOP - 12}">{escape(picture.y)}</text>']
    for mark in marks:
        out.append(f'<path class="{"grid" if mark else "axis"}" d="M{LEFT} {up(mark):.1f}H{right}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{up(mark) + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    # One path for all of them: a rectangle each would be ten times the file.
    columns = "".join(
        f"M{LEFT + (n + 0.1) * width:.1f} {bottom}V{up(value):.1f}h{width * 0.8:.1f}V{bottom}Z"
        for n, value in enumerate(picture.values)
        if value > 0
    )
    out.append(f'<path class="column f0" opacity=".55" d="{columns}"/>')
    middle = [(LEFT + (n + 0.5) * width, up(mean)) for n, mean in enumerate(means(picture.values, picture.around))]
    out.append(f'<path class="line s1" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in middle)}"/>')
    name = f"mean of {picture.around} days"
    out.append(f'<text class="name f1" x="{right + 12}" y="{middle[-1][1] + 4:.1f}">{name}</text>')
    for place, text in picture.marks:
        out.append(f'<path class="axis" d="M{LEFT + place * width:.1f} {bottom}v5"/>')
        out.append(f'<text x="{LEFT + place * width:.1f}" y="{bottom + 20}">{escape(text)}</text>')
    return HEIGHT, out


def _steps(picture: Steps) -> tuple[int, list[str]]:
    left, right, top = 250, WIDTH - 130, TOP - 16
    levels = [0.0]
    for _, value in picture.parts:
        levels.append(levels[-1] + value)
    least, most = min(levels), max(levels)
    span = (most - least) or 1.0

    def across(value: float) -> float:
        return left + (right - left) * (value - least) / span

    spans = zip(picture.parts, pairwise(levels), strict=True)
    rows = [(name, value, min(begin, end), max(begin, end)) for (name, value), (begin, end) in spans]
    rows.append((picture.total, levels[-1], min(0.0, levels[-1]), max(0.0, levels[-1])))
    out = []
    for number, (name, value, low, high) in enumerate(rows):
        y = top + number * (BAR + GAP)
        is_total = number == len(rows) - 1
        kind = 2 if is_total else int(value < 0)
        style = ' class="name"' if is_total else ""
        out.append(f'<text{style} x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        wide = max(across(high) - across(low), 1.0)
        place = f'x="{across(low):.1f}" y="{y}" width="{wide:.1f}" height="{BAR}"'
        out.append(f'<rect class="bar f{kind}" {place} rx="2"/>')
        digits = 0 if abs(value) >= 1 else 3
        worth = f"{value:,.{digits}f}" if is_total else f"{value:+,.{digits}f}"
        text = f"{worth} {escape(picture.unit)}".replace("-", "−")
        out.append(f'<text{style} x="{across(high) + 8:.1f}" y="{y + 15}">{text}</text>')
        if not is_total:
            after = across(levels[number + 1])
            out.append(f'<path class="grid" d="M{after:.1f} {y + BAR}v{GAP}"/>')
    return top + len(rows) * (BAR + GAP) + 20, out
