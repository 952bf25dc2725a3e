"""The crash matrix in one loop: at every place of svc_order a run breaks off, and the order comes to its one end.

The table is that of `tests.faults.places`, which a whole mesh is killed by; here the other packages are fakes, and a
cell takes a moment instead of seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.seams import failpoints
from tests import harness
from tests.faults.places import PLACES
from tests.svc_order.conftest import Shop
from tests.svc_order.world import STATUS, World, until
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as pb
from titan.type.v1 import money_pb2

UNITS = 2
TOTAL_MINOR = 1000
PART_MINOR = 300
CARDS = {"card": "tok_visa", "declined": "tok_declined", "waits": "tok_action", "card cancelled": "tok_visa"}
AFTER = ("cancelled", "card cancelled", "refunded", "returned", "shipped", "arrived")
"""The walks whose fault comes after the order was placed."""

CELLS = [
    (place.name, place.walk)
    for place in PLACES
    if place.package == "svc_order" and place.walk and place.name.startswith(("order.", "saga."))
]
CLERK = harness.as_user(uuid4(), roles=("admin",))


async def insist(call: Any) -> Any:
    """Ask until there is an answer: an order, or a refusal that names one."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return error
            await asyncio.sleep(0.02)


async def rests(shop: Shop, order_id: str) -> None:
    """Wait until nothing is left to do for an order."""

    async def done() -> bool:
        async with shop.db.hot_read() as connection:
            left = await connection.fetchval(
                "SELECT (SELECT count(*) FROM checkouts WHERE order_id = $1 AND finished_at IS NULL)"
                " + (SELECT count(*) FROM order_effects WHERE order_id = $1 AND finished_at IS NULL)",
                UUID(order_id),
            )
        return not left

    await until(done)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("point", "walk"), CELLS, ids=[name for name, _ in CELLS])
async def test_an_order_ends_once_wherever_a_run_breaks_off(
    shop: Shop, world: World, point: str, walk: str, times: int
) -> None:
    user, key, cart_id = uuid4(), "key", str(uuid4())
    if walk in ("sold", "arrived"):
        world.sellers["mug"] = "mugs_ltd"
    world.carts[str(user)] = (cart_id, {"mug": UNITS})
    fields = {"key": key, "lines": [("mug", UNITS)], "cart": walk == "cart", "card": CARDS.get(walk, "")}

    async def place() -> Any:
        return await shop.place(user, **fields)

    async def break_off_here() -> None:
        failpoints.arm(point, f"raise*{times}")

    if walk not in AFTER:
        await break_off_here()
    sweeping = asyncio.create_task(shop.saga.sweep())
    try:
        answer = await insist(place)
        if walk == "declined":
            assert harness.reason_of(answer) == "PAYMENT_DECLINED"
            order_id = harness.refusal_in(answer).metadata["order_id"]
        else:
            order_id = answer.order_id
        if walk == "waits":
            await until(lambda: order_id in world.asked_for_action)
            assert answer.status == order_pb2.ORDER_STATUS_PENDING
            world.asked_for_action[order_id] = True
        await rests(shop, order_id)
        if walk in AFTER:
            await break_off_here()
            own = harness.as_user(user)
            if walk in ("shipped", "returned", "arrived"):
                ship = pb.ShipOrderRequest(order_id=order_id, tracking_code="TRACK1")
                await insist(lambda: shop.orders.ShipOrder(ship, metadata=CLERK))
            if walk in ("refunded", "returned"):
                part = money_pb2.Money(currency_code="GBP", minor_units=PART_MINOR)
                refund = pb.CreateRefundRequest(order_id=order_id, amount=part, request_id=order_id)
                if walk == "returned":
                    refund.lines.add(line_number=1, quantity=1)
                    refund.restock = True
                await insist(lambda: shop.orders.CreateRefund(refund, metadata=CLERK))
            if walk == "arrived":
                deliver = pb.DeliverOrderRequest(order_id=order_id)
                await insist(lambda: shop.orders.DeliverOrder(deliver, metadata=CLERK))
            if "cancelled" in walk:
                cancel = pb.CancelOrderRequest(order_id=order_id)
                await insist(lambda: shop.orders.CancelOrder(cancel, metadata=own))
            await rests(shop, order_id)
    finally:
        sweeping.cancel()
    await until(lambda: failpoints.armed[point].left < times)  # somebody came by

    gone = walk in ("cancelled", "card cancelled", "declined")
    left = {"shipped": "SHIPPED", "returned": "SHIPPED", "arrived": "DELIVERED"}
    status = "CANCELLED" if gone else left.get(walk, "CONFIRMED")
    row = await shop.row(order_id)
    assert (row["status"], row["total_minor"]) == (status, TOTAL_MINOR)
    assert world.stock["mug"] == (1000 if gone else 1000 - UNITS + (walk == "returned"))
    assert world.captures[order_id] == (0 if walk == "declined" else 1)
    back = {"cancelled": "REFUNDED", "card cancelled": "REFUNDED"}
    back |= dict.fromkeys(("refunded", "returned"), "PARTIALLY_REFUNDED")
    paid = "VOIDED" if walk == "declined" else back.get(walk, "CAPTURED")
    assert world.payments[order_id] == STATUS.Value(f"PAYMENT_STATUS_{paid}")
    assert len(world.refunds) == (walk in back)
    share = {"mugs_ltd": TOTAL_MINOR}
    assert world.held.get(order_id) == (share if walk in ("sold", "arrived") else None)
    assert world.released.get(order_id) == (share if walk == "arrived" else None)
    assert (cart_id in world.closed) == (walk == "cart")
    listed = await shop.orders.ListOrders(pb.ListOrdersRequest(), metadata=harness.as_user(user))
    assert [each.order_id for each in listed.orders] == [order_id]
    again = await insist(place)
    if walk == "declined":
        assert again.details() == answer.details()
    elif walk != "waits":
        assert again.SerializeToString(deterministic=True) == answer.SerializeToString(deterministic=True)
