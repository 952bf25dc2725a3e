"""What svc_order asks of the split, over the real chain and real Postgres; the payments are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from grpc.aio import AioRpcError

from mesh.seams import failpoints
from tests import harness
from tests.harness import reason_of
from tests.svc_order.conftest import Shop, order_request
from tests.svc_order.order.test_rpc import captured, refused, ship
from tests.svc_order.world import World, until
from titan.order.v1 import order_service_pb2 as pb
from titan.type.v1 import money_pb2

CLERK = harness.as_user(roles=("admin",))
SOLD = {"tea_ltd": 250}


@pytest.fixture(autouse=True)
async def sweeping(shop: Shop, world: World) -> AsyncIterator[None]:
    """The tea is another seller's, and what breaks off is taken up again."""
    world.sellers["tea"] = "tea_ltd"
    sweeper = asyncio.create_task(shop.saga.sweep())
    yield
    sweeper.cancel()
    failpoints.reset()


async def deliver(shop: Shop, order_id: str) -> None:
    await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order_id), metadata=CLERK)


async def refund(shop: Shop, order_id: str, amount_minor: int | None = None, *lines: int) -> str:
    """Refund an amount, or lines, or all; returns the refund's id."""
    request = pb.CreateRefundRequest(order_id=order_id, request_id=str(uuid4()))
    if amount_minor is not None:
        request.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=amount_minor))
    for number in lines:
        request.lines.add(line_number=number, quantity=1)
    return (await shop.orders.CreateRefund(request, metadata=CLERK)).refund.refund_id


async def test_what_another_seller_sold_is_held_with_the_capture_and_released_on_delivery(
    shop: Shop, world: World
) -> None:
    order = await captured(shop, uuid4())
    await until(lambda: world.held.get(order.order_id) == SOLD)
    await ship(shop, order.order_id)
    assert order.order_id not in world.released
    await deliver(shop, order.order_id)
    await deliver(shop, order.order_id)
    await until(lambda: world.released.get(order.order_id) == SOLD)
    assert 1 == world.calls["release_shares"]


async def test_an_order_of_the_house_asks_nothing_of_the_split(shop: Shop, world: World) -> None:
    order = await captured(shop, uuid4(), lines=[("mug", 1)])
    await ship(shop, order.order_id)
    await deliver(shop, order.order_id)
    refund_id = await refund(shop, order.order_id, 100)
    await until(lambda: refund_id in world.refunds)
    assert {} == world.held == world.released == world.borne


async def test_a_refund_says_who_bears_it(shop: Shop, world: World) -> None:
    """Lines are borne by who sold them, and money alone by all in proportion to what is left."""
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    for amount_minor, lines, borne in ((None, (1,), 0), (300, (), 100), (None, (2,), 150), (None, (), 0)):
        refund_id = await refund(shop, order.order_id, amount_minor, *lines)
        await until(lambda refund_id=refund_id: refund_id in world.refunds)
        assert {"tea_ltd": borne} == world.borne[refund_id]


async def test_shipping_goes_back_once_and_the_house_bears_it(shop: Shop, world: World) -> None:
    """However many ask at once; what lines cost is another refund, and no refund is of both."""
    request = order_request(expected=1250 + 300)
    request.agreed_shipping.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=300))
    order = (await shop.checkout.PlaceOrder(request, metadata=harness.as_user(roles=("importer",)))).order
    await until(lambda: world.held.get(order.order_id) == SOLD)
    await ship(shop, order.order_id)

    def asked(**fields: Any) -> Any:
        wanted = pb.CreateRefundRequest(order_id=order.order_id, request_id=str(uuid4()), of_shipping=True, **fields)
        return shop.orders.CreateRefund(wanted, metadata=CLERK)

    answers = await asyncio.gather(*(asked() for _ in range(4)), return_exceptions=True)
    (given,) = [each.refund for each in answers if not isinstance(each, BaseException)]
    assert 300 == given.amount.minor_units
    assert ["REFUND_EXCEEDS_ORDER"] * 3 == [reason_of(each) for each in answers if isinstance(each, AioRpcError)]
    await until(lambda: given.refund_id in world.refunds)
    assert {"tea_ltd": 0} == world.borne[given.refund_id]
    assert "REFUND_EXCEEDS_ORDER" == await refused(asked(amount=money_pb2.Money(currency_code="GBP", minor_units=1)))
    assert "INVALID_INPUT" == await refused(asked(lines=[pb.ReturnedLine(line_number=1, quantity=1)]))
    tea = await refund(shop, order.order_id, None, 2)
    await until(lambda: tea in world.refunds)
    assert {"tea_ltd": 250} == world.borne[tea]


@pytest.mark.parametrize("point", ["saga.hold_shares.before", "saga.hold_shares.after"])
async def test_shares_are_held_wherever_the_saga_breaks_off(shop: Shop, world: World, point: str) -> None:
    """The order is not finished before."""
    failpoints.arm(point, "raise*1")
    world.fail["hold_shares"] = 1
    order = await captured(shop, uuid4())
    await until(lambda: world.held.get(order.order_id) == SOLD)

    async def finished() -> bool:
        return (await shop.row(order.order_id))["finished_at"] is not None

    await until(finished)


@pytest.mark.parametrize("point", ["saga.release_shares.before", "saga.release_shares.after"])
async def test_shares_are_released_wherever_the_delivery_breaks_off(shop: Shop, world: World, point: str) -> None:
    order = await captured(shop, uuid4())
    await ship(shop, order.order_id)
    failpoints.arm(point, "raise*1")
    world.fail["release_shares"] = 1
    await deliver(shop, order.order_id)
    await until(lambda: world.released.get(order.order_id) == SOLD)
