"""What may happen to an order, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from mesh.refusals import InvalidInput
from svc_order.errors import (
    OrderNotCancellable,
    OrderNotDeliverable,
    OrderNotRefundable,
    OrderNotReturnable,
    OrderNotShippable,
    RefundAmountInvalid,
    RefundExceedsOrder,
    ReturnExceedsLine,
    SupportRequired,
    TrackingCodeConflict,
)
from svc_order.order import rules
from svc_order.order.lines import Line
from svc_order.order.rules import Change, Order, OrderStatus
from titan.order.v1 import order_pb2

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
LINE = Line(1, "mug", "p", "Mug", "house", 2, 500, 1000, 167, 2000)
REFUND_ID = UUID(int=9)


def order(status: OrderStatus = OrderStatus.PENDING, **changes: object) -> Order:
    made = Order(
        order_id=UUID(int=1),
        user_id=UUID(int=2),
        status=status,
        currency="GBP",
        total_minor=1000,
        tax_minor=167,
        shipping_minor=0,
        lines=(LINE,),
        cart_id=None,
        created_at=AT,
        effective_at=AT,
        updated_at=AT,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_status_has_its_twin_in_the_contract() -> None:
    names = {name.removeprefix("ORDER_STATUS_") for name in order_pb2.OrderStatus.keys()} - {"UNSPECIFIED"}
    assert {status.value for status in OrderStatus} == names


@pytest.mark.parametrize("status", [s for s in OrderStatus if s is not OrderStatus.PENDING])
def test_a_decided_order_is_not_confirmed_or_abandoned_again(status: OrderStatus) -> None:
    """A late decision changes nothing, whichever way the first one went."""
    decided = order(status)
    assert rules.confirm(decided, {}, at=LATER) == Change(decided, None)
    assert rules.abandon(decided, "OUT_OF_STOCK", at=LATER) == Change(decided, None)


def test_a_pending_order_is_confirmed_with_what_was_allocated_to_it() -> None:
    change = rules.confirm(order(), {1: (("main", 2),)}, at=LATER)
    assert (change.order.status, change.order.allocations) == (OrderStatus.CONFIRMED, {1: (("main", 2),)})
    assert change.entry is not None
    assert (change.entry.type, change.entry.version, change.entry.effective_at) == ("OrderConfirmed", 2, LATER)


def test_an_order_that_counts_from_earlier_is_confirmed_as_of_then() -> None:
    """An importer says when it was placed; its confirmation counts from that moment, and is recorded now."""
    earlier = AT - timedelta(days=1)
    entry = rules.confirm(order(effective_at=earlier), {}, at=LATER).entry
    assert entry is not None
    assert (entry.effective_at, entry.recorded_at) == (earlier, LATER)


def test_an_imported_order_that_finds_no_stock_was_refused_when_it_was_placed() -> None:
    """Otherwise it would have been waiting for years."""
    entry = rules.abandon(order(effective_at=AT - timedelta(days=1)), "OUT_OF_STOCK", at=LATER).entry
    assert entry is not None and (entry.effective_at, entry.recorded_at) == (AT - timedelta(days=1), LATER)


SAYING_WHEN = {
    "ship": lambda when: rules.ship(order(OrderStatus.CONFIRMED), "", at=LATER, effective_at=when),
    "code": lambda when: rules.ship(order(OrderStatus.SHIPPED), "T", at=LATER, effective_at=when),
    "deliver": lambda when: rules.deliver(order(OrderStatus.SHIPPED), at=LATER, effective_at=when),
    "refund": lambda when: rules.refund(
        order(OrderStatus.SHIPPED),
        REFUND_ID,
        amount_minor=1,
        currency="GBP",
        by_owner=False,
        at=LATER,
        effective_at=when,
    ),
}


@pytest.mark.parametrize("step", SAYING_WHEN)
def test_what_happened_counts_from_when_it_is_said_to_and_never_before_the_order(step: str) -> None:
    """It is recorded now, whatever it counts from."""
    for said, counts in ((AT, AT), (None, LATER)):
        entry = SAYING_WHEN[step](said).entry
        assert entry is not None and (entry.effective_at, entry.recorded_at) == (counts, LATER)
    with pytest.raises(InvalidInput, match="before the order"):
        SAYING_WHEN[step](AT - timedelta(seconds=1))


def test_a_pending_order_is_abandoned_with_its_reason() -> None:
    change = rules.abandon(order(), "OUT_OF_STOCK", at=LATER)
    assert (change.order.status, change.order.cancel_reason) == (OrderStatus.CANCELLED, "OUT_OF_STOCK")
    assert change.entry is not None
    assert (change.entry.type, change.entry.version) == ("OrderCancelled", 2)


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.CONFIRMED])
def test_an_order_that_has_not_left_can_be_cancelled_once(status: OrderStatus) -> None:
    change = rules.cancel(order(status), at=LATER)
    assert change.order.status is OrderStatus.CANCELLED
    assert change.entry is not None and change.entry.version == 2
    assert rules.cancel(change.order, at=LATER) == Change(change.order, None)


@pytest.mark.parametrize("status", [OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.REFUNDED])
def test_an_order_that_has_left_can_not_be_cancelled(status: OrderStatus) -> None:
    with pytest.raises(OrderNotCancellable):
        rules.cancel(order(status), at=LATER)


def test_an_order_with_a_refund_can_not_be_cancelled() -> None:
    """The undo of a cancel sends everything back; a part that went back before would go back twice."""
    with pytest.raises(OrderNotCancellable, match="a part of the money was refunded"):
        rules.cancel(order(OrderStatus.CONFIRMED, refunded_minor=1), at=LATER)


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.CANCELLED, OrderStatus.REFUNDED])
def test_only_confirmed_orders_ship(status: OrderStatus) -> None:
    with pytest.raises(OrderNotShippable):
        rules.ship(order(status), "", at=LATER)


def test_shipping_and_delivering_twice_is_safe() -> None:
    shipped = rules.ship(order(OrderStatus.CONFIRMED), "T1", at=LATER).order
    delivered = rules.deliver(shipped, at=LATER).order
    assert rules.deliver(delivered, at=LATER) == Change(delivered, None)
    for left in (shipped, delivered):
        for code in ("T1", ""):
            assert rules.ship(left, code, at=LATER) == Change(left, None)


def test_a_parcel_that_left_under_a_code_keeps_it() -> None:
    """Who ships it again under another one hears of it: one of the two codes is a mistake."""
    shipped = rules.ship(order(OrderStatus.CONFIRMED), "T1", at=LATER).order
    for left in (shipped, rules.deliver(shipped, at=LATER).order):
        with pytest.raises(TrackingCodeConflict) as refusal:
            rules.ship(left, "T2", at=LATER)
        assert refusal.value.metadata["tracking_code"] == "T1"


@pytest.mark.parametrize("delivered", [False, True])
def test_a_parcel_that_left_without_a_code_gets_one(delivered: bool) -> None:
    left = rules.ship(order(OrderStatus.CONFIRMED), "", at=LATER).order
    left = rules.deliver(left, at=LATER).order if delivered else left
    change = rules.ship(left, "T1", at=LATER)
    assert change.entry is not None and change.entry.type == "OrderTracked"
    assert (change.order.status, change.order.tracking_code) == (left.status, "T1")
    assert rules.ship(change.order, "T1", at=LATER) == Change(change.order, None)


@pytest.mark.parametrize("status", [s for s in OrderStatus if s not in (OrderStatus.SHIPPED, OrderStatus.DELIVERED)])
def test_only_shipped_orders_are_delivered(status: OrderStatus) -> None:
    with pytest.raises(OrderNotDeliverable):
        rules.deliver(order(status), at=LATER)


def refund(of: Order, amount_minor: int | None, currency: str | None = "GBP", *, by_owner: bool = False) -> Change:
    return rules.refund(of, REFUND_ID, amount_minor=amount_minor, currency=currency, by_owner=by_owner, at=LATER)


def test_a_part_goes_back_and_then_the_rest() -> None:
    part = refund(order(OrderStatus.SHIPPED), 400).order
    assert (part.status, part.refunded_minor) == (OrderStatus.SHIPPED, 400)
    rest = refund(part, None, None).order
    assert (rest.status, rest.refunded_minor) == (OrderStatus.REFUNDED, 1000)


def test_more_than_is_left_never_goes_back() -> None:
    with pytest.raises(RefundExceedsOrder) as refusal:
        refund(order(OrderStatus.SHIPPED, refunded_minor=400), 601)
    assert refusal.value.metadata == {"left_minor": "600", "currency": "GBP"}


@pytest.mark.parametrize(
    ("amount", "currency", "says"),
    [
        (0, "GBP", "more than zero GBP"),
        (-1, "GBP", "more than zero GBP"),
        (1, "EUR", "in GBP, not EUR"),
        (0, "EUR", "in GBP, not EUR"),
    ],
)
def test_a_refund_is_more_than_zero_of_the_orders_currency(amount: int, currency: str, says: str) -> None:
    with pytest.raises(RefundAmountInvalid, match=says):
        refund(order(OrderStatus.CONFIRMED), amount, currency)


@pytest.mark.parametrize(("amount", "before"), [(1000, 0), (None, 0), (600, 400), (None, 400)])
def test_an_owner_takes_all_back_while_the_goods_are_here(amount: int | None, before: int) -> None:
    """All that is left: the shop may have sent a part back already."""
    after = refund(order(OrderStatus.CONFIRMED, refunded_minor=before), amount, by_owner=True).order
    assert after.status is OrderStatus.REFUNDED


@pytest.mark.parametrize("amount", [1, 999])
def test_an_owner_takes_no_part_of_the_price_of_a_parcel_that_will_leave(amount: int) -> None:
    """All but a penny taken back would have the goods sent for a penny."""
    with pytest.raises(SupportRequired, match="still to leave"):
        refund(order(OrderStatus.CONFIRMED), amount, by_owner=True)
    assert refund(order(OrderStatus.CONFIRMED), amount).entry is not None


@pytest.mark.parametrize("status", [OrderStatus.SHIPPED, OrderStatus.DELIVERED])
@pytest.mark.parametrize("amount", [1, None])
def test_once_the_parcel_has_left_the_shop_decides_on_refunds(status: OrderStatus, amount: int | None) -> None:
    """A buyer could otherwise keep the goods and the money."""
    with pytest.raises(SupportRequired, match=status.lower()):
        refund(order(status), amount, by_owner=True)
    assert refund(order(status), amount).entry is not None


def test_the_money_of_a_cancelled_order_goes_back_once_and_leaves_it_cancelled() -> None:
    cancelled = rules.cancel(order(OrderStatus.CONFIRMED), at=LATER).order
    change = rules.sent_back(cancelled, REFUND_ID, 1000, at=LATER)
    assert (change.order.status, change.order.refunded_minor) == (OrderStatus.CANCELLED, 1000)
    assert change.entry is not None
    assert change.entry.payload == {
        "refund_id": str(REFUND_ID),
        "amount_minor": 1000,
        "full": True,
        "release": False,
    }
    assert rules.sent_back(change.order, REFUND_ID, 1000, at=LATER) == Change(change.order, None)


def test_a_free_order_that_is_cancelled_sends_nothing_back() -> None:
    cancelled = order(OrderStatus.CANCELLED, total_minor=0, tax_minor=0)
    assert rules.sent_back(cancelled, REFUND_ID, 0, at=LATER) == Change(cancelled, None)


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.CANCELLED, OrderStatus.REFUNDED])
def test_nothing_goes_back_where_nothing_was_taken(status: OrderStatus) -> None:
    with pytest.raises(OrderNotRefundable):
        refund(order(status), 1)


def test_an_order_has_so_many_refunds_and_comes_to_its_end_all_the_same() -> None:
    """A journal is bounded, so pennies stop at some point; the rest, the parcel and its arrival do not."""
    now, parts = order(OrderStatus.CONFIRMED, total_minor=100_000, version=2), 0
    with pytest.raises(OrderNotRefundable, match="too many refunds"):
        while True:
            now, parts = refund(now, 1).order, parts + 1
    assert (parts, now.refunded_minor) == (988, 988)
    assert refund(now, None, None).order.status is OrderStatus.REFUNDED
    for step in ("ship without a code", "ship", "deliver", "rest"):
        now = STEPS[step](now).order
    assert (now.status, now.refunded_minor) == (OrderStatus.REFUNDED, 100_000)
    assert now.version <= rules.MAX_VERSION


@pytest.mark.parametrize(
    ("status", "release"), [(OrderStatus.CONFIRMED, True), (OrderStatus.SHIPPED, False), (OrderStatus.DELIVERED, False)]
)
def test_goods_that_never_left_go_back_on_the_shelf_with_the_last_penny(status: OrderStatus, release: bool) -> None:
    entry = refund(order(status), 1000).entry
    assert entry is not None and entry.payload["release"] is release
    part = refund(order(status), 999).entry
    assert part is not None and part.payload["release"] is False


def back(of: Order, units: dict[int, int], amount_minor: int | None = None) -> Change:
    return rules.refund(of, REFUND_ID, amount_minor=amount_minor, currency="GBP", by_owner=False, at=LATER, units=units)


def three(status: OrderStatus = OrderStatus.SHIPPED, **changes: object) -> Order:
    """Three mugs for 1000: a price that does not divide by them."""
    return order(status, lines=(replace(LINE, quantity=3),), **changes)


STEPS = {
    "confirm": lambda o: rules.confirm(o, {1: (("main", 2),)}, at=LATER),
    "abandon": lambda o: rules.abandon(o, "OUT_OF_STOCK", at=LATER),
    "cancel": lambda o: rules.cancel(o, at=LATER),
    "undone": lambda o: rules.sent_back(o, REFUND_ID, 1000, at=LATER) if o.status == "CANCELLED" else Change(o, None),
    "ship": lambda o: rules.ship(o, "T", at=LATER),
    "ship without a code": lambda o: rules.ship(o, "", at=LATER),
    "deliver": lambda o: rules.deliver(o, at=LATER),
    "part": lambda o: refund(o, 300),
    "rest": lambda o: refund(o, None, None),
    "back": lambda o: back(o, {1: 1}),
}


def test_units_that_come_back_give_back_what_they_cost_and_all_of_them_everything() -> None:
    """However they come: no penny of the line is lost or made."""
    one = back(three(), {1: 1})
    assert (333, {1: 1}, OrderStatus.SHIPPED) == (one.order.refunded_minor, one.order.returned, one.order.status)
    rest = back(one.order, {1: 2})
    assert (1000, {1: 3}, OrderStatus.REFUNDED) == (rest.order.refunded_minor, rest.order.returned, rest.order.status)
    assert rest.entry is not None and {"1": 2} == rest.entry.payload["units"]


def test_the_shop_may_give_back_another_amount_for_units() -> None:
    """A worn mug is worth less; with its postage more. Never more than is left of the order."""
    assert 100 == back(three(), {1: 1}, 100).order.refunded_minor
    with pytest.raises(RefundExceedsOrder):
        back(three(), {1: 1}, 1001)
    with pytest.raises(RefundExceedsOrder):
        back(three(refunded_minor=900), {1: 1})


def of_shipping(of: Order, left_minor: int, amount_minor: int | None = None) -> Change:
    currency = None if amount_minor is None else "GBP"
    return rules.refund(
        of,
        REFUND_ID,
        amount_minor=amount_minor,
        currency=currency,
        by_owner=False,
        at=LATER,
        shipping_left_minor=left_minor,
    )


def test_shipping_goes_back_in_parts_and_then_the_rest_of_it_alone() -> None:
    """Without an amount all that is left of it, and never the goods; the journal says what it was for."""
    bought = replace(order(OrderStatus.SHIPPED), shipping_minor=300)
    part = of_shipping(bought, rules.shipping_left(bought, []), 100)
    assert part.entry is not None and part.entry.payload["of_shipping"] is True
    goods = refund(part.order, 50)
    assert goods.entry is not None and "of_shipping" not in goods.entry.payload
    entries = [part.entry, goods.entry]
    rest = of_shipping(goods.order, rules.shipping_left(bought, entries))
    assert rest.entry is not None
    assert (350, OrderStatus.SHIPPED) == (rest.order.refunded_minor, rest.order.status)
    assert 0 == rules.shipping_left(bought, [*entries, rest.entry])


@pytest.mark.parametrize(
    ("left_of_shipping", "refunded", "amount", "left"),
    [(300, 0, 301, "300"), (0, 0, 1, "0"), (0, 0, None, "0"), (300, 900, 200, "100"), (300, 900, None, None)],
)
def test_no_more_shipping_goes_back_than_was_paid_for_it(
    left_of_shipping: int, refunded: int, amount: int | None, left: str | None
) -> None:
    """Nor than is left of the order, of which money may have gone back for anything."""
    bought = order(OrderStatus.SHIPPED, refunded_minor=refunded)
    if left is None:
        assert 1000 == of_shipping(bought, left_of_shipping, amount).order.refunded_minor
        return
    with pytest.raises(RefundExceedsOrder) as refusal:
        of_shipping(bought, left_of_shipping, amount)
    assert left == refusal.value.metadata["left_minor"]


@pytest.mark.parametrize(
    ("units", "left"), [({1: 3}, "2"), ({2: 1}, "0")], ids=["more than were bought", "a line that there is not"]
)
def test_no_more_units_come_back_than_were_bought_and_have_not(units: dict[int, int], left: str) -> None:
    with pytest.raises(ReturnExceedsLine) as refusal:
        back(three(returned={1: 1}), units)
    assert left == refusal.value.metadata["left"]


def test_nothing_comes_back_of_a_parcel_that_has_not_left() -> None:
    """Its goods are on the shelf; the money alone goes back."""
    with pytest.raises(OrderNotReturnable):
        back(three(OrderStatus.CONFIRMED), {1: 1})
