"""What was sold, summed by day, product, country and customer: pure sums over what svc_order tells of its orders."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from svc_bulk.errors import ReportTooLarge

MAX_GROUPS = 200_000
"""Days, products, countries and customers together: what a worker holds in memory of a report, about 60 MB."""


@dataclass(slots=True)
class Sums:
    """What orders come to, in minor units of one currency, with tax."""

    orders: int = 0
    units: int = 0
    returned_units: int = 0
    total_minor: int = 0
    refunded_minor: int = 0
    title: str = ""

    @property
    def net_minor(self) -> int:
        """What is left after what went back."""
        return self.total_minor - self.refunded_minor


@dataclass(frozen=True, slots=True)
class Group:
    """What some orders of one group come to."""

    name: str
    currency_code: str
    orders: int
    units: int
    total_minor: int
    refunded_minor: int


@dataclass(frozen=True, slots=True)
class SkuSales:
    """What was sold of one SKU in some orders; the money is that of its lines, before anything went back."""

    sku: str
    title: str
    currency_code: str
    orders: int
    units: int
    returned_units: int
    total_minor: int


Groups = dict[tuple[str, str], Sums]
"""Sums by what they are of, and the currency."""


@dataclass
class Report:
    """The sums of a report, which grows page by page."""

    days: Groups = field(default_factory=dict)
    products: Groups = field(default_factory=dict)
    countries: Groups = field(default_factory=dict)
    customers: Groups = field(default_factory=dict)

    def add(
        self,
        *,
        days: Iterable[Group] = (),
        countries: Iterable[Group] = (),
        customers: Iterable[Group] = (),
        skus: Iterable[SkuSales] = (),
    ) -> None:
        """Add the sums of some orders.

        Raises:
            ReportTooLarge: There are more than `MAX_GROUPS`.
        """
        for groups, more in ((self.days, days), (self.countries, countries), (self.customers, customers)):
            for group in more:
                sums = groups.setdefault((group.name or "unknown", group.currency_code), Sums())
                sums.orders += group.orders
                sums.units += group.units
                sums.total_minor += group.total_minor
                sums.refunded_minor += group.refunded_minor
        for each in skus:
            sums = self.products.setdefault((each.sku, each.currency_code), Sums())
            sums.orders += each.orders
            sums.units += each.units
            sums.returned_units += each.returned_units
            sums.total_minor += each.total_minor
            sums.title = each.title
        if sum(map(len, (self.days, self.products, self.countries, self.customers))) > MAX_GROUPS:
            raise ReportTooLarge(f"the report has more than {MAX_GROUPS:,} groups: ask for a shorter time")

    @property
    def totals(self) -> dict[str, Sums]:
        """All of it, by currency."""
        found: dict[str, Sums] = {}
        for (_, currency), day in self.days.items():
            sums = found.setdefault(currency, Sums())
            sums.orders += day.orders
            sums.units += day.units
            sums.total_minor += day.total_minor
            sums.refunded_minor += day.refunded_minor
        return dict(sorted(found.items()))


def largest(groups: Groups, currency: str, count: int) -> list[tuple[str, Sums]]:
    """Return the groups of a currency with the largest totals, the largest first."""
    found = [(name, sums) for (name, each), sums in groups.items() if each == currency]
    return sorted(found, key=lambda pair: (-pair[1].total_minor, pair[0]))[:count]


_ORDERS = ("orders", "units", "total_minor", "refunded_minor", "net_minor")
_LINES = ("title", "orders", "units", "returned_units", "total_minor")


def tables(report: Report) -> Iterator[tuple[str, bytes]]:
    """Yield the CSV files of a report, each with its name."""
    for name, what, groups, columns in (
        ("sales_by_day.csv", "day", report.days, _ORDERS),
        ("sales_by_product.csv", "sku", report.products, _LINES),
        ("sales_by_country.csv", "country_code", report.countries, _ORDERS),
        ("sales_by_customer.csv", "user_id", report.customers, _ORDERS),
    ):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow((what, "currency_code", *columns))
        for (group, currency), sums in sorted(groups.items()):
            writer.writerow((group, currency, *(getattr(sums, column) for column in columns)))
        yield name, text.getvalue().encode()
