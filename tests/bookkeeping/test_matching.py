"""A file held against the orders that a shop has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from bookkeeping import books
from bookkeeping.books import Books, Row
from bookkeeping.invoices import CreditNote, Invoice, documents
from bookkeeping.matching import NOT_IN_THE_SHOP, Held, ShopOrder, ShopRefund, Window, hold
from bookkeeping.returns import Purchases
from tests.bookkeeping.files import AT, line

LINES = (
    line("1", quantity=10),
    line("1", code="POST", price="4"),
    line("2", code="102"),
    line("C3", quantity=-4, at=AT + timedelta(hours=1)),
    line("C3", code="POST", price="1", quantity=-1, at=AT + timedelta(hours=1)),
    line("4", code="AMAZONFEE", price="100", customer=""),
)
MADE = documents(LINES)


def shop_of(refused: Iterable[str] = ()) -> list[ShopOrder]:
    """What a shop has that took every order but the refused ones, and gave back what came back of them."""
    orders, purchases = dict[str, ShopOrder](), Purchases()
    for each in MADE:
        if isinstance(each, CreditNote):
            for of in purchases.match(each).refunds:
                order = orders[of.order_id]
                orders[of.order_id] = replace(order, refunds=(*order.refunds, ShopRefund(of.at, of.amount_minor)))
            continue
        refusal = "OUT_OF_STOCK" if each.number in refused else ""
        orders[each.number] = ShopOrder(each.number, each.key, each.at, each.total_minor, refusal)
        if not refusal:
            purchases.add(each, each.number)
    return list(orders.values())


def closed(held: Held) -> Books:
    notes = [each for each in MADE if isinstance(each, CreditNote)]
    return books.reconcile(LINES, notes, held.placed, held.returned, held.leftovers, held.beyond)


def test_a_shop_that_has_everything_closes_the_books() -> None:
    """As they were closed when the file was played into it; whatever order its orders come in."""
    held = hold(MADE, reversed(shop_of()))
    made = closed(held)
    assert ((), ()) == (held.doubts, held.beyond) and made.closed
    assert (Row("orders", "orders", 2, 20_500), Row("refunds", "refunds", 2, -7_000)) == (made.orders, made.refunds)


def test_an_order_that_was_refused_is_in_the_remainder() -> None:
    """With the shop's own reason, and nobody has to look at it."""
    held = hold(MADE, shop_of(refused=["1"]))
    made = closed(held)
    rows = {row.title: row.mills for row in made.remainder}
    assert (19_000, 0, ()) == (rows["orders refused: OUT_OF_STOCK"], made.difference_mills, held.doubts)
    assert -6000 == rows["returns unmatched: goods, more came back than was bought here"]


def test_an_order_that_the_shop_does_not_have_is_told() -> None:
    """It is a sum of its own in the remainder, and never a difference without a name."""
    held = hold(MADE, [each for each in shop_of() if each.order_id != "2"])
    made = closed(held)
    rows = {row.title: row.mills for row in made.remainder}
    assert (1500, 0) == (rows[f"orders refused: {NOT_IN_THE_SHOP}"], made.difference_mills)
    assert ["2"] == [doubt.document for doubt in held.doubts]


@pytest.mark.parametrize("change", [{"key": "invoice-22"}, {"at": AT + timedelta(seconds=1)}])
def test_an_order_of_another_key_or_time_is_another_one(change) -> None:
    """A shopper may use an invoice's number for a key, but can't say since when an order counts."""
    shop = [replace(each, **change) if each.order_id == "2" else each for each in shop_of()]
    held = hold(MADE, shop)
    assert (NOT_IN_THE_SHOP,) == tuple(each.refusal for each in held.placed if each.refusal)
    assert (Row("beyond", "orders that the file does not have", 1, 1500),) == held.beyond
    assert 0 == closed(held).difference_mills


def test_a_penny_more_or_less_is_a_difference_and_told() -> None:
    """On an order, and on a refund of the credit note's time."""
    shop = [replace(each, total_minor=each.total_minor - 1) if each.order_id == "2" else each for each in shop_of()]
    held = hold(MADE, shop)
    assert (10, ["2"]) == (closed(held).difference_mills, [doubt.document for doubt in held.doubts])

    goods, postage = shop_of()[0].refunds
    held = hold(MADE, [replace(shop_of()[0], refunds=(replace(goods, amount_minor=599), postage)), shop_of()[1]])
    assert (-10, ["C3"]) == (closed(held).difference_mills, [doubt.document for doubt in held.doubts])


def test_refunds_are_told_that_are_missing_or_that_nobody_asked_for() -> None:
    """Of one the file knows the amount; the other is none of the file's."""
    first, second = shop_of()
    _, postage = first.refunds
    more = ShopRefund(AT + timedelta(hours=2), 77)
    held = hold(MADE, [replace(first, refunds=(more, postage)), second])
    made = closed(held)
    assert -6000 == {row.title: row.mills for row in made.remainder}["refunds refused: NOT_IN_THE_SHOP"]
    assert (Row("beyond", "refunds that the file does not have", 1, -770),) == held.beyond
    assert (0, ["C3"]) == (made.difference_mills, [doubt.document for doubt in held.doubts])


def test_an_invoice_of_nothing_is_looked_for_nowhere() -> None:
    """The shop would have refused it."""
    made = documents([line("9", price="0.001")])
    assert isinstance(made[0], Invoice) and not made[0].orderable
    held = hold(made, [])
    assert (("NOTHING_TO_PAY",), ()) == (tuple(each.refusal for each in held.placed), held.doubts)


MAY = AT + timedelta(days=30)
BOUGHT = documents([line("1", quantity=10)])
GIVEN_BACK = documents([line("C3", quantity=-4, at=MAY)])


def of_may(*refunds: ShopRefund, file_begins_in_may: bool = False) -> Held:
    """The books of May, with an order of April that the shop refunded like this."""
    april = ShopOrder("one", "invoice-1", AT, 1500, refunds=refunds)
    earlier = [] if file_begins_in_may else BOUGHT
    return hold(GIVEN_BACK, [april], earlier=earlier, window=Window(since=MAY))


def test_goods_go_back_of_what_was_bought_before_the_time():
    """The order is none of the time, and its refund is."""
    held = of_may(ShopRefund(MAY, 600))
    assert ([], [600]) == ([*held.placed], [each.amount_minor for each in held.returned])
    assert ((), (), ()) == (held.leftovers, held.doubts, held.beyond)


@pytest.mark.parametrize(
    ("refunds", "doubts", "beyond"),
    [
        ([], ["C3"], ()),
        ([600, 600, 600], [], (Row("beyond", "refunds that the file does not have", 2, -12_000),)),
        ([599], ["C3"], ()),
    ],
)
def test_how_often_and_how_much_the_shop_refunded_of_an_earlier_order_is_seen(refunds, doubts, beyond):
    """Never, three times, or a penny less."""
    held = of_may(*(ShopRefund(MAY, amount) for amount in refunds))
    assert (doubts, beyond) == ([each.document for each in held.doubts], held.beyond)


@pytest.mark.parametrize("refunds", [0, 1, 3])
def test_a_file_that_begins_with_the_time_leaves_a_doubt(refunds):
    """It can't say what was bought before, and the shop's refunds are not its own."""
    held = of_may(*[ShopRefund(MAY, 600)] * refunds, file_begins_in_may=True)
    assert ["C3"] == [each.document for each in held.doubts]
    assert refunds == sum(row.count for row in held.beyond)


def test_what_was_refunded_outside_of_the_time_is_none_of_it():
    """Nor is what went back before taken for what goes back now: it is gone."""
    before = ShopRefund(MAY - timedelta(days=1), 900)
    assert () == of_may(ShopRefund(MAY, 600), before).beyond

    earlier = [*BOUGHT, *documents([line("C2", quantity=-8, at=before.at)])]
    april = ShopOrder("one", "invoice-1", AT, 1500, refunds=(before, ShopRefund(MAY, 300)))
    held = hold(GIVEN_BACK, [april], earlier=earlier, window=Window(since=MAY))
    assert ([300], ["C3"]) == ([each.amount_minor for each in held.returned], [each.document for each in held.doubts])


def test_an_order_that_was_imported_twice_is_told():
    """One of the two is the file's, and what went back of the other is none of it."""
    twin = replace(shop_of()[0], order_id="twin")
    held = hold(MADE, [*shop_of(), twin])
    assert (
        Row("beyond", "orders that the file does not have", 1, 19_000),
        Row("beyond", "refunds that the file does not have", 2, -7_000),
    ) == held.beyond
