"""OrderService through the real chain, on real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh import pages, projections
from mesh.seams import failpoints
from svc_order.order.projection import ORDERS
from svc_order.order.rpc import WATCHES_PER_USER
from tests import harness
from tests.svc_order.conftest import Shop, order_request
from tests.svc_order.world import STATUS, World, until
from titan.order.v1 import events_pb2, order_pb2
from titan.order.v1 import order_service_pb2 as pb
from titan.type.v1 import money_pb2

CLERK = harness.as_user(roles=("warehouse",))
GBP = "GBP"


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return harness.reason_of(refusal.value)


async def captured(shop: Shop, user: UUID, **fields: Any) -> order_pb2.Order:
    order = await shop.place(user, **fields)
    await until(lambda: shop.world.payments.get(order.order_id) == STATUS.PAYMENT_STATUS_CAPTURED)
    return order


async def read(shop: Shop, order_id: str, user: UUID) -> order_pb2.Order:
    request = pb.GetOrderRequest(order_id=order_id)
    return (await shop.orders.GetOrder(request, metadata=harness.as_user(user))).order


async def settled(shop: Shop, order_id: str, user: UUID) -> None:
    async def is_settled() -> bool:
        return (await read(shop, order_id, user)).payment_status == STATUS.PAYMENT_STATUS_PARTIALLY_REFUNDED

    await until(is_settled)


async def journal(shop: Shop, order_id: str, user: UUID) -> list[order_pb2.OrderEvent]:
    request = pb.ListOrderEventsRequest(order_id=order_id)
    return list((await shop.orders.ListOrderEvents(request, metadata=harness.as_user(user))).events)


async def published(shop: Shop, order_id: str) -> list[tuple[int, str, bytes]]:
    async with shop.db.hot_read() as connection:
        rows = await connection.fetch(
            "SELECT version, type, payload FROM outbox WHERE aggregate_id = $1 ORDER BY version", order_id
        )
    return [(row["version"], row["type"].rpartition(".")[2], row["payload"]) for row in rows]


async def undone(shop: Shop, order_id: str) -> None:
    """Wait until nothing of an order is to be done."""

    async def nothing_is_due() -> bool:
        return (await shop.reads.mark(UUID(order_id))).final

    await until(nothing_is_due)


async def rebuilt(shop: Shop) -> None:
    """Drop every order and make it again from its journal; all of them were what it says."""
    connection = await shop.db.connect_alone("rebuild")
    try:
        outcome = await projections.rebuild(connection, ORDERS)
    finally:
        await connection.close()
    assert outcome.same, outcome.differences


SUPPORT = ("support",)
TICKET = "SUP-4711"
READ_ROLES = ("admin", "finance", "importer", "support")
"""Who may read any order's past, support under a ticket."""


def cancel(shop: Shop, order_id: str, user: UUID, reason: str = "") -> Any:
    request = pb.CancelOrderRequest(order_id=order_id, reason=reason)
    return shop.orders.CancelOrder(request, metadata=harness.as_user(user))


def refund(shop: Shop, order_id: str, user: UUID, minor: int | None = None, *, key: str = "", roles: Any = None) -> Any:
    """Refund an order as its owner; with roles, as somebody else who has them, always the same one for an owner."""
    request = pb.CreateRefundRequest(order_id=order_id, request_id=key or str(uuid4()))
    if minor is not None:
        request.amount.CopyFrom(money_pb2.Money(currency_code=GBP, minor_units=minor))
    if roles == SUPPORT:
        request.ticket_id = TICKET
    who = user if roles is None else UUID(int=user.int ^ 1)
    return shop.orders.CreateRefund(request, metadata=harness.as_user(who, roles=roles))


async def test_an_owner_reads_an_order_and_nobody_else(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    assert (await read(shop, order.order_id, user)).total == order.total
    assert await refused(read(shop, order.order_id, uuid4())) == "ORDER_NOT_FOUND"
    assert await refused(read(shop, str(uuid4()), user)) == "ORDER_NOT_FOUND"


async def test_orders_are_listed_newest_first_in_pages(shop: Shop) -> None:
    user = uuid4()
    placed = [(await shop.place(user)).order_id for _ in range(5)]
    seen: list[str] = []
    token = ""
    for _ in range(3):
        request = pb.ListOrdersRequest(page_size=2, page_token=token)
        page = await shop.orders.ListOrders(request, metadata=harness.as_user(user))
        seen += [order.order_id for order in page.orders]
        token = page.next_page_token
    assert seen == placed[::-1]
    assert token == ""


async def test_a_page_token_of_somebody_else_is_refused(shop: Shop) -> None:
    user = uuid4()
    for _ in range(2):
        await shop.place(user)
    page = await shop.orders.ListOrders(pb.ListOrdersRequest(page_size=1), metadata=harness.as_user(user))
    stolen = pb.ListOrdersRequest(page_size=1, page_token=page.next_page_token)
    assert await refused(shop.orders.ListOrders(stolen, metadata=harness.as_user())) == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("position", [["no-uuid"], [5], [None], []])
async def test_a_page_token_that_nobody_gave_is_refused(shop: Shop, position: list[Any]) -> None:
    user = uuid4()
    request = pb.ListOrdersRequest(page_token=pages.encode("OrderService.ListOrders", position, user))
    assert await refused(shop.orders.ListOrders(request, metadata=harness.as_user(user))) == "PAGE_TOKEN_INVALID"


async def test_a_user_watches_a_few_orders_at_a_time(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    request, who = pb.WatchOrderRequest(order_id=order.order_id), harness.as_user(user)
    streams = [shop.orders.WatchOrder(request, metadata=who) for _ in range(WATCHES_PER_USER)]
    for stream in streams:
        await stream.read()
    assert await refused(shop.orders.WatchOrder(request, metadata=who).read()) == "OVERLOADED"
    for stream in streams:
        stream.cancel()


async def test_events_tell_what_happened_to_their_owner_alone(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    await cancel(shop, order.order_id, user, "changed my mind")
    await undone(shop, order.order_id)
    request = pb.ListOrderEventsRequest(order_id=order.order_id)
    events = await journal(shop, order.order_id, user)
    assert [event.type for event in events][:3] == ["OrderPlaced", "OrderConfirmed", "OrderCancelled"]
    assert [event.version for event in events][:3] == [1, 2, 3]
    assert events[2].reason == events[2].details["reason"] == "CUSTOMER"
    assert await refused(shop.orders.ListOrderEvents(request, metadata=harness.as_user())) == "ORDER_NOT_FOUND"


async def test_events_show_amounts_as_money_and_words_in_fields_of_their_own(shop: Shop) -> None:
    """The pairs of `details` are data, so JSON can neither write their keys as names nor their amounts as money."""
    user = uuid4()
    order = await captured(shop, user)
    back = (await refund(shop, order.order_id, user, 400, roles=SUPPORT)).refund
    await shop.orders.ShipOrder(pb.ShipOrderRequest(order_id=order.order_id, tracking_code="T1"), metadata=CLERK)
    placed, _, refunded, shipped = await journal(shop, order.order_id, user)
    assert placed.total == order.total and not placed.HasField("amount")
    assert (refunded.refund_id, refunded.amount) == (back.refund_id, back.amount)
    assert shipped.tracking_code == "T1" and not shipped.HasField("total")
    assert dict(placed.details) == {"currency": GBP, "total_minor": "1250"}


async def test_a_public_event_never_carries_what_a_customer_wrote(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    await cancel(shop, order.order_id, user, "call me at 01632 960000")
    async with shop.db.hot_read() as connection:
        payloads = await connection.fetch("SELECT payload FROM outbox WHERE aggregate_id = $1", order.order_id)
    assert len(payloads) >= 3
    assert all(b"01632" not in row["payload"] for row in payloads)


async def test_a_watcher_sees_each_change_until_the_end(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    stream = shop.orders.WatchOrder(pb.WatchOrderRequest(order_id=order.order_id), metadata=harness.as_user(user))
    seen = []
    async for message in stream:
        if not seen:
            await cancel(shop, order.order_id, user)
        seen.append(message.order)
    assert seen[0].status == order_pb2.ORDER_STATUS_CONFIRMED
    assert seen[-1].status == order_pb2.ORDER_STATUS_CANCELLED
    assert (seen[-1].payment_status, seen[-1].refunded) == (STATUS.PAYMENT_STATUS_REFUNDED, order.total)


async def test_a_stranger_watches_nothing(shop: Shop) -> None:
    order = await shop.place()
    stream = shop.orders.WatchOrder(pb.WatchOrderRequest(order_id=order.order_id), metadata=harness.as_user())
    assert await refused(stream.read()) == "ORDER_NOT_FOUND"


async def test_a_cancelled_order_gives_money_and_stock_back(shop: Shop, world: World) -> None:
    """Money that was taken is refunded, and cancelling twice is safe."""
    user = uuid4()
    order = await captured(shop, user)
    first = await cancel(shop, order.order_id, user)
    second = await cancel(shop, order.order_id, user)
    assert first.order.status == second.order.status == order_pb2.ORDER_STATUS_CANCELLED
    await until(lambda: world.payments[order.order_id] == STATUS.PAYMENT_STATUS_REFUNDED)
    assert world.stock["mug"] == 1000
    assert len(world.refunds) == 1


async def test_a_cancelled_order_shows_what_went_back(shop: Shop, world: World) -> None:
    """In the order, in its journal and in the public events; it stays CANCELLED, also when it is built again."""
    user = uuid4()
    order = await captured(shop, user)
    await cancel(shop, order.order_id, user)
    await undone(shop, order.order_id)
    after = await read(shop, order.order_id, user)
    assert (after.status, after.version) == (order_pb2.ORDER_STATUS_CANCELLED, 4)
    assert (after.payment_status, after.refunded) == (STATUS.PAYMENT_STATUS_REFUNDED, order.total)
    last = (await journal(shop, order.order_id, user))[-1]
    assert (last.type, last.status, last.amount) == ("OrderRefunded", order_pb2.ORDER_STATUS_CANCELLED, order.total)
    version, kind, payload = (await published(shop, order.order_id))[-1]
    event = events_pb2.OrderRefunded.FromString(payload)
    assert (version, kind, event.amount, event.full) == (4, "OrderRefunded", order.total, True)
    assert [event.refund_id] == list(world.refunds)
    await rebuilt(shop)
    assert await read(shop, order.order_id, user) == after
    assert (await cancel(shop, order.order_id, user)).order == after


async def test_a_cancel_before_the_capture_sends_nothing_back(shop: Shop, world: World) -> None:
    """Money that was only held is let go: no refund, and no event of one."""
    world.fail["capture"] = 1000
    user = uuid4()
    order = await shop.place(user)
    await cancel(shop, order.order_id, user)
    await until(lambda: world.payments[order.order_id] == STATUS.PAYMENT_STATUS_VOIDED)
    world.fail["capture"] = 0
    sweeping = asyncio.create_task(shop.saga.sweep())
    await undone(shop, order.order_id)
    sweeping.cancel()
    after = await read(shop, order.order_id, user)
    assert (after.payment_status, after.refunded.minor_units) == (STATUS.PAYMENT_STATUS_VOIDED, 0)
    assert [kind for _, kind, _ in await published(shop, order.order_id)][2:] == ["OrderCancelled"]


CRASHES = [f"saga.{step}.{moment}" for step in ("release", "void", "refund") for moment in ("before", "after")]


@pytest.mark.parametrize("point", [*CRASHES, "saga.effect.before_finish", "saga.effect.after_finish"])
async def test_a_cancelled_order_shows_its_refund_once_wherever_a_process_dies(
    start: Any, world: World, point: str
) -> None:
    """Two sweepers take over where the first one broke off; a lease that is short lets both work at once."""
    one, two = await start(lease_seconds=0.05), await start(lease_seconds=0.05)
    user = uuid4()
    order = await captured(one, user)
    failpoints.arm(point, "raise*1")
    await cancel(one, order.order_id, user)
    sweeping = [asyncio.create_task(shop.saga.sweep()) for shop in (one, two)]
    await undone(two, order.order_id)
    for each in sweeping:
        each.cancel()
    after = await read(two, order.order_id, user)
    assert (after.payment_status, after.refunded) == (STATUS.PAYMENT_STATUS_REFUNDED, order.total)
    assert [kind for _, kind, _ in await published(two, order.order_id)][2:] == ["OrderCancelled", "OrderRefunded"]


async def test_an_undo_that_runs_twice_at_once_shows_its_refund_once(start: Any, world: World) -> None:
    """A lease is no lock: the order row decides which of two runs tells of the refund."""
    one, two = await start(lease_seconds=0.05), await start(lease_seconds=0.05)
    user = uuid4()
    order = await captured(one, user)
    failpoints.arm("saga.effect.before_finish", "sleep:300*2")
    await cancel(one, order.order_id, user)
    sweeping = asyncio.create_task(two.saga.sweep())
    await until(lambda: world.calls["refund"] == 2)
    await undone(two, order.order_id)
    sweeping.cancel()
    await until(lambda: not one.effects.running and not two.effects.running)
    assert [kind for _, kind, _ in await published(two, order.order_id)][2:] == ["OrderCancelled", "OrderRefunded"]
    assert (await read(two, order.order_id, user)).refunded == order.total


async def test_somebody_elses_order_is_not_cancelled(shop: Shop) -> None:
    order = await shop.place()
    assert await refused(cancel(shop, order.order_id, uuid4())) == "ORDER_NOT_FOUND"


async def test_a_stranger_who_gives_a_reason_leaves_nothing_behind(shop: Shop) -> None:
    """No key to seal it with either: refused calls would fill the table of keys."""
    order, stranger = await shop.place(), uuid4()
    assert await refused(cancel(shop, order.order_id, stranger, "mine")) == "ORDER_NOT_FOUND"
    async with shop.db.hot_read() as connection:
        assert 0 == await connection.fetchval("SELECT count(*) FROM user_keys WHERE user_id = $1", stranger)


async def test_an_order_ships_once_arrives_once_and_is_then_not_cancellable(shop: Shop, world: World) -> None:
    user = uuid4()
    order = await captured(shop, user)
    ship = pb.ShipOrderRequest(order_id=order.order_id, tracking_code="TRACK1")
    deliver = pb.DeliverOrderRequest(order_id=order.order_id)
    assert await refused(shop.orders.DeliverOrder(deliver, metadata=CLERK)) == "ORDER_NOT_DELIVERABLE"
    shipped = [(await shop.orders.ShipOrder(ship, metadata=CLERK)).order for _ in range(2)]
    assert [o.version for o in shipped] == [3, 3]
    assert shipped[0].tracking_code == "TRACK1"
    await until(lambda: order.order_id in world.shipped)
    delivered = [(await shop.orders.DeliverOrder(deliver, metadata=CLERK)).order for _ in range(2)]
    assert [o.version for o in delivered] == [4, 4]
    assert await refused(cancel(shop, order.order_id, user)) == "ORDER_NOT_CANCELLABLE"


def ship(shop: Shop, order_id: str, code: str = "") -> Any:
    return shop.orders.ShipOrder(pb.ShipOrderRequest(order_id=order_id, tracking_code=code), metadata=CLERK)


async def test_a_parcel_shipped_again_under_another_code_is_refused(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id, "T1")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ship(shop, order.order_id, "T2")
    assert harness.reason_of(refusal.value) == "TRACKING_CODE_CONFLICT"
    assert harness.refusal_in(refusal.value).metadata["tracking_code"] == "T1"
    assert (await ship(shop, order.order_id)).order.version == 3


async def test_a_tracking_code_that_comes_later_is_added_once(shop: Shop, world: World) -> None:
    """Journaled and told; the goods leave the warehouse once."""
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    tracked = [(await ship(shop, order.order_id, "T1")).order for _ in range(2)]
    assert [(o.tracking_code, o.version) for o in tracked] == [("T1", 4), ("T1", 4)]
    last = (await journal(shop, order.order_id, user))[-1]
    assert (last.type, last.status, last.tracking_code) == ("OrderTracked", order_pb2.ORDER_STATUS_SHIPPED, "T1")
    _, kind, payload = (await published(shop, order.order_id))[-1]
    assert (kind, events_pb2.OrderTracked.FromString(payload).tracking_code) == ("OrderTracked", "T1")
    async with shop.db.hot_read() as connection:
        effects = await connection.fetch("SELECT kind FROM order_effects WHERE order_id = $1", UUID(order.order_id))
    assert [row["kind"] for row in effects] == ["SHIP"]


async def test_only_the_warehouse_ships(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    ship = pb.ShipOrderRequest(order_id=order.order_id)
    assert await refused(shop.orders.ShipOrder(ship, metadata=harness.as_user(user))) == "ACCESS_DENIED"
    assert (
        await refused(
            shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order.order_id), metadata=harness.as_user(user))
        )
        == "ACCESS_DENIED"
    )
    unknown = pb.ShipOrderRequest(order_id=str(uuid4()))
    assert await refused(shop.orders.ShipOrder(unknown, metadata=CLERK)) == "ORDER_NOT_FOUND"
    nothing = pb.DeliverOrderRequest(order_id=str(uuid4()))
    assert await refused(shop.orders.DeliverOrder(nothing, metadata=CLERK)) == "ORDER_NOT_FOUND"


async def test_a_cancelled_order_does_not_ship(shop: Shop) -> None:
    user = uuid4()
    order = await shop.place(user)
    await cancel(shop, order.order_id, user)
    ship = pb.ShipOrderRequest(order_id=order.order_id)
    assert await refused(shop.orders.ShipOrder(ship, metadata=CLERK)) == "ORDER_NOT_SHIPPABLE"


async def test_a_refund_without_a_key_is_refused(shop: Shop, world: World) -> None:
    user = uuid4()
    order = await captured(shop, user)
    request = pb.CreateRefundRequest(order_id=order.order_id)
    call = shop.orders.CreateRefund(request, metadata=harness.as_user(user))
    assert await refused(call) == "IDEMPOTENCY_KEY_REQUIRED"
    assert not world.refunds


async def test_a_refund_is_decided_once_per_key_and_the_money_follows(shop: Shop, world: World) -> None:
    user = uuid4()
    order = await captured(shop, user)
    first = await refund(shop, order.order_id, user, 400, key="back", roles=SUPPORT)
    again = await refund(shop, order.order_id, user, 400, key="back", roles=SUPPORT)
    assert first == again
    assert await refused(refund(shop, order.order_id, user, 401, key="back", roles=SUPPORT)) == "IDEMPOTENCY_KEY_REUSED"
    await until(lambda: first.refund.refund_id in world.refunds)
    assert (await read(shop, order.order_id, user)).refunded.minor_units == 400
    assert await refused(refund(shop, order.order_id, user, 851)) == "REFUND_EXCEEDS_ORDER"
    assert await refused(refund(shop, order.order_id, user, 0)) == "REFUND_AMOUNT_INVALID"
    assert await refused(refund(shop, order.order_id, user, 1, key=" ")) == "INVALID_INPUT"


async def test_a_refund_without_an_amount_ends_the_order(shop: Shop, world: World) -> None:
    user = uuid4()
    order = await captured(shop, user)
    await refund(shop, order.order_id, user)
    assert (await read(shop, order.order_id, user)).status == order_pb2.ORDER_STATUS_REFUNDED
    await until(lambda: world.stock["mug"] == 1000)
    assert await refused(refund(shop, order.order_id, user)) == "ORDER_NOT_REFUNDABLE"


async def test_a_refund_before_the_capture_waits_for_it(shop: Shop, world: World) -> None:
    world.fail["capture"] = 8
    user = uuid4()
    order = await shop.place(user)
    await refund(shop, order.order_id, user, 100, roles=SUPPORT)
    sweeping = asyncio.create_task(shop.saga.sweep())
    await until(lambda: len(world.refunds) == 1, seconds=8)
    sweeping.cancel()
    assert world.captures[order.order_id] == 1


async def test_finance_refunds_any_order_and_a_stranger_none(shop: Shop) -> None:
    order = await captured(shop, uuid4())
    assert await refused(refund(shop, order.order_id, uuid4(), 1)) == "ORDER_NOT_FOUND"
    assert (await refund(shop, order.order_id, uuid4(), 1, roles=("finance",))).refund.amount.minor_units == 1


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("minor", [1, None])
async def test_once_the_parcel_has_left_its_buyer_needs_the_shop_for_a_refund(
    shop: Shop, world: World, delivered: bool, minor: int | None
) -> None:
    """Goods and money are not both the buyer's to take; a key that was answered before keeps its answer."""
    user = uuid4()
    order = await captured(shop, user)
    early = await refund(shop, order.order_id, user, 100, key="early", roles=SUPPORT)
    await ship(shop, order.order_id)
    if delivered:
        await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order.order_id), metadata=CLERK)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await refund(shop, order.order_id, user, minor)
    assert harness.reason_of(refusal.value) == "SUPPORT_REQUIRED"
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "our support decides" in (refusal.value.details() or "")
    assert await refund(shop, order.order_id, user, 100, key="early", roles=SUPPORT) == early
    assert (await read(shop, order.order_id, user)).refunded.minor_units == 100
    assert await refused(refund(shop, order.order_id, uuid4(), minor)) == "ORDER_NOT_FOUND"
    for role in ("admin", "finance", "importer", "support"):
        assert (await refund(shop, order.order_id, uuid4(), 1, roles=(role,))).refund.amount.minor_units == 1


def give_back(
    shop: Shop, order_id: str, units: list[tuple[int, int]], *, restock: bool = True, minor: int = 0, key: str = ""
) -> Any:
    request = pb.CreateRefundRequest(
        order_id=order_id, request_id=key or str(uuid4()), restock=restock, ticket_id=TICKET
    )
    request.lines.extend(pb.ReturnedLine(line_number=number, quantity=count) for number, count in units)
    if minor:
        request.amount.CopyFrom(money_pb2.Money(currency_code=GBP, minor_units=minor))
    return shop.orders.CreateRefund(request, metadata=harness.as_user(uuid4(), roles=("support",)))


async def test_units_that_come_back_are_refunded_and_restocked_once(shop: Shop, world: World) -> None:
    """The order shows how many; a repeated call moves nothing; a rebuilt row is the same."""
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    await until(lambda: order.order_id in world.shipped)
    support = harness.as_user(uuid4(), roles=("support",))
    request = pb.CreateRefundRequest(order_id=order.order_id, request_id="back", restock=True, ticket_id=TICKET)
    request.lines.add(line_number=1, quantity=1)
    first, again = [(await shop.orders.CreateRefund(request, metadata=support)).refund for _ in range(2)]
    assert first == again and 500 == first.amount.minor_units
    await until(lambda: list(world.restocked.items()) == [(first.refund_id, {1: 1})])
    assert 999 == world.stock["mug"]
    await settled(shop, order.order_id, user)
    before = await read(shop, order.order_id, user)
    assert ([1, 0], 500) == ([line.returned_quantity for line in before.lines], before.refunded.minor_units)
    await rebuilt(shop)
    assert before == await read(shop, order.order_id, user)


async def test_the_journal_and_the_public_event_tell_which_units_came_back(shop: Shop, world: World) -> None:
    """Who keeps books of their own learns from them what is on the shelf again."""
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    await give_back(shop, order.order_id, [(2, 1), (1, 2)])
    back = [order_pb2.ReturnedUnits(line_number=number, quantity=count) for number, count in ((1, 2), (2, 1))]
    *earlier, refunded = await journal(shop, order.order_id, user)
    assert back == list(refunded.returned) and not any(entry.returned for entry in earlier)
    (*_, (_, kind, payload)) = await published(shop, order.order_id)
    event = events_pb2.OrderRefunded.FromString(payload)
    assert ("OrderRefunded", back) == (kind, list(event.returned))
    assert event.effective_time == refunded.effective_time


THEN = "2011-02-01T08:00:00Z"


def dated(order_id: str, time: str) -> dict[str, Any]:
    """The calls that may say when they count, for a parcel at the step before."""
    amount = money_pb2.Money(currency_code=GBP, minor_units=1)
    asked = {
        "ShipOrder": pb.ShipOrderRequest(order_id=order_id),
        "DeliverOrder": pb.DeliverOrderRequest(order_id=order_id),
        "CreateRefund": pb.CreateRefundRequest(order_id=order_id, amount=amount, request_id=str(uuid4())),
    }
    for request in asked.values():
        request.effective_time.FromJsonString(time)
    return asked


async def imported(shop: Shop, user: UUID, at: str = "2011-01-01T08:00:00Z") -> str:
    request = order_request()
    request.effective_time.FromJsonString(at)
    order = (await shop.checkout.PlaceOrder(request, metadata=harness.as_user(user, roles=("importer",)))).order
    await until(lambda: shop.world.payments.get(order.order_id) == STATUS.PAYMENT_STATUS_CAPTURED)
    return str(order.order_id)


async def test_an_importer_says_when_a_parcel_left_arrived_and_came_back(shop: Shop) -> None:
    """Nobody else may; not in the future, and not before the order."""
    user, importer = uuid4(), harness.as_user(roles=("importer",))
    order_id = await imported(shop, user)
    for method, request in dated(order_id, THEN).items():
        call = getattr(shop.orders, method)
        assert "IMPORTER_REQUIRED" == await refused(call(request, metadata=harness.as_user(roles=("admin",))))
        for wrong in ("2999-01-01T00:00:00Z", "2011-01-01T07:59:59Z"):
            other = dated(order_id, wrong)[method]
            assert "INVALID_INPUT" == await refused(call(other, metadata=importer))
        await call(request, metadata=importer)
    entries = await journal(shop, order_id, user)
    assert [THEN] * 3 == [entry.effective_time.ToJsonString() for entry in entries[2:]]
    assert ["OrderShipped", "OrderDelivered", "OrderRefunded"] == [entry.type for entry in entries[2:]]
    assert all(entry.record_time.ToJsonString() > "2026" for entry in entries)


async def test_what_an_imported_order_was_charged_is_told_once_on_a_topic_of_its_own(shop: Shop) -> None:
    """Prices of its time, for whoever keeps their history; a shopper's order is at the catalogue's own."""
    request = order_request(lines=[("mug", 2), ("tea", 1), ("mug", 1)], expected=2 * 321 + 250 + 654)
    for line, minor in ((request.lines[0], 321), (request.lines[2], 654)):
        line.agreed_price.CopyFrom(money_pb2.Money(currency_code=GBP, minor_units=minor))
    request.effective_time.FromJsonString(THEN)
    importer = harness.as_user(uuid4(), roles=("importer",))
    order = (await shop.checkout.PlaceOrder(request, metadata=importer)).order
    plain = await shop.place()
    query = "SELECT topic, version, type, payload FROM outbox WHERE aggregate_id = $1 AND topic <> 'titan.order.v1'"
    async with shop.db.hot_read() as connection:
        (row,) = await connection.fetch(query, order.order_id)
        assert not await connection.fetch(query, plain.order_id)
    assert ("titan.order.prices.v1", 1, "titan.order.v1.OrderPricesCharged") == tuple(row)[:3]
    charged = events_pb2.OrderPricesCharged.FromString(row["payload"])
    assert (order.order_id, THEN) == (charged.order_id, charged.effective_time.ToJsonString())
    assert {"mug": 654, "tea": 250} == {each.sku: each.price.minor_units for each in charged.prices}


def past(shop: Shop, order_id: str, at: str, who: Any, timeline: Any = order_pb2.TIMELINE_UNSPECIFIED) -> Any:
    request = pb.GetOrderAsOfRequest(order_id=order_id, timeline=timeline, ticket_id=TICKET)
    request.as_of_time.FromJsonString(at)
    return shop.orders.GetOrderAsOf(request, metadata=who)


async def test_an_order_is_read_as_it_stood_at_any_time(shop: Shop) -> None:
    """By when things count, or by what had been recorded; the journal's part of it alone."""
    user, importer = uuid4(), harness.as_user(roles=("importer",))
    owner, order_id = harness.as_user(user), await imported(shop, user)
    await shop.orders.ShipOrder(dated(order_id, THEN)["ShipOrder"], metadata=importer)
    at_first = (await past(shop, order_id, "2011-01-31T00:00:00Z", owner)).order
    assert (order_pb2.ORDER_STATUS_CONFIRMED, 2, 0) == (at_first.status, at_first.version, at_first.payment_status)
    assert "ada@example.com" == at_first.contact_email
    assert order_pb2.ORDER_STATUS_SHIPPED == (await past(shop, order_id, THEN, owner)).order.status
    known = order_pb2.TIMELINE_RECORDED
    assert "ORDER_NOT_FOUND" == await refused(past(shop, order_id, THEN, owner, known))
    assert (
        order_pb2.ORDER_STATUS_SHIPPED
        == (await past(shop, order_id, "2999-01-01T00:00:00Z", owner, known)).order.status
    )
    assert "ORDER_NOT_FOUND" == await refused(past(shop, order_id, "2010-12-31T00:00:00Z", owner))


async def test_the_past_of_an_order_is_its_owners_and_the_shops(shop: Shop) -> None:
    """Who keeps the books needs no address."""
    order_id = await imported(shop, uuid4())
    assert "ORDER_NOT_FOUND" == await refused(past(shop, order_id, THEN, harness.as_user()))
    for role in READ_ROLES:
        seen = (await past(shop, order_id, THEN, harness.as_user(roles=(role,)))).order
        assert (order_id, "", "") == (seen.order_id, seen.contact_email, seen.shipping_address.line1)
    missing = pb.GetOrderAsOfRequest(order_id=order_id)
    assert "INVALID_INPUT" == await refused(shop.orders.GetOrderAsOf(missing, metadata=harness.as_user()))


async def test_units_wait_for_the_warehouse_to_hear_that_they_left(start: Any, world: World) -> None:
    """A parcel may be back before its shipment is noted; then the restock is asked for again."""
    shop = await start(lease_seconds=0.05)
    world.fail["ship"] = 2
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    await give_back(shop, order.order_id, [(1, 2)])
    sweeping = asyncio.create_task(shop.saga.sweep())
    await until(lambda: bool(world.restocked))
    sweeping.cancel()
    assert 1000 == world.stock["mug"]


async def test_units_that_stay_away_are_refunded_and_not_restocked(shop: Shop, world: World) -> None:
    """What came back broken goes on no shelf."""
    user = uuid4()
    order = await captured(shop, user)
    await ship(shop, order.order_id)
    await give_back(shop, order.order_id, [(2, 1)], restock=False, minor=200)
    await settled(shop, order.order_id, user)
    assert 0 == world.calls["restock"]
    assert [0, 1] == [line.returned_quantity for line in (await read(shop, order.order_id, user)).lines]


async def test_what_can_not_come_back_is_refused(shop: Shop) -> None:
    """Before the parcel leaves, more than was bought, a line twice, and a restock of nothing."""
    order = await captured(shop, uuid4())
    assert "ORDER_NOT_RETURNABLE" == await refused(give_back(shop, order.order_id, [(1, 1)]))
    await ship(shop, order.order_id)
    assert "RETURN_EXCEEDS_LINE" == await refused(give_back(shop, order.order_id, [(1, 3)]))
    for units in ([(1, 1), (1, 1)], [], [(0, 1)], [(1, 0)]):
        assert "INVALID_INPUT" == await refused(give_back(shop, order.order_id, units, minor=1))


async def test_concurrent_refunds_never_exceed_the_order(shop: Shop) -> None:
    user = uuid4()
    order = await captured(shop, user)
    outcomes = await asyncio.gather(
        *(refund(shop, order.order_id, user, 500, roles=SUPPORT) for _ in range(6)), return_exceptions=True
    )
    assert sum(not isinstance(o, BaseException) for o in outcomes) == 2


async def test_receipts_are_for_packages(shop: Shop) -> None:
    order = await shop.place()
    request = pb.BatchGetReceiptsRequest(order_ids=[str(uuid4()), order.order_id])
    receipts = (await shop.orders.BatchGetReceipts(request, metadata=harness.as_service("svc_notify"))).receipts
    assert [r.HasField("order") for r in receipts] == [False, True]
    assert receipts[1].order.contact_email == "ada@example.com"
    assert await refused(shop.orders.BatchGetReceipts(request, metadata=harness.as_user())) == "ACCESS_DENIED"


async def test_a_user_whose_key_does_not_open_stops_nobody_else(start: Any) -> None:
    """It is answered without what can't be opened: its neighbours' letters wait for the same call. Nor does its owner
    stop an order that is recorded beside theirs."""
    user, other = uuid4(), uuid4()
    shop = await start()
    broken, order = await captured(shop, user), await captured(shop, other)
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense' WHERE user_id = $1", user)
    fresh = await start()  # it has nobody's key at hand

    placed = await asyncio.gather(*(fresh.place(who) for who in (user, other)), return_exceptions=True)
    assert [True, False] == [isinstance(each, grpc.aio.AioRpcError) for each in placed]
    request = pb.BatchGetReceiptsRequest(order_ids=[broken.order_id, order.order_id])
    receipts = (await fresh.orders.BatchGetReceipts(request, metadata=harness.as_service("svc_notify"))).receipts

    assert ["", "ada@example.com"] == [receipt.order.contact_email for receipt in receipts]
    assert [broken.total, order.total] == [receipt.order.total for receipt in receipts]


async def test_receipts_that_have_no_room_in_an_answer_are_named(shop: Shop) -> None:
    """Orders of a thousand lines with long titles are more than a message may have; asked again, all of them come."""
    ids = [(await shop.place()).order_id for _ in range(4)]
    async with shop.db.hot() as tx:
        await tx.execute(
            """
            UPDATE orders SET lines = (
                SELECT jsonb_agg(jsonb_set(jsonb_set(lines -> 0, '{0}', to_jsonb(number)), '{3}', $2))
                FROM generate_series(1, 1000) AS number
            )
            WHERE order_id = ANY($1::uuid[])
            """,
            ids,
            "t" * 800,
        )
    asked, found = ids, []
    while asked:
        request = pb.BatchGetReceiptsRequest(order_ids=asked)
        answer = await shop.orders.BatchGetReceipts(request, metadata=harness.as_service("svc_notify"))
        found.append([receipt.order.order_id for receipt in answer.receipts])
        asked = answer.remaining_order_ids
    assert [ids[:2], ids[2:]] == found


async def test_the_journal_is_append_only(shop: Shop) -> None:
    order = await shop.place()
    for statement in ("UPDATE order_events SET type = 'x'", "DELETE FROM order_events", "TRUNCATE order_events"):
        with pytest.raises(Exception, match="append-only"):
            async with shop.db.hot() as tx:
                await tx.execute(statement)
    assert (await shop.row(order.order_id))["version"] == 2
