"""Sums of orders, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from svc_order.sales.rules import Grouped, Sold, Sums


def sold(user: str = "ada", hours: int = 12, country: str = "GB", currency: str = "GBP", total: int = 100) -> Sold:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hours)
    return Sold(user, at, country, currency, 2, total, 10)


def test_an_order_counts_once_in_each_dimension():
    grouped = Grouped()
    for each in (sold(), sold("bob", 30), sold("bob", total=50)):
        grouped.add(each)

    assert 3 == grouped.orders
    assert {("2026-03-01", "GBP"): Sums(2, 4, 150, 20), ("2026-03-02", "GBP"): Sums(1, 2, 100, 10)} == grouped.days
    assert {("ada", "GBP"): Sums(1, 2, 100, 10), ("bob", "GBP"): Sums(2, 4, 150, 20)} == grouped.customers
    assert {("GB", "GBP"): Sums(3, 6, 250, 30)} == grouped.countries


def test_currencies_are_never_added_and_days_are_those_of_utc():
    grouped = Grouped()
    grouped.add(sold(currency="EUR"))
    grouped.add(sold())
    late = datetime(2026, 3, 1, 23, tzinfo=timezone(timedelta(hours=-5)))
    grouped.add(Sold("ada", late, "US", "USD", 1, 1, 0))

    assert {"EUR", "GBP", "USD"} == {currency for _, currency in grouped.customers}
    assert ("2026-03-02", "USD") in grouped.days
