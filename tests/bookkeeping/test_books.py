"""The reconciliation, on invented lines and on the real file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date

import pytest

from bookkeeping import books, file
from bookkeeping.books import Books, Placed, Returned, Row
from bookkeeping.file import FileLine
from bookkeeping.invoices import CreditNote, Invoice, documents, invoices
from bookkeeping.kinds import LineClass, classify
from bookkeeping.returns import Leftover, Purchases
from tests.bookkeeping.files import REAL, line, needs_the_real_file


def accept(invoice: Invoice) -> str:
    return "" if invoice.orderable else "NOTHING_TO_PAY"


def booked(
    lines: Sequence[FileLine], refuse: Callable[[Invoice], str] = accept, short_minor: int = 0, deny: str = ""
) -> Books:
    """The books of a shop that takes every order but the refused ones, and may be `short` on one of them."""
    purchases, placed, returned, leftovers = Purchases(), list[Placed](), list[Returned](), list[Leftover]()
    made = documents(lines)
    for each in made:
        if isinstance(each, CreditNote):
            matched = purchases.match(each)
            leftovers += matched.leftovers
            returned += [Returned(of, of.amount_minor, deny) for of in matched.refunds]
        elif refusal := refuse(each):
            placed.append(Placed(each, refusal=refusal))
        else:
            purchases.add(each, each.number)
            placed.append(Placed(each, each.total_minor - short_minor))
    notes = [each for each in made if isinstance(each, CreditNote)]
    return books.reconcile(lines, notes, placed, returned, leftovers)


LINES = (
    line("1", quantity=10),
    line("1", code="POST", price="4"),
    line("1", price="0.001", quantity=2),
    line("2", code="102"),
    line("C3", quantity=-4),
    line("C3", code="102", quantity=-2),
    line("4", code="AMAZONFEE", price="100", customer=""),
    line("C5", code="AMAZONFEE", price="300", quantity=-1, customer=""),
    line("A6", code="B", price="-7", customer=""),
    line("7", price="0", quantity=-5, customer=""),
    line("8", code="what", price="0.5"),
)


def test_the_books_close_over_every_class_of_line() -> None:
    """Each line once; the remainder's rows are sums of their own."""
    made = booked(LINES)
    assert (len(LINES), sum(each.mills for each in LINES), 0) == (
        made.file_lines,
        made.file_mills,
        made.difference_mills,
    )
    assert (Row("orders", "orders", 2, 20_500), Row("refunds", "refunds", 2, -7_500)) == (made.orders, made.refunds)
    assert (1, 2) == (made.rounding.count, made.rounding.mills)
    assert {
        "returns unmatched: goods, more came back than was bought here": -1500,
        "booked beside the trade: marketplace fee": -200_000,
        "adjustment by the bookkeeper: bad debt": -7000,
        "stock correction without a price: goods": 0,
        "unclassified: unknown": 500,
    } == {row.title: row.mills for row in made.remainder}


def test_a_refused_order_is_in_the_remainder_with_its_reason() -> None:
    """And so is what came back of it, for nobody bought it here."""
    made = booked(LINES, lambda invoice: "OUT_OF_STOCK" if invoice.number == "1" else "")
    rows = {row.title: row.mills for row in made.remainder}
    assert (19_000, 0) == (rows["orders refused: OUT_OF_STOCK"], made.difference_mills)
    assert -7500 == rows["returns unmatched: goods, more came back than was bought here"]


def test_a_refused_refund_is_in_the_remainder_with_its_reason() -> None:
    made = booked(LINES, deny="ORDER_NOT_RETURNABLE")
    rows = {row.title: row.mills for row in made.remainder}
    assert (-7500, 0, 0) == (rows["refunds refused: ORDER_NOT_RETURNABLE"], made.refunds.mills, made.difference_mills)


def test_a_penny_that_the_shop_charges_less_is_a_difference() -> None:
    """The remainder never takes it up."""
    made = booked(LINES, short_minor=1)
    assert 20 == made.difference_mills and not made.closed


def test_one_unclassified_line_in_a_thousand_is_enough() -> None:
    """Each is told."""
    known, unknown = [line("1")] * 1999, [line("1", code="what")] * 2
    assert booked(known + unknown).closed and not booked(known[1:-1] + unknown).closed
    assert tuple(unknown) == booked(known + unknown).unclassified


@needs_the_real_file
def test_the_first_day_of_the_real_file() -> None:
    """127 invoices, GBP 58,960.79; the figures of the file's own first trading day."""
    lines = list(file.read(REAL, first=date(2010, 12, 1), days=1))
    sales = [each for each in lines if classify(each) is LineClass.SALE]
    made = invoices(sales)
    assert (len(lines), len(sales), len(made)) == (3108, 3072, 127)
    assert sum(invoice.total_minor for invoice in made) == 5_896_079


@pytest.fixture(scope="module")
def real() -> list[FileLine]:
    return list(file.read(REAL))


@needs_the_real_file
def test_the_real_file_is_the_half_year_that_it_says(real: list[FileLine]) -> None:
    """209,029 lines, 10,783 invoices, 2,767 customers, GBP 3,706,827.641."""
    assert (209_029, 3_706_827_641) == (len(real), sum(each.mills for each in real))
    assert (10_783, 2_767) == (len({each.invoice for each in real}), len({each.customer for each in real} - {""}))


@needs_the_real_file
def test_every_line_of_the_real_file_has_a_class_and_the_books_close(real: list[FileLine]) -> None:
    """With everything on the shelf; and in the first month with every seventh order refused."""
    made = booked(real)
    assert (0, (), 209_029) == (made.difference_mills, made.unclassified, made.file_lines)
    assert Row("rounding", "prices of tenths of a penny", 1, 1) == made.rounding
    assert (8119, 405_087_550_0) == (made.orders.count, made.orders.mills)
    numbers = Counter(each.number for each in invoices(real))
    assert 8119 == len(numbers)
    refusing = booked(real[:40_000], lambda invoice: "OUT_OF_STOCK" if int(invoice.number) % 7 == 0 else "")
    assert 0 == refusing.difference_mills
    assert 4_000 > sum(row.count for row in refusing.remainder if row.title == "orders refused: OUT_OF_STOCK") > 100
