"""A report as one page for people: charts drawn as SVG, no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from html import escape

from bookkeeping.countries import name_of
from svc_bulk.report.rules import Report, Sums, largest

BARS = 12
"""The largest products, countries and customers that a chart shows; the tables have all."""
MAX_DAYS_DRAWN = 400
"""A longer time is drawn by months."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 960, 260, 84, 28
_MINOR_DIGITS = {"JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3}
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5c6670; --line: #d8dde2; --bar: #2f6fb2; --paper: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebee; --soft: #9aa4ad; --line: #38414a; --bar: #6aa5e3; --paper: #15191d }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem }
p { color: var(--soft); margin: .2rem 0 }
dl { display: flex; flex-wrap: wrap; gap: 1.2rem 3rem; margin: 1.4rem 0 } dt { color: var(--soft); font-size: .85rem }
dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--soft); font-size: 12px }
svg .name, svg .value { fill: var(--ink) } svg .value { font-variant-numeric: tabular-nums }
svg rect { fill: var(--bar) } svg line { stroke: var(--line) }
pre { font-size: .8rem; overflow-x: auto }
"""


def render(report: Report, *, period: str) -> bytes:
    """Return the page; `period` says for which time it is."""
    parts = [] if report.totals else ["<p>Nothing was sold in this time.</p>"]
    for currency, sums in report.totals.items():
        parts += _section(report, currency, sums)
    return document("Sales report", period, parts)


def document(title: str, about: str, parts: Iterable[str]) -> bytes:
    """Return a page of parts that are HTML already, below its title and a line about it."""
    head = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{escape(about)}</p>"
    )
    return "".join([head, *parts]).encode()


def amount(minor: int, currency: str) -> str:
    """Return an amount of money for people, such as `GBP 1,234.50`."""
    digits = _MINOR_DIGITS.get(currency, 2)
    whole, rest = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    return f"{currency} {sign}{whole:,}" + (f".{rest:0{digits}}" if digits else "")


def _section(report: Report, currency: str, sums: Sums) -> Iterator[str]:
    facts = (
        ("Orders", f"{sums.orders:,}"),
        ("Units", f"{sums.units:,}"),
        ("Sold, with tax and shipping", amount(sums.total_minor, currency)),
        ("Refunded", amount(sums.refunded_minor, currency)),
        ("Left", amount(sums.net_minor, currency)),
        ("An order, on average", amount(round(sums.total_minor / sums.orders), currency)),
    )
    yield "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts) + "</dl>"
    grain, columns = _columns(report, currency)
    yield f"<h2>Sold by {grain}</h2>" + _column_chart(columns, currency)
    for title, groups in (
        ("Products", report.products),
        ("Countries", report.countries),
        ("Customers", report.customers),
    ):
        found = largest(groups, currency, BARS)
        of = len([None for _, each in groups if each == currency])
        shown = f"the largest {len(found)} of {of:,}" if of > len(found) else f"all {of:,}"
        yield f"<h2>{title}</h2><p>{shown}</p>"
        bars = ((f"{name} {name_of(name) if groups is report.countries else each.title}", each) for name, each in found)
        yield _bar_chart([(name.strip(), each.total_minor) for name, each in bars], currency)


def _columns(report: Report, currency: str) -> tuple[str, list[tuple[str, int]]]:
    """Return what a column of the chart over time stands for, and the columns; days without a sale have one too."""
    sold = {date.fromisoformat(day): sums.total_minor for (day, each), sums in report.days.items() if each == currency}
    first, last = min(sold), max(sold)
    if (last - first).days < MAX_DAYS_DRAWN:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return "day", [(day.isoformat(), sold.get(day, 0)) for day in days]
    months: dict[str, int] = {}
    for day in sorted(sold):
        months[f"{day:%Y-%m}"] = months.get(f"{day:%Y-%m}", 0) + sold[day]
    return "month", list(months.items())


def _column_chart(columns: Sequence[tuple[str, int]], currency: str) -> str:
    top = _round_up(max((value for _, value in columns), default=0))
    width = (_WIDTH - _LEFT) / max(1, len(columns))
    high = _HEIGHT - _BOTTOM - 10
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img aria-label="Sold over time">']
    for quarter in range(5):
        y = 10 + high - high * quarter / 4
        label = amount(top * quarter // 4, currency).partition(" ")[2].partition(".")[0]
        parts.append(
            f"<line x1={_LEFT} x2={_WIDTH} y1={y:.1f} y2={y:.1f} /><text x={_LEFT - 8} y={y + 4:.1f}"
            f" text-anchor=end>{label}</text>"
        )
    every = max(1, -(-len(columns) // 8))
    for place, (name, value) in enumerate(columns):
        x, tall = _LEFT + place * width, high * value / top
        parts.append(
            f"<rect x={x + width * 0.1:.2f} y={10 + high - tall:.1f} width={width * 0.8:.2f} height={tall:.1f}>"
            f"<title>{escape(name)}: {escape(amount(value, currency))}</title></rect>"
        )
        if place % every == 0:
            parts.append(f"<text x={x:.1f} y={_HEIGHT - 8}>{escape(name)}</text>")
    return "".join(parts) + "</svg>"


def _bar_chart(bars: Sequence[tuple[str, int]], currency: str) -> str:
    most = max((value for _, value in bars), default=0) or 1
    parts = [f'<svg viewBox="0 0 {_WIDTH} {len(bars) * 26 + 6}" role=img aria-label="The largest">']
    for place, (name, value) in enumerate(bars):
        y, long = place * 26 + 4, max(1.0, 440 * value / most)
        shown = name if len(name) <= 44 else name[:43] + "…"
        parts.append(
            f"<text class=name x=330 y={y + 14} text-anchor=end>{escape(shown)}<title>{escape(name)}</title></text>"
            f"<rect x=340 y={y} width={long:.1f} height=18 />"
            f"<text class=value x={346 + long:.1f} y={y + 14}>{escape(amount(value, currency))}</text>"
        )
    return "".join(parts) + "</svg>"


def _round_up(value: int) -> int:
    """Return a round number above a value, at least 4: the top of a chart with four steps."""
    power: int = 10 ** max(0, len(str(max(1, value))) - 1)
    return next(top for top in (power * each for each in (1, 2, 4, 5, 8, 10, 20)) if top >= max(4, value))
