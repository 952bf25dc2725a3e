"""The reconciliation, on invented lines and on the real file."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookkeeping import books, file
from bookkeeping.books import Books, Placed, Returned, Row
from bookkeeping.file import FileLine
from bookkeeping.invoices import LINES_PER_ORDER, TITLE_CHARACTERS, CreditNote, Invoice, documents, invoices, shelf
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


CODES = st.sampled_from("101A 101a 102 PADS DCGS7 gift_1 M POST DOT D AMAZONFEE S CRUK B new".split())
ROWS = st.builds(
    FileLine,
    invoice=st.builds("{}{}".format, st.sampled_from(["", "", "C", "C", "A", "X", "c"]), st.integers(1, 12)),
    stock_code=CODES | st.text(max_size=6),
    description=st.text(max_size=8),
    quantity=st.integers(-12, 12) | st.integers(-(10**5), 10**5),
    at=st.datetimes(datetime(1999, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC)),
    price_mills=st.integers(0, 3000) | st.integers(-(10**7), 10**7),
    customer=st.sampled_from(["", "7", "8"]) | st.text(max_size=4),
    country=st.sampled_from(["EIRE", ""]) | st.text(max_size=6),
)
"""Rows of no shop: other codes, other months, other signs."""


@given(st.lists(ROWS, max_size=40), st.integers(1, 5), st.sampled_from(["", "", "ORDER_NOT_RETURNABLE"]))
def test_the_books_of_any_file_close_whatever_the_shop_refuses(rows: list[FileLine], every: int, deny: str) -> None:
    """Each line has one class; the difference is nothing; what nobody knows is told line by line."""
    refused = (number for number in itertools.count(1))
    made = booked(rows, lambda invoice: accept(invoice) or ("NO" if next(refused) % every == 0 else ""), deny=deny)
    assert (len(rows), sum(each.mills for each in rows)) == (made.file_lines, made.file_mills)
    assert 0 == made.difference_mills
    assert [each for each in rows if classify(each) is LineClass.UNCLASSIFIED] == list(made.unclassified)


@given(st.lists(ROWS, max_size=40))
def test_an_order_can_be_placed_as_the_contract_has_it(rows: list[FileLine]) -> None:
    """Whatever rows say: keys of plain characters, codes and names that a product may have, money that adds up."""
    made = documents(rows)
    orders = [each for each in made if isinstance(each, Invoice) and each.orderable]
    assert [each.at for each in made] == sorted(each.at for each in made)
    for order in orders:
        assert re.fullmatch("invoice-[0-9]+(-[0-9]+)?", order.key) and 1 <= len(order.lines) <= LINES_PER_ORDER
        assert all(each.quantity > 0 and each.price_minor >= 0 for each in order.lines)
        assert 0 <= order.discount_minor <= order.goods_minor and order.shipping_minor >= 0 < order.total_minor
    for item in shelf(rows, orders):
        assert re.fullmatch("[!-~]+", item.stock_code) and 1 <= len(item.title) <= TITLE_CHARACTERS
        assert item.title.isprintable() and item.price_minor >= 0
    assert {each.stock_code for order in orders for each in order.lines} == {
        each.stock_code for each in shelf(rows, orders)
    }


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
