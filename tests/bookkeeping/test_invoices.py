"""Which orders and credit notes the lines of a file make."""

from __future__ import annotations

from datetime import timedelta

from bookkeeping import invoices
from bookkeeping.invoices import CreditNote, Invoice
from tests.bookkeeping.files import AT, line


def test_an_invoice_may_hold_a_product_twice_at_two_prices() -> None:
    invoice = invoices.invoices([line(price="2.10"), line(price="1.99", quantity=3), line("2")])[0]
    assert [(each.quantity, each.price_minor) for each in invoice.lines] == [(1, 210), (3, 199)]
    assert invoice.total_minor == 807


def test_a_file_that_is_out_of_order_is_played_in_the_order_of_its_times() -> None:
    """Documents of one minute stay as the file has them."""
    before = AT - timedelta(minutes=1)
    made = invoices.documents([line("2"), line("3"), line("1", at=before), line("C4", quantity=-1, at=before)])
    assert ["1", "C4", "2", "3"] == [each.number for each in made]


def test_postage_and_discount_belong_to_the_order_of_their_invoice() -> None:
    """An invoice's total is the file's, whatever it is made of."""
    lines = [line(price="2.10", quantity=2), line(code="POST", quantity=2, price="9"), line(code="D", quantity=-1)]
    (invoice,) = invoices.invoices(lines)
    assert (1, 1800, 150) == (len(invoice.lines), invoice.shipping_minor, invoice.discount_minor)
    assert (420 + 1800 - 150) * 10 == invoice.mills == invoice.total_minor * 10


def test_postage_that_was_billed_alone_is_a_line() -> None:
    """An order of nothing but shipping is none."""
    (invoice,) = invoices.invoices([line(code="POST", price="18")])
    assert ("POST", 0, 1800) == (invoice.lines[0].stock_code, invoice.shipping_minor, invoice.total_minor)


def test_the_tenths_of_a_penny_are_kept() -> None:
    """A price of a tenth of a penny is charged as nothing; an invoice of nothing else is no order."""
    both, tiny = invoices.invoices([line(), line(price="0.001", quantity=3), line("2", price="0.001")])
    assert (150, 3, True) == (both.total_minor, both.rounding_mills, both.orderable)
    assert (0, 1, False) == (tiny.total_minor, tiny.rounding_mills, tiny.orderable)


def test_a_discount_of_more_than_the_goods_makes_no_order() -> None:
    (invoice,) = invoices.invoices([line(), line(code="POST", price="9"), line(code="D", quantity=-1, price="1.51")])
    assert invoice.total_minor > 0 and not invoice.orderable


def test_a_very_long_invoice_is_several_orders_of_one_buyer() -> None:
    """Each as long as an order may be; the postage stands on the first alone, and no line is lost."""
    lines = [line("9", code=f"{n}", customer="7") for n in range(2001)] + [line("9", code="POST")]
    made = invoices.invoices(lines)
    assert [("9", 1000), ("9-2", 1000), ("9-3", 1)] == [(each.number, len(each.lines)) for each in made]
    assert [150, 0, 0] == [each.shipping_minor for each in made] and 1 == len({each.buyer for each in made})
    assert sum(each.mills for each in lines) == sum(each.mills for each in made)


def test_a_credit_note_tells_what_came_back() -> None:
    """In positive numbers; a note without a customer is nobody's."""
    (note,) = invoices.documents([line("C1", quantity=-3, price="0.015")])
    assert isinstance(note, CreditNote) and "customer-7" == note.buyer
    assert (3, 2, 6, -45 + 60) == (
        note.lines[0].quantity,
        note.lines[0].price_minor,
        note.lines[0].total_minor,
        note.lines[0].rounding_mills,
    )
    (guest,) = invoices.documents([line("C1", quantity=-1, customer="")])
    assert "" == guest.buyer


def test_documents_keep_the_order_of_the_file() -> None:
    """Lines of one invoice belong together, wherever they stand."""
    made = invoices.documents([line("1"), line("C2", quantity=-1), line("3"), line("1")])
    assert [("1", Invoice), ("C2", CreditNote), ("3", Invoice)] == [(each.number, type(each)) for each in made]
    assert 2 == len(made[0].lines)


def test_codes_that_differ_by_case_are_two_products() -> None:
    lines = [line(code="1a"), line(code="1A"), line(code="1a"), line(code="POST")]
    assert ["1a", "1A"] == [item.stock_code for item in invoices.shelf(lines, invoices.invoices(lines))]


def test_an_invoice_without_a_customer_is_a_guest_of_its_own() -> None:
    first, second = invoices.invoices([line("1", customer=""), line("2", customer="")])
    assert first.buyer != second.buyer
