"""The sums of a report."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date

import pytest

from svc_bulk.errors import ReportTooLarge
from svc_bulk.report import rules
from svc_bulk.report.rules import Group, Report, SkuSales, largest, tables

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


@dataclass(frozen=True)
class Sale:
    """One order, as its owner would sum it alone."""

    day: date
    user: str
    country: str
    currency: str
    units: int
    total: int
    refunded: int

    def of(self, name: str) -> Group:
        return Group(name, self.currency, 1, self.units, self.total, self.refunded)


def sale(day: date = MONDAY, user: str = "ada", country: str = "GB", total: int = 100, **more) -> Sale:
    return Sale(day, user, country, more.pop("currency", "GBP"), more.pop("units", 1), total, more.pop("refunded", 0))


def sold(sku: str = "cup", units: int = 1, total: int = 100, **more) -> SkuSales:
    return SkuSales(sku, more.pop("title", sku), "GBP", 1, units, more.pop("returned", 0), total)


def report(*pages: tuple[list[Sale], list[SkuSales]]) -> Report:
    made = Report()
    for sales, skus in pages:
        made.add(
            days=[each.of(str(each.day)) for each in sales],
            countries=[each.of(each.country) for each in sales],
            customers=[each.of(each.user) for each in sales],
            skus=skus,
        )
    return made


def test_pages_add_up_by_each_dimension():
    """Whatever page an order came with."""
    made = report(
        ([sale(total=100, units=2), sale(TUESDAY, "bob", "FR", 50, refunded=20)], [sold(units=2), sold("pot", 1, 50)]),
        ([sale(user="bob", total=30)], [sold(total=30, returned=1)]),
    )

    assert [130, 50] == [made.days[str(day), "GBP"].total_minor for day in (MONDAY, TUESDAY)]
    assert (2, 80, 60) == (
        made.customers["bob", "GBP"].orders,
        made.customers["bob", "GBP"].total_minor,
        made.customers["bob", "GBP"].net_minor,
    )
    assert (130, 30) == (made.countries["GB", "GBP"].total_minor, made.countries["FR", "GBP"].net_minor)
    assert (3, 1, 130) == (
        made.products["cup", "GBP"].units,
        made.products["cup", "GBP"].returned_units,
        made.products["cup", "GBP"].total_minor,
    )
    assert (3, 180, 20) == (
        made.totals["GBP"].orders,
        made.totals["GBP"].total_minor,
        made.totals["GBP"].refunded_minor,
    )


def test_currencies_are_never_added():
    """Each has sums of its own."""
    made = report(([sale(total=1), sale(total=2, currency="EUR")], []))

    assert [("EUR", 2), ("GBP", 1)] == [(each, sums.total_minor) for each, sums in made.totals.items()]


def test_an_address_that_can_not_be_read_is_unknown():
    """The sale stays in every sum."""
    assert [("unknown", "GBP")] == list(report(([sale(country="")], [])).countries)


def test_a_report_has_only_so_many_groups(monkeypatch):
    """It is held in memory."""
    monkeypatch.setattr(rules, "MAX_GROUPS", 4)
    made = report(([sale()], [sold()]))
    made.add(customers=[sale().of("ada")], skus=[sold()])

    with pytest.raises(ReportTooLarge):
        made.add(customers=[sale().of("bob")])


def test_the_largest_come_first():
    """Equal ones by their names."""
    made = report(([], [sold("a", total=1), sold("c", total=5), sold("b", total=5)]))

    assert ["b", "c"] == [name for name, _ in largest(made.products, "GBP", 2)]


def test_each_table_has_its_sums():
    """In CSV, and every table of orders comes to the same."""
    made = report(([sale(), sale(TUESDAY, "bob", "FR", 50, refunded=20)], [sold(title='A "cup", blue')]))
    found = {name: list(csv.DictReader(content.decode().splitlines())) for name, content in tables(made)}

    for name in ("sales_by_day.csv", "sales_by_country.csv", "sales_by_customer.csv"):
        assert (150, 130) == tuple(
            sum(int(row[column]) for row in found[name]) for column in ("total_minor", "net_minor")
        )
    assert [{"sku": "cup", "currency_code": "GBP", "title": 'A "cup", blue', "orders": "1", "units": "1",
             "returned_units": "0", "total_minor": "100"}] == found["sales_by_product.csv"]  # fmt: skip
