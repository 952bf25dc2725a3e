"""What the roles of the shop may do with somebody else's order, over the real chain: tickets, limits, their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import harness
from tests.svc_order.conftest import Shop
from tests.svc_order.order.test_rpc import SUPPORT, THEN, TICKET, captured, refused, ship
from titan.order.v1 import invoice_service_pb2 as invoices_pb
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as pb
from titan.type.v1 import money_pb2

LIMIT_MINOR = {"support": 10_000, "finance": 100_000}
"""How much of one order goes back by their decision, in GBP, as deploy/policies.cedar has it."""

Call = Callable[[Shop, str, str, Any], Any]


def as_of(shop: Shop, order_id: str, ticket: str, who: Any) -> Any:
    request = pb.GetOrderAsOfRequest(order_id=order_id, ticket_id=ticket)
    request.as_of_time.FromJsonString("2999-01-01T00:00:00Z")
    return shop.orders.GetOrderAsOf(request, metadata=who)


READS: dict[str, Call] = {
    "GetOrder": lambda shop, order_id, ticket, who: shop.orders.GetOrder(
        pb.GetOrderRequest(order_id=order_id, ticket_id=ticket), metadata=who
    ),
    "ListOrderEvents": lambda shop, order_id, ticket, who: shop.orders.ListOrderEvents(
        pb.ListOrderEventsRequest(order_id=order_id, ticket_id=ticket), metadata=who
    ),
    "GetOrderAsOf": as_of,
    "ListOrderInvoices": lambda shop, order_id, ticket, who: shop.invoices.ListOrderInvoices(
        invoices_pb.ListOrderInvoicesRequest(order_id=order_id, ticket_id=ticket), metadata=who
    ),
    "ListOrderCreditNotes": lambda shop, order_id, ticket, who: shop.invoices.ListOrderCreditNotes(
        invoices_pb.ListOrderCreditNotesRequest(order_id=order_id, ticket_id=ticket), metadata=who
    ),
}


async def logged(shop: Shop, actor: UUID) -> list[tuple[str, str, str]]:
    """Return what the audit log has of somebody: method, outcome and resource, the oldest first."""
    async with shop.db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT method, outcome, resource FROM audit_entries WHERE actor_id = $1 ORDER BY seq", actor
        )
    return [(row["method"].rpartition(".")[2], row["outcome"], row["resource"]) for row in rows]


def refund(shop: Shop, order_id: str, minor: int | None, who: Any, *, ticket: str = "", key: str = "") -> Any:
    request = pb.CreateRefundRequest(order_id=order_id, request_id=key or str(uuid4()), ticket_id=ticket)
    if minor is not None:
        request.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=minor))
    return shop.orders.CreateRefund(request, metadata=who)


@pytest.mark.parametrize("name", READS)
async def test_support_reads_an_order_with_a_ticket_alone(shop: Shop, name: str) -> None:
    """Without one it hears the same of an order that there is not; with one the log has who read what, and why."""
    order, clerk = await captured(shop, uuid4()), uuid4()
    support, read = harness.as_user(clerk, roles=SUPPORT), READS[name]

    for order_id in (order.order_id, str(uuid4())):
        assert "TICKET_REQUIRED" == await refused(read(shop, order_id, "", support))
    assert [] == await logged(shop, clerk)
    await read(shop, order.order_id, TICKET, support)

    assert [(name, "ACCEPTED", f"orders/{order.order_id}?ticket={TICKET}")] == await logged(shop, clerk)
    assert "ORDER_NOT_FOUND" == await refused(read(shop, str(uuid4()), TICKET, support))
    assert 1 == len(await logged(shop, clerk))


@pytest.mark.parametrize("name", READS)
async def test_a_ticket_opens_nothing_to_whom_the_policies_do_not_name(shop: Shop, name: str) -> None:
    order, read = await captured(shop, uuid4()), READS[name]
    for roles in (("customer",), ("warehouse",), ("seller",), ("customer", "warehouse", "seller")):
        assert "ORDER_NOT_FOUND" == await refused(read(shop, order.order_id, TICKET, harness.as_user(roles=roles)))


@pytest.mark.parametrize("name", READS)
async def test_an_owner_needs_no_ticket_whatever_else_they_are(shop: Shop, name: str) -> None:
    """Who works at the desk orders here too, and reads that as everybody does; it leaves no row."""
    user = uuid4()
    order = await captured(shop, user)
    for roles in (("customer",), ("customer", "support")):
        await READS[name](shop, order.order_id, "", harness.as_user(user, roles=roles))
    assert [("PlaceOrder", "ACCEPTED", f"orders/{order.order_id}")] == await logged(shop, user)


async def test_what_is_personal_stays_with_the_owner(shop: Shop) -> None:
    """A ticket shows what was ordered, and neither where it goes nor to whom one writes."""
    user = uuid4()
    order = await captured(shop, user)
    request = pb.GetOrderRequest(order_id=order.order_id, ticket_id=TICKET)
    seen = (await shop.orders.GetOrder(request, metadata=harness.as_user(roles=SUPPORT))).order
    own = (await shop.orders.GetOrder(request, metadata=harness.as_user(user))).order

    assert ("", "") == (seen.contact_email, seen.shipping_address.line1)
    assert "ada@example.com" == own.contact_email
    assert list(own.lines) == list(seen.lines) and own.total == seen.total


async def test_the_page_to_pay_on_is_its_customers(shop: Shop) -> None:
    """Whoever has it could pay with their own card, or see what the provider shows of the customer's."""
    user = uuid4()
    order = await shop.place(user, card="tok_action")
    request = pb.GetOrderRequest(order_id=order.order_id, ticket_id=TICKET)
    seen = (await shop.orders.GetOrder(request, metadata=harness.as_user(roles=SUPPORT))).order
    own = (await shop.orders.GetOrder(request, metadata=harness.as_user(user))).order

    assert own.next_action.url and not seen.HasField("next_action")
    assert order_pb2.ORDER_STATUS_PENDING == seen.status == own.status


@pytest.mark.parametrize("role", ["admin", "warehouse", "importer"])
async def test_where_a_parcel_goes_is_told_in_the_call_that_sends_it_off(shop: Shop, role: str) -> None:
    """The log has that call. One that repeats it changes nothing and leaves no row, so it tells nothing either."""
    order, clerk = await captured(shop, uuid4()), uuid4()
    me, order_id = harness.as_user(clerk, roles=(role,)), order.order_id

    async def shipped(code: str = "") -> Any:
        request = pb.ShipOrderRequest(order_id=order_id, tracking_code=code)
        return (await shop.orders.ShipOrder(request, metadata=me)).order

    async def delivered() -> Any:
        return (await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order_id), metadata=me)).order

    sent_off = await shipped()
    later = [await shipped(), await shipped("T1"), await delivered(), await delivered(), await shipped()]

    assert ("ada@example.com", "1 Mill Lane") == (sent_off.contact_email, sent_off.shipping_address.line1)
    assert [("", False)] * 5 == [(each.contact_email, each.HasField("shipping_address")) for each in later]
    assert ["ShipOrder", "ShipOrder", "DeliverOrder"] == [method for method, _, _ in await logged(shop, clerk)]


@pytest.mark.parametrize("ticket", ["SUP 4711", "4711 Ada", "ada@example.com", "-1", "SUP-", "4" * 13, "S" * 13 + "-1"])
async def test_a_ticket_is_a_short_number_and_no_text(shop: Shop, ticket: str) -> None:
    """Nothing personal fits into it, nor the number of a card: it stays in the log for ever."""
    support = harness.as_user(roles=SUPPORT)
    for read in READS.values():
        assert "INVALID_INPUT" == await refused(read(shop, str(uuid4()), ticket, support))
    assert "INVALID_INPUT" == await refused(refund(shop, str(uuid4()), 1, support, ticket=ticket))


async def test_support_refunds_with_a_ticket_alone(shop: Shop) -> None:
    """The command's own row names it, once."""
    order, clerk = await captured(shop, uuid4()), uuid4()
    support = harness.as_user(clerk, roles=SUPPORT)

    for order_id in (order.order_id, str(uuid4())):
        assert "TICKET_REQUIRED" == await refused(refund(shop, order_id, 100, support))
    for _ in range(2):
        await refund(shop, order.order_id, 100, support, ticket=TICKET, key="once")

    assert [("CreateRefund", "ACCEPTED", f"orders/{order.order_id}?ticket={TICKET}")] == await logged(shop, clerk)
    assert "ORDER_NOT_FOUND" == await refused(refund(shop, str(uuid4()), 100, support, ticket=TICKET))


@pytest.mark.parametrize("role", LIMIT_MINOR)
async def test_a_role_refunds_up_to_its_limit_and_an_administrator_beyond(shop: Shop, role: str) -> None:
    """All that went back of one order counts, whoever decided it: many small refunds are one large one."""
    limit = LIMIT_MINOR[role]
    order = await captured(shop, uuid4(), lines=[("pot", 2 * limit // 1999)])
    who, admin = harness.as_user(roles=(role,)), harness.as_user(roles=("admin",))

    assert "REFUND_LIMIT_EXCEEDED" == await refused(refund(shop, order.order_id, None, who, ticket=TICKET))
    assert "REFUND_LIMIT_EXCEEDED" == await refused(refund(shop, order.order_id, limit + 1, who, ticket=TICKET))
    await refund(shop, order.order_id, 1, admin)
    assert "REFUND_LIMIT_EXCEEDED" == await refused(refund(shop, order.order_id, limit, who, ticket=TICKET))
    await refund(shop, order.order_id, limit - 1, who, ticket=TICKET)
    assert "REFUND_LIMIT_EXCEEDED" == await refused(refund(shop, order.order_id, 1, who, ticket=TICKET))
    await refund(shop, order.order_id, None, admin)

    seen = (await as_of(shop, order.order_id, "", admin)).order
    assert (order_pb2.ORDER_STATUS_REFUNDED, order.total) == (seen.status, seen.refunded)


async def test_roles_add_up(shop: Shop) -> None:
    """Who is of both has the higher limit, and needs no ticket for what one of them does without."""
    order = await captured(shop, uuid4(), lines=[("pot", 6)])
    both = harness.as_user(roles=("finance", "support"))
    await as_of(shop, order.order_id, "", both)
    await refund(shop, order.order_id, LIMIT_MINOR["support"] + 1, both)


@pytest.mark.parametrize("role", LIMIT_MINOR)
async def test_nobody_decides_on_their_own_order(shop: Shop, role: str) -> None:
    """Support and finance are its owner and no more: a part of it, or a parcel that has left, is others' to decide."""
    user = uuid4()
    order = await captured(shop, user)
    me = harness.as_user(user, roles=("customer", role))

    assert "SUPPORT_REQUIRED" == await refused(refund(shop, order.order_id, 1, me, ticket=TICKET))
    await ship(shop, order.order_id)
    assert "SUPPORT_REQUIRED" == await refused(refund(shop, order.order_id, None, me, ticket=TICKET))
    colleague = harness.as_user(roles=(role,))
    assert 1 == (await refund(shop, order.order_id, 1, colleague, ticket=TICKET)).refund.amount.minor_units


async def test_before_the_parcel_leaves_an_owner_takes_all_back_whatever_their_role(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    taken = await refund(shop, order.order_id, None, harness.as_user(user, roles=("customer", "support")))
    assert order.total == taken.refund.amount


async def test_an_order_of_later_is_not_there_with_a_ticket_either(shop: Shop) -> None:
    """What had not been placed by then is hidden from nobody: it was not there."""
    order = await captured(shop, uuid4())
    request = pb.GetOrderAsOfRequest(order_id=order.order_id, ticket_id=TICKET)
    request.as_of_time.FromJsonString(THEN)
    for roles in (SUPPORT, ("finance",)):
        asked = shop.orders.GetOrderAsOf(request, metadata=harness.as_user(roles=roles))
        assert "ORDER_NOT_FOUND" == await refused(asked)
