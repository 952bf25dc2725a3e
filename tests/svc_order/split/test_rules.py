"""Who sold what of an order and who bears what of its refunds, without a server."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from svc_order.order import rules as orders
from svc_order.order.lines import Line
from svc_order.order.rules import Order, OrderStatus
from svc_order.split import rules
from svc_order.split.rules import Credit, SellerPart
from tests.svc_order.invoice.test_rules import sold
from tests.svc_order.order.test_rules import AT, order

SHARED = sold(("tea ltd", 600, 100), ("house", 1200, 200), ("pots", 60, 10), shipping=300, shipping_tax=50)


def test_the_house_alone_is_not_split() -> None:
    """Nothing is asked of anybody for such an order."""
    assert not rules.has_sellers(order()) and () == rules.sold(order())
    assert rules.has_sellers(SHARED)
    assert (SellerPart("pots", 60), SellerPart("tea ltd", 600)) == rules.sold(SHARED)


def test_who_sold_what_came_back_bears_what_it_cost() -> None:
    """What is more than that is borne in proportion to what is left."""
    assert {"house": 0, "pots": 0, "tea ltd": 600} == rules.divide(SHARED, 600, {1: 1}, {})
    assert {"house": 0, "pots": 0, "tea ltd": 300} == rules.divide(SHARED, 300, {1: 1}, {})
    assert {"house": 192, "pots": 8, "tea ltd": 600} == rules.divide(SHARED, 800, {1: 1}, {})


def test_money_alone_is_borne_in_proportion_and_nobody_bears_more_than_they_sold() -> None:
    assert {"house": 750, "pots": 30, "tea ltd": 300} == rules.divide(SHARED, 1080, {}, {})
    assert {"house": 1500, "pots": 0, "tea ltd": 0} == rules.divide(SHARED, 1500, {}, {"pots": 60, "tea ltd": 600})
    assert {"house": 100, "pots": 0, "tea ltd": 0} == rules.divide(SHARED, 100, {1: 1}, {"pots": 60, "tea ltd": 600})


def test_the_house_bears_shipping_and_no_other_seller() -> None:
    """It alone was paid for it; what it has not left, all bear in proportion."""
    assert {"house": 300, "pots": 0, "tea ltd": 0} == rules.divide(SHARED, 300, {}, {}, of_shipping=True)
    gone = {"house": 1300, "pots": 0, "tea ltd": 0}
    assert {"house": 200, "pots": 9, "tea ltd": 91} == rules.divide(SHARED, 300, {}, gone, of_shipping=True)
    bought = replace(SHARED, status=OrderStatus.SHIPPED)
    change = orders.refund(
        bought, UUID(int=1), amount_minor=300, currency="GBP", by_owner=False, at=AT, shipping_left_minor=300
    )
    divided = rules.divided(bought, change, {}, {})
    assert divided.entry is not None and change.entry is not None
    assert {"house": 300, "pots": 0, "tea ltd": 0} == divided.entry.payload["shares"]
    assert rules.refunds(bought, [divided.entry]) == rules.refunds(bought, [change.entry])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2160), st.sets(st.integers(1, 3))), max_size=6))
def test_the_journal_says_who_bore_what_to_the_last_penny(steps: list[tuple[int, set[int]]]) -> None:
    """An entry that does not say it comes to the same by the same rule."""
    bought = replace(SHARED, status=OrderStatus.SHIPPED)
    entries: list[orders.Entry] = []
    for number, (amount, lines) in enumerate(steps):
        units = {line: 1 for line in lines if not bought.returned.get(line)}
        left = bought.total_minor - bought.refunded_minor
        if not left or bought.status is OrderStatus.REFUNDED:
            break
        change = _refund(bought, min(amount, left), units, number)
        divided = rules.divided(bought, change, units, rules.borne_so_far(bought, entries))
        assert divided.entry is not None and change.entry is not None
        parts = divided.entry.payload["shares"]
        assert sum(parts.values()) == divided.entry.payload["amount_minor"]
        borne = {part.seller_id: part.borne_minor for part in rules.bearing(bought, divided)}
        assert borne == {seller: minor for seller, minor in parts.items() if seller != "house"}
        assert rules.refunds(bought, [*entries, divided.entry]) == rules.refunds(bought, [*entries, change.entry])
        entries.append(divided.entry)
        bought = change.order
    borne_by = rules.borne_so_far(bought, entries)
    assert bought.refunded_minor == sum(borne_by.values())
    assert all(borne_by[each] <= most for each, most in {"house": 1500, "pots": 60, "tea ltd": 600}.items())


def test_what_came_back_before_counts_where_an_entry_does_not_say_who_bore_it() -> None:
    """The units before it have taken their part of the line's price; other entries have none."""
    three = Line(1, "sku", "p", "Thing", "ants", 3, 34, 100, 17, 2000)
    bought = replace(SHARED, lines=(three, *SHARED.lines[1:]), total_minor=1660, status=OrderStatus.SHIPPED)
    shipped = orders.Entry(1, "OrderShipped", {}, AT, AT)
    back = [
        orders.Entry(
            number, "OrderRefunded", {"refund_id": f"r{number}", "amount_minor": minor, "units": {"1": 1}}, AT, AT
        )
        for number, minor in ((2, 33), (3, 33), (4, 34))
    ]
    alone = {"house": 0, "pots": 0}
    assert [
        ("r2", {**alone, "ants": 33}),
        ("r3", {**alone, "ants": 33}),
        ("r4", {**alone, "ants": 34}),
    ] == rules.refunds(bought, [shipped, *back])
    assert {**alone, "ants": 100} == rules.borne_so_far(bought, [shipped, *back])


def test_a_credit_takes_back_the_tax_of_an_invoice_to_the_last_penny() -> None:
    """Rounded down on all that was credited so far; whoever bears nothing gives nothing."""
    first = {"house": 1, "pots": 0, "tea ltd": 7}
    assert [Credit("house", 1, 0), Credit("tea ltd", 7, 1)] == rules.credits(SHARED, first, {})
    second = {"pots": 60, "tea ltd": 5}
    assert [Credit("pots", 60, 10), Credit("tea ltd", 5, 1)] == rules.credits(SHARED, second, first)
    rest = {"house": 1499, "tea ltd": 588}
    assert [Credit("house", 1499, 250), Credit("tea ltd", 588, 98)] == rules.credits(
        SHARED, rest, rules.both(first, second)
    )
    assert {"house": 1, "pots": 60, "tea ltd": 12} == rules.both(first, second)


def _refund(bought: Order, amount_minor: int, units: orders.Units, number: int) -> orders.Change:
    return orders.refund(
        bought, UUID(int=number), amount_minor=amount_minor, currency="GBP", by_owner=False, at=AT, units=units
    )
