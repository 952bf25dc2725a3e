"""When goods come to the shop."""

from __future__ import annotations

from datetime import date, timedelta

from bookkeeping.invoices import invoices
from replay import deliveries
from replay.deliveries import AMPLE_UNITS, FIRST_DELIVERY_UNITS, Delivery
from tests.bookkeeping.files import AT, line

WEDNESDAY = AT.date()
MONDAY = date(2010, 12, 6)


def test_a_product_comes_first_on_the_day_of_its_first_sale() -> None:
    """Two days, two deliveries; a charge lies on no shelf, so there is always enough of it."""
    orders = invoices([line(), line(code="M"), line("2", code="102", at=AT + timedelta(days=1)), line("3")])
    assert [
        Delivery(WEDNESDAY, {"101A": FIRST_DELIVERY_UNITS, "M": AMPLE_UNITS}),
        Delivery(WEDNESDAY + timedelta(days=1), {"102": FIRST_DELIVERY_UNITS}),
    ] == deliveries.purchased(orders)


def test_a_monday_brings_what_the_week_before_asked_for() -> None:
    """No more and no earlier: nobody knows what will be asked for. Charges do not come again."""
    orders = invoices(
        [
            line(quantity=30),
            line("2", code="M"),
            line("3", quantity=12, at=AT + timedelta(days=4)),
            line("4", quantity=5000, at=AT + timedelta(days=5)),
            line("5", at=AT + timedelta(days=12)),
        ]
    )
    assert [(MONDAY, {"101A": 42}), (MONDAY + timedelta(days=7), {"101A": 5000})] == [
        (each.on, each.units) for each in deliveries.purchased(orders)[1:]
    ]


def test_ample_stock_comes_once() -> None:
    orders = invoices([line(), line("2", code="102", at=AT + timedelta(days=9))])
    assert [Delivery(WEDNESDAY, {"101A": AMPLE_UNITS, "102": AMPLE_UNITS})] == deliveries.ample(orders)


def test_nothing_is_bought_for_no_orders() -> None:
    assert [] == deliveries.purchased([]) == deliveries.ample([])
