"""The sales report of a replay and its reconciliation, drawn from their tables: sums alone, and no customer by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import pairwise

from bench.rig.picture import Bars, Columns, Steps, svg
from bookkeeping import report
from bookkeeping.countries import name_of

PENCE = 100
"""A pound has; the amounts of a report are in pence."""
SHOWN = 12
"""The largest products and countries."""
LEADER_SHARE = 0.5
"""A country with more than this leaves the others no room to be seen: it is told, and not drawn."""
BOUNDS_POUNDS = (0, 100, 300, 1_000, 3_000, 10_000)
"""Customers are counted by what they spent: from each of these on, below the next."""
LARGEST_SHARE = 0.1
NOTHING = (("nothing", 0.0),)

Row = Mapping[str, str]


def drawn(tables: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of each picture, of the tables that a sales report and a reconciliation have."""
    days = _rows(tables["sales_by_day.csv"])
    orders, pounds = sum(int(row["orders"]) for row in days), sum(map(_pounds, days))
    note = f"{orders:,} orders, GBP {pounds:,.0f} before anything went back"
    if days:
        yield "sales_by_day.svg", svg(_by_day(days), note=note)
    yield "sales_by_country.svg", _by_country(_rows(tables["sales_by_country.csv"]))
    products = _rows(tables["sales_by_product.csv"])
    shown = tuple((row["sku"], _pounds(row)) for row in _largest(products)[:SHOWN])
    of_all = f"the largest {len(shown)} of {len(products):,}, by stock code, without postage"
    yield "sales_by_product.svg", svg(Bars("Sold by product", "GBP", shown or NOTHING), note=of_all)
    yield "sales_by_customer.svg", _by_customer(_rows(tables["sales_by_customer.csv"]))
    yield "reconciliation.svg", _reconciled(_rows(tables[report.TABLE]))


def _by_day(days: list[Row]) -> Columns:
    sold = {date.fromisoformat(row["day"]): _pounds(row) for row in days}
    first, last = min(sold), max(sold)
    every = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    marks = [(place, f"{day:%B}") for place, day in enumerate(every) if day.day == 1]
    return Columns("Sold by day", "GBP a day", tuple(sold.get(day, 0.0) for day in every), tuple(marks))


def _by_country(countries: list[Row]) -> str:
    every, whole = _largest(countries), sum(map(_pounds, countries))
    note = f"{len(every)} countries"
    if len(every) > 1 and _pounds(every[0]) > LEADER_SHARE * whole:
        leader, *every = every
        note = (
            f"{_country(leader)}, which is not drawn: GBP {_pounds(leader):,.0f}, {_pounds(leader) / whole:.0%} of all;"
            f" here the largest {min(SHOWN, len(every))} of the {len(every)} others"
        )
    shown = tuple((_country(row), _pounds(row)) for row in every[:SHOWN])
    return svg(Bars("Sold by country", "GBP", shown or NOTHING), note=note)


def _by_customer(customers: list[Row]) -> str:
    spent = sorted(map(_pounds, customers), reverse=True)
    bounds = [*BOUNDS_POUNDS, float("inf")]
    names = [f"{low:,} to {high:,}" for low, high in pairwise(BOUNDS_POUNDS)] + [f"{BOUNDS_POUNDS[-1]:,} and more"]
    counts = [sum(1 for each in spent if low <= each < high) for low, high in pairwise(bounds)]
    largest = sum(spent[: round(len(spent) * LARGEST_SHARE)]) / (sum(spent) or 1.0)
    note = f"{len(spent):,} customers and guests; the tenth that spent most bought {largest:.0%} of everything"
    values = tuple((name, float(count)) for name, count in zip(names, counts, strict=True))
    return svg(Bars("Customers by the pounds that they spent", "", values), note=note)


def _reconciled(rows: list[Row]) -> str:
    parts: dict[str, float] = {}
    for row in rows:
        if row["section"] in ("orders", "refunds", "remainder", "rounding"):
            name = row["section"] if row["section"] == "rounding" else row["title"].partition(":")[0]
            parts[name] = parts.get(name, 0.0) + float(row["gbp"])
    shown = tuple((name, value) for name, value in parts.items() if value)
    difference = next(row["gbp"] for row in rows if row["section"] == "difference")
    note = f"orders − refunds + remainder + rounding; difference GBP {difference}"
    return svg(Steps("What became of the file", "GBP", shown, "the file"), note=note)


def _largest(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=_pounds, reverse=True)


def _country(row: Row) -> str:
    return name_of(row["country_code"]) or "several, or none"


def _pounds(row: Row) -> float:
    return int(row["total_minor"]) / PENCE


def _rows(table: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(table.decode())))
