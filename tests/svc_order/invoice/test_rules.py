"""What of an order each seller invoices, without a server."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from svc_order.invoice.rules import Share, shares
from svc_order.order.lines import Line
from svc_order.order.rules import Order
from tests.svc_order.order.test_rules import order


def sold(*lines: tuple[str, int, int], shipping: int = 0, shipping_tax: int = 0) -> Order:
    """Return an order of lines (seller, total, tax), and its shipping."""
    made = tuple(
        Line(number, f"sku {number}", "p", "Thing", seller, 1, total, total, tax, 2000)
        for number, (seller, total, tax) in enumerate(lines, start=1)
    )
    return order(
        lines=made,
        total_minor=sum(total for _, total, _ in lines) + shipping,
        tax_minor=sum(tax for *_, tax in lines) + shipping_tax,
        shipping_minor=shipping,
    )


def test_each_seller_has_the_lines_that_it_sold() -> None:
    found = shares(sold(("tea ltd", 600, 100), ("house", 1200, 200), ("tea ltd", 60, 10)))
    assert [Share("house", 1200, 200), Share("tea ltd", 660, 110)] == found


def test_shipping_is_the_houses_whoever_sells_what_is_shipped() -> None:
    """Also where the house sells nothing else."""
    found = shares(sold(("tea ltd", 600, 100), shipping=300, shipping_tax=50))
    assert [Share("house", 300, 50, 300), Share("tea ltd", 600, 100)] == found
    assert [Share("house", 900, 150, 300)] == shares(sold(("house", 600, 100), shipping=300, shipping_tax=50))


def test_who_sold_nothing_invoices_nothing() -> None:
    """Not even the house."""
    assert [Share("tea ltd", 600, 100)] == shares(sold(("tea ltd", 600, 100)))


LINES = st.lists(
    st.tuples(st.sampled_from(("house", "tea ltd", "mugs")), st.integers(0, 10**6), st.integers(0, 0)), min_size=1
)


@settings(deadline=None)
@given(LINES, st.integers(0, 1000), st.integers(0, 100))
def test_the_shares_are_the_whole_order(lines: list[tuple[str, int, int]], shipping: int, share: int) -> None:
    """To the last minor unit, in total, in tax and in shipping; each seller once."""
    taxed = [(seller, total, total * share // 100) for seller, total, _ in lines]
    whole = sold(*taxed, shipping=shipping, shipping_tax=shipping * share // 100)
    found = shares(whole)
    assert (whole.total_minor, whole.tax_minor, whole.shipping_minor) == (
        sum(each.total_minor for each in found),
        sum(each.tax_minor for each in found),
        sum(each.shipping_minor for each in found),
    )
    assert all(0 <= each.tax_minor <= each.total_minor and each.shipping_minor <= each.total_minor for each in found)
    assert len(found) == len({each.seller_id for each in found})
