"""One order's path, its crashes, its races; on real Postgres, with the other packages as fakes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh.refusals import Refusal
from mesh.seams import failpoints
from svc_order.checkout.convoy import AT_ONCE_ORDERS
from svc_order.checkout.waiting import LOOK_SECONDS
from tests import harness
from tests.svc_order.conftest import Shop, order_request
from tests.svc_order.world import (
    STATUS,
    CurrencyNotSupported,
    InsufficientFunds,
    ProviderUnknown,
    World,
    until,
)
from titan.order.v1 import checkout_service_pb2, order_pb2, order_service_pb2
from titan.type.v1 import money_pb2

STEPS = ("reserve", "authorize", "decide", "close", "capture", "finish")
UNDO_STEPS = ("reserve", "authorize", "decide", "release", "void", "finish")


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value


async def finished(shop: Shop, order_id: str) -> None:
    async def is_finished() -> bool:
        return (await shop.row(order_id))["finished_at"] is not None

    await until(is_finished)


async def test_an_order_holds_stock_and_money_then_counts(shop: Shop, world: World) -> None:
    """The plain path: confirmed in the reply, captured after it."""
    order = await shop.place()

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert order.payment_status == STATUS.PAYMENT_STATUS_AUTHORIZED
    assert order.total.minor_units == 1250
    assert order.tax.minor_units == 167 + 42
    assert [(a.warehouse_id, a.quantity) for a in order.lines[0].allocations] == [("main", 2)]
    assert order.shipping_address.full_name == "Ada"
    await finished(shop, order.order_id)
    assert world.payments[order.order_id] == STATUS.PAYMENT_STATUS_CAPTURED
    assert world.stock["mug"] == 998


async def test_the_same_key_gives_the_same_answer_byte_for_byte(shop: Shop, world: World) -> None:
    """A double click pays once."""
    user, key = uuid4(), "click"
    first = await shop.place(user, key=key)
    await finished(shop, first.order_id)
    second = await shop.place(user, key=key)

    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert world.captures[first.order_id] == 1


async def test_twins_join_the_first(start: Any, world: World) -> None:
    """Ten equal calls at two processes at once are one order."""
    one, two = await start(), await start()
    user, key = uuid4(), "twins"
    placed = await asyncio.gather(*(shop.place(user, key=key) for shop in (one, two) for _ in range(5)))

    assert len({order.order_id for order in placed}) == 1
    assert {order.status for order in placed} == {order_pb2.ORDER_STATUS_CONFIRMED}


async def test_another_body_under_the_same_key_is_refused(shop: Shop) -> None:
    user, key = uuid4(), "reused"
    await shop.place(user, key=key)
    error = await refused(shop.place(user, key=key, lines=[("tea", 1)]))

    assert harness.reason_of(error) == "IDEMPOTENCY_KEY_REUSED"


async def test_keys_of_two_users_never_meet(shop: Shop) -> None:
    first, second = await shop.place(key="mine"), await shop.place(key="mine")

    assert first.order_id != second.order_id


async def test_out_of_stock_is_refused_stored_and_holds_nothing(shop: Shop, world: World) -> None:
    user, key = uuid4(), "short"
    world.stock["pot"] = 1
    error = await refused(shop.place(user, key=key, lines=[("mug", 1), ("pot", 2)]))
    world.stock["pot"] = 100
    again = await refused(shop.place(user, key=key, lines=[("mug", 1), ("pot", 2)]))

    order_id = harness.refusal_in(error).metadata["order_id"]
    assert harness.reason_of(error) == harness.reason_of(again) == "OUT_OF_STOCK"
    assert world.stock["mug"] == 1000
    assert world.payments[order_id] == STATUS.PAYMENT_STATUS_VOIDED


async def test_a_card_is_not_asked_for_goods_that_are_out_of_stock(shop: Shop, world: World) -> None:
    """Its bank would tell its owner of money that is held for nothing."""
    world.stock["pot"] = 1
    error = await refused(shop.place(lines=[("pot", 2)], card="tok_good"))

    assert harness.reason_of(error) == "OUT_OF_STOCK"
    assert world.calls["authorize"] == 0


async def test_what_a_wallet_says_of_goods_that_are_out_of_stock_does_not_count(shop: Shop, world: World) -> None:
    user = uuid4()
    world.stock["pot"] = 1
    world.decline.add(str(user))

    assert harness.reason_of(await refused(shop.place(user, lines=[("pot", 2)]))) == "OUT_OF_STOCK"


async def test_goods_that_are_out_of_stock_are_refused_while_the_wallet_is_away(shop: Shop, world: World) -> None:
    """Without stock the order ends, whatever its money does; that is let go when somebody can be asked."""
    world.stock["pot"] = 1
    world.fail["authorize"] = 1000

    error = await refused(shop.place(lines=[("pot", 2)]))

    order_id = harness.refusal_in(error).metadata["order_id"]
    assert harness.reason_of(error) == "OUT_OF_STOCK"
    await finished(shop, order_id)
    assert world.payments[order_id] == STATUS.PAYMENT_STATUS_VOIDED


async def test_stock_and_wallet_are_asked_at_the_same_time(shop: Shop, world: World) -> None:
    world.hold["reserve"] = asyncio.Event()
    placing = asyncio.create_task(shop.place())
    async with asyncio.timeout(3):
        while not world.calls["authorize"]:
            await asyncio.sleep(0.01)
    world.hold["reserve"].set()

    assert (await placing).status == order_pb2.ORDER_STATUS_CONFIRMED


async def test_a_declined_card_lets_the_stock_go(shop: Shop, world: World) -> None:
    error = await refused(shop.place(card="tok_declined"))

    assert harness.reason_of(error) == "PAYMENT_DECLINED"
    order_id = harness.refusal_in(error).metadata["order_id"]
    await finished(shop, order_id)
    assert world.stock["mug"] == 1000
    assert (await shop.row(order_id))["status"] == "CANCELLED"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_breaks_off_is_run_again(shop: Shop, world: World, step: str, moment: str) -> None:
    """A coordinator that dies at a step leaves an order that the sweeper brings to the same end."""
    cart_id, user = str(uuid4()), uuid4()
    world.carts[str(user)] = (cart_id, {"mug": 2})
    failpoints.arm(f"saga.{step}.{moment}", "raise*1")
    sweeping = asyncio.create_task(shop.saga.sweep())
    order = await shop.place(user, cart=True, lines=[("mug", 2)])
    await finished(shop, order.order_id)
    sweeping.cancel()

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert world.stock["mug"] == 998
    assert world.captures[order.order_id] == 1
    assert cart_id in world.closed
    assert (await shop.row(order.order_id))["version"] == 2


@pytest.mark.parametrize("step", UNDO_STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_undo_that_breaks_off_is_run_again(shop: Shop, world: World, step: str, moment: str) -> None:
    failpoints.arm(f"saga.{step}.{moment}", "raise*1")
    sweeping = asyncio.create_task(shop.saga.sweep())
    error = await refused(shop.place(card="tok_declined"))
    order_id = harness.refusal_in(error).metadata["order_id"]
    await finished(shop, order_id)
    sweeping.cancel()

    assert harness.reason_of(error) == "PAYMENT_DECLINED"
    assert world.stock["mug"] == 1000
    assert world.reserved[order_id] is None


@pytest.mark.parametrize("participant", ["reserve", "authorize", "close", "capture"])
async def test_a_participant_that_is_away_for_a_while_loses_nothing(shop: Shop, world: World, participant: str) -> None:
    cart_id, user = str(uuid4()), uuid4()
    world.carts[str(user)] = (cart_id, {"mug": 2})
    world.fail[participant] = 6
    sweeping = asyncio.create_task(shop.saga.sweep())
    order = await shop.place(user, cart=True, lines=[("mug", 2)])
    await finished(shop, order.order_id)
    sweeping.cancel()

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert world.captures[order.order_id] == 1
    assert world.fail[participant] == 0
    assert cart_id in world.closed


async def test_an_order_that_nobody_can_decide_is_given_up(start: Any, world: World) -> None:
    """A saga always ends: when money can't be had in time, the order is cancelled and the stock goes back."""
    shop = await start(give_up_seconds=0.2, give_up_attempts=2)
    world.fail["authorize"] = 1000
    sweeping = asyncio.create_task(shop.saga.sweep())
    error = await refused(shop.place())
    order_id = harness.refusal_in(error).metadata["order_id"]
    await finished(shop, order_id)
    sweeping.cancel()

    assert harness.reason_of(error) == "ORDER_CANCELLED"
    assert world.stock["mug"] == 1000
    assert world.payments[order_id] == STATUS.PAYMENT_STATUS_VOIDED


async def test_a_slow_provider_holds_up_nobody(shop: Shop, world: World, monkeypatch: Any) -> None:
    """Wallet orders keep their time while a card's provider thinks."""
    monkeypatch.setattr("svc_order.checkout.convoy.PATIENCE_SECONDS", 60.0)
    slow = [asyncio.create_task(shop.place(card="tok_slow")) for _ in range(AT_ONCE_ORDERS)]
    await until(lambda: len(world.reserved) == AT_ONCE_ORDERS)
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(20):
        began = loop.time()
        await shop.place()
        times.append(loop.time() - began)
    assert not any(task.done() for task in slow)
    assert sorted(times)[-2] < 0.5

    world.slow_ready.update(o for o in world.reserved if o not in world.payments)
    assert {order_pb2.ORDER_STATUS_CONFIRMED} == {order.status for order in await asyncio.gather(*slow)}


async def test_an_order_that_waits_for_its_customer_is_pending_with_the_next_step(shop: Shop, world: World) -> None:
    user, key = uuid4(), "action"
    order = await shop.place(user, key=key, card="tok_action")

    assert order.status == order_pb2.ORDER_STATUS_PENDING
    assert order.next_action.url == f"https://bank.example/{order.order_id}"
    assert (await shop.place(user, key=key, card="tok_action")).status == order_pb2.ORDER_STATUS_PENDING

    world.asked_for_action[order.order_id] = True
    sweeping = asyncio.create_task(shop.saga.sweep())
    await finished(shop, order.order_id)
    sweeping.cancel()
    after = await shop.place(user, key=key, card="tok_action")
    assert after.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert not after.HasField("next_action")


async def test_a_customer_who_does_not_come_in_time_has_no_order(shop: Shop, world: World) -> None:
    user, key = uuid4(), "late"
    order = await shop.place(user, key=key, card="tok_action")
    async with shop.db.hot() as tx:
        await tx.execute(
            "UPDATE checkouts SET action_expires_at = now() - interval '1 s', next_run_at = now() WHERE order_id = $1",
            UUID(order.order_id),
        )
    await shop.saga.sweep_once()
    await finished(shop, order.order_id)
    error = await refused(shop.place(user, key=key, card="tok_action"))

    assert harness.reason_of(error) == "ORDER_CANCELLED"
    assert harness.refusal_in(error).metadata["cause"] == "PAYMENT_ACTION_EXPIRED"
    assert world.stock["mug"] == 1000


async def test_money_that_a_provider_took_of_an_order_that_never_counted_is_shown_to_go_back(
    shop: Shop, world: World
) -> None:
    """It was taken against our will and sent back; the cancelled order says so once, however often it is undone."""
    user = uuid4()
    order = await shop.place(user, card="tok_action")
    order_id = UUID(order.order_id)
    world.payments[order.order_id] = STATUS.PAYMENT_STATUS_CAPTURED
    world.amounts[order.order_id] = order.total.minor_units
    world.asked_for_action[order.order_id] = False
    async with shop.db.hot() as tx:
        await tx.execute(
            "UPDATE checkouts SET action_expires_at = now() - interval '1 s', next_run_at = now() WHERE order_id = $1",
            order_id,
        )
    for _ in range(2):
        await shop.saga.sweep_once()
        await finished(shop, order.order_id)
        async with shop.db.hot() as tx:
            await tx.execute(
                "UPDATE checkouts SET finished_at = NULL, next_run_at = now() WHERE order_id = $1", order_id
            )
    async with shop.db.hot_read() as connection:
        journal = await connection.fetch("SELECT type FROM order_events WHERE order_id = $1 ORDER BY version", order_id)
    row = await shop.row(order.order_id)

    assert [entry["type"] for entry in journal] == ["OrderPlaced", "OrderCancelled", "OrderRefunded"]
    assert (row["status"], row["refunded_minor"]) == ("CANCELLED", order.total.minor_units)
    assert row["payment_status"] == STATUS.PAYMENT_STATUS_REFUNDED


async def test_an_order_consumes_its_cart(shop: Shop, world: World) -> None:
    """Another key for the same cart finds the order, not a second one."""
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    world.fail["close"] = 1000
    first = await shop.place(user, cart=True, lines=[("mug", 1)])
    error = await refused(shop.place(user, cart=True, lines=[("mug", 1)]))

    assert harness.reason_of(error) == "CART_ALREADY_ORDERED"
    assert harness.refusal_in(error).metadata["order_id"] == first.order_id


async def test_a_cart_that_could_not_be_closed_is_closed_later(shop: Shop, world: World) -> None:
    """The order is confirmed without svc_cart; a cart left open for ever could never be ordered again."""
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    world.fail["close"] = 3
    sweeping = asyncio.create_task(shop.saga.sweep())
    order = await shop.place(user, cart=True, lines=[("mug", 1)])
    await finished(shop, order.order_id)
    sweeping.cancel()

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert cart_id in world.closed
    assert world.captures[order.order_id] == 1


async def test_what_is_added_while_the_order_is_placed_stays_with_the_shopper(shop: Shop, world: World) -> None:
    """The order takes the lines that it was priced with; the next cart has the rest, also when it closes twice."""
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    order = await shop.place(user, cart=True, lines=[("mug", 1)], card="tok_action")
    world.carts[str(user)] = (cart_id, {"mug": 3, "tea": 1})
    world.asked_for_action[order.order_id] = True
    world.fail["capture"] = 10
    sweeping = asyncio.create_task(shop.saga.sweep())
    await finished(shop, order.order_id)
    sweeping.cancel()

    next_id, left = world.carts[str(user)]
    assert cart_id in world.closed and next_id not in world.closed
    assert world.calls["close"] > 1
    assert {"mug": 2, "tea": 1} == left


async def test_a_cart_ordered_twice_at_once_with_two_keys_is_one_order(start: Any, world: World) -> None:
    one, two = await start(), await start()
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    outcomes = await asyncio.gather(
        *(shop.place(user, cart=True, lines=[("mug", 1)]) for shop in (one, two) for _ in range(3)),
        return_exceptions=True,
    )

    placed = [o for o in outcomes if not isinstance(o, BaseException)]
    reasons = {harness.reason_of(o) for o in outcomes if isinstance(o, BaseException)}
    assert len(placed) == 1
    assert reasons <= {"CART_ALREADY_ORDERED", "CART_EMPTY"}


async def test_a_twin_that_finds_the_cart_closed_gets_the_order(start: Any, world: World) -> None:
    """It looked for its key before its twin was recorded, and at the cart when that was closed already."""
    one, two = await start(), await start()
    user, key = uuid4(), str(uuid4())
    world.carts[str(user)] = (str(uuid4()), {"mug": 1})
    failpoints.arm("order.record.before", "sleep:300*1")
    first = asyncio.create_task(one.place(user, cart=True, lines=[("mug", 1)], key=key))
    await until(lambda: world.calls["carts"] == 1)
    world.hold["carts"] = asyncio.Event()
    second = asyncio.create_task(two.place(user, cart=True, lines=[("mug", 1)], key=key))
    await until(lambda: world.calls["carts"] == 2)
    placed = await first
    world.hold.pop("carts").set()

    assert placed.order_id == (await second).order_id


async def test_a_refused_order_gives_its_cart_back(shop: Shop, world: World) -> None:
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    await refused(shop.place(user, cart=True, lines=[("mug", 1)], card="tok_declined"))
    order = await shop.place(user, cart=True, lines=[("mug", 1)])

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert order.cart_id == cart_id


async def test_a_cancel_that_comes_while_the_money_is_asked_for_wins_or_loses_whole(shop: Shop, world: World) -> None:
    """Confirm against cancel: one of them decides, and the money and the stock agree with it."""
    for _ in range(5):
        user = uuid4()
        failpoints.arm("saga.authorize.after", "sleep:30*1")
        known = len(world.payments)
        placing = asyncio.create_task(shop.place(user))
        await until(lambda known=known: len(world.payments) > known)
        order_id = list(world.payments)[-1]
        request = order_service_pb2.CancelOrderRequest(order_id=order_id)
        cancelled = await shop.orders.CancelOrder(request, metadata=harness.as_user(user))
        placed = (await asyncio.gather(placing, return_exceptions=True))[0]
        await finished(shop, order_id)

        assert cancelled.order.status == order_pb2.ORDER_STATUS_CANCELLED
        if isinstance(placed, BaseException):
            assert harness.reason_of(placed) == "ORDER_CANCELLED"
        await until(lambda order_id=order_id: world.reserved[order_id] is None)
        assert world.payments[order_id] in (STATUS.PAYMENT_STATUS_VOIDED, STATUS.PAYMENT_STATUS_REFUNDED)


async def test_a_reserve_that_arrives_after_the_release_holds_nothing(shop: Shop, world: World) -> None:
    """A coordinator that slept through a cancel wakes up with a reserve, and changes nothing."""
    user = uuid4()
    failpoints.arm("saga.reserve.before", "sleep:150*1")
    placing = asyncio.create_task(shop.place(user))

    async def recorded() -> Any:
        async with shop.db.hot_read() as connection:
            return await connection.fetchval("SELECT order_id FROM checkouts WHERE user_id = $1", user)

    await until(recorded)
    order_id = str(await recorded())
    await shop.orders.CancelOrder(
        order_service_pb2.CancelOrderRequest(order_id=order_id), metadata=harness.as_user(user)
    )
    error = await refused(placing)
    await finished(shop, order_id)

    assert harness.reason_of(error) == "ORDER_CANCELLED"
    assert world.stock["mug"] == 1000
    assert world.reserved[order_id] is None
    assert world.payments[order_id] == STATUS.PAYMENT_STATUS_VOIDED


async def test_two_coordinators_of_one_order_decide_once(start: Any, world: World) -> None:
    """A lease is no lock: an order that two processes drive has one journal."""
    one, two = await start(lease_seconds=0.05), await start(lease_seconds=0.05)
    failpoints.arm("saga.decide.before", "sleep:200*1")
    sweeping = asyncio.create_task(two.saga.sweep())
    order = await one.place()
    await finished(one, order.order_id)
    sweeping.cancel()

    async with one.db.hot_read() as connection:
        versions = await connection.fetch(
            "SELECT version, type FROM order_events WHERE order_id = $1 ORDER BY version", UUID(order.order_id)
        )
        events = await connection.fetchval("SELECT count(*) FROM outbox WHERE aggregate_id = $1", order.order_id)
    assert [tuple(v) for v in versions] == [(1, "OrderPlaced"), (2, "OrderConfirmed")]
    assert events == 2
    assert world.captures[order.order_id] == 1


async def test_orders_that_stand_at_a_step_travel_together(shop: Shop, world: World) -> None:
    await asyncio.gather(*(shop.place() for _ in range(40)))

    assert max(world.batch_sizes) > 4


async def test_every_step_asked_again_gives_the_same_answer(shop: Shop, world: World) -> None:
    """A whole saga run again from its start changes nothing."""
    order = await shop.place()
    await finished(shop, order.order_id)
    before = await shop.row(order.order_id)
    async with shop.db.hot() as tx:
        await tx.execute(
            "UPDATE checkouts SET finished_at = NULL, next_run_at = now() WHERE order_id = $1", UUID(order.order_id)
        )
    await shop.saga.sweep_once()
    await finished(shop, order.order_id)
    after = await shop.row(order.order_id)

    assert world.captures[order.order_id] == 1
    assert (before["version"], before["status"], before["response"]) == (
        after["version"],
        after["status"],
        after["response"],
    )


async def test_personal_data_is_sealed_in_every_table(shop: Shop) -> None:
    order = await shop.place()
    async with shop.db.hot_read() as connection:
        for table in ("orders", "order_events", "checkouts", "outbox"):
            rows = await connection.fetch(f"SELECT t::text AS text FROM {table} t")
            assert all("Mill Lane" not in row["text"] and "example.com" not in row["text"] for row in rows)
            assert all(b"ada@example.com".hex() not in row["text"] for row in rows)
    assert order.contact_email == "ada@example.com"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expected": 1}, "PRICE_CHANGED"),
        ({"lines": [("nothing", 1)]}, "SKU_NOT_SOLD"),
        ({"cart": True}, "CART_EMPTY"),
        ({"key": ""}, "IDEMPOTENCY_KEY_REQUIRED"),
        ({"lines": [("mug", 0)]}, "INVALID_INPUT"),
        ({"lines": [("mug", -1)]}, "INVALID_INPUT"),
        ({"lines": [("mug", 2_000_000)]}, "INVALID_INPUT"),
        ({"lines": [("pot", 100_000)] * 60}, "TOTAL_TOO_LARGE"),
    ],
)
async def test_bad_input_is_refused_and_stores_nothing(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    user = uuid4()
    error = await refused(shop.place(user, **fields))

    assert harness.reason_of(error) == reason
    async with shop.db.hot_read() as connection:
        assert await connection.fetchval("SELECT count(*) FROM checkouts WHERE user_id = $1", user) == 0


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (None, "CART_EMPTY"),
        ([("nothing", 1)], "SKU_NOT_SOLD"),
        ([("pot", 100_000)] * 60, "TOTAL_TOO_LARGE"),
        ([("mug", 1), ("tea", 1)], "CURRENCY_MIXED"),
    ],
)
async def test_a_quote_is_refused_as_the_order_would_be(
    shop: Shop, world: World, lines: list[tuple[str, int]] | None, reason: str
) -> None:
    """What can't be priced has no quote, and no order either."""
    world.currencies["tea"] = "EUR"
    request = checkout_service_pb2.QuoteOrderRequest(
        lines=[{"sku": sku, "quantity": units} for sku, units in lines or ()]
    )
    quoted = await refused(shop.checkout.QuoteOrder(request, metadata=harness.as_user()))
    placed = await refused(shop.place(lines=lines, cart=lines is None))

    assert [reason, reason] == [harness.reason_of(quoted), harness.reason_of(placed)]
    assert not world.calls["reserve"]


@pytest.mark.parametrize("refusal", [InsufficientFunds, ProviderUnknown, CurrencyNotSupported])
async def test_what_the_payment_is_refused_for_reaches_the_customer_and_frees_the_stock(
    shop: Shop, world: World, refusal: type[Refusal]
) -> None:
    """And it is the answer to the key from then on."""
    world.refuse_payment = refusal("not like this")
    user, key = uuid4(), "unpaid"
    first = await refused(shop.place(user, key=key))
    await until(lambda: world.stock["mug"] == 1000)
    world.refuse_payment = None
    again = await refused(shop.place(user, key=key))

    assert [refusal.reason] * 2 == [harness.reason_of(error) for error in (first, again)]
    assert not world.captures


async def test_only_importers_bring_prices_and_times(shop: Shop) -> None:
    request = order_request(lines=[("mug", 1)], expected=123)
    request.lines[0].agreed_price.CopyFrom(request.expected_total)
    request.effective_time.FromJsonString("2010-12-01T08:26:00Z")
    error = await refused(shop.checkout.PlaceOrder(request, metadata=harness.as_user()))
    assert harness.reason_of(error) == "IMPORTER_REQUIRED"

    importer = harness.as_user(roles=("customer", "importer"), actor_id=uuid4())
    order = (await shop.checkout.PlaceOrder(request, metadata=importer)).order
    assert order.total.minor_units == 123
    assert order.effective_time.ToJsonString() == "2010-12-01T08:26:00Z"


def importing(field: str, minor: int, currency: str = "GBP") -> checkout_service_pb2.PlaceOrderRequest:
    """A mug for 500, and one thing that only importers bring."""
    request = order_request(lines=[("mug", 1)], expected=500)
    getattr(request, field).CopyFrom(money_pb2.Money(currency_code=currency, minor_units=minor))
    return request


def as_importer() -> Any:
    return harness.as_user(roles=("customer", "importer"), actor_id=uuid4())


@pytest.mark.parametrize("field", ["agreed_shipping", "agreed_discount"])
async def test_only_importers_bring_shipping_and_discounts(shop: Shop, field: str) -> None:
    """Nothing would be an amount too: nobody else may set it."""
    error = await refused(shop.checkout.PlaceOrder(importing(field, 0), metadata=harness.as_user()))
    assert harness.reason_of(error) == "IMPORTER_REQUIRED"
    order = (await shop.checkout.PlaceOrder(importing(field, 0), metadata=as_importer())).order
    assert order.total.minor_units == 500


async def test_an_order_shows_the_shipping_and_the_discount_that_an_importer_brought(shop: Shop, world: World) -> None:
    """Its total is what the customer pays."""
    request = order_request(lines=[("mug", 2), ("tea", 1)], expected=1250 + 399 - 100)
    request.agreed_shipping.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=399))
    request.agreed_discount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=100))
    order = (await shop.checkout.PlaceOrder(request, metadata=as_importer())).order
    assert (1549, 399) == (order.total.minor_units, order.shipping.minor_units)
    assert [80, 20] == [line.discount.minor_units for line in order.lines]
    assert 1549 == world.amounts[order.order_id]


@pytest.mark.parametrize(
    ("field", "minor", "currency", "reason"),
    [
        ("agreed_shipping", -1, "GBP", "INVALID_INPUT"),
        ("agreed_discount", -1, "GBP", "INVALID_INPUT"),
        ("agreed_discount", 501, "GBP", "INVALID_INPUT"),
        ("agreed_shipping", 1, "EUR", "CURRENCY_MIXED"),
        ("agreed_discount", 1, "EUR", "CURRENCY_MIXED"),
        ("agreed_shipping", 10_000_000_000, "GBP", "TOTAL_TOO_LARGE"),
        ("agreed_shipping", 1, "GBP", "PRICE_CHANGED"),
    ],
)
async def test_what_an_importer_brings_has_limits(
    shop: Shop, field: str, minor: int, currency: str, reason: str
) -> None:
    error = await refused(shop.checkout.PlaceOrder(importing(field, minor, currency), metadata=as_importer()))
    assert harness.reason_of(error) == reason


async def test_one_blip_gives_no_waiting_order_up(start: Any, world: World) -> None:
    """While the customer's offer lasts, an order that waits for them is postponed, however old it is."""
    shop = await start(give_up_seconds=0.1, give_up_attempts=1)
    order = await shop.place(card="tok_action")
    sweeping = asyncio.create_task(shop.saga.sweep())
    await asyncio.sleep(0.2)
    world.fail["reserve"] = 4
    await until(lambda: world.fail["reserve"] == 0)
    await asyncio.sleep(0.3)
    assert (await shop.row(order.order_id))["status"] == "PENDING"

    world.asked_for_action[order.order_id] = True
    await finished(shop, order.order_id)
    sweeping.cancel()
    assert (await shop.row(order.order_id))["status"] == "CONFIRMED"


async def test_one_unreadable_order_stops_nobody_else(start: Any, world: World) -> None:
    """What was sealed for it can't be opened; its neighbours, and the effects of decisions, go on."""
    shop, other = await start(), await start()
    bad, good = uuid4(), uuid4()
    failpoints.arm("saga.reserve.before", "hang*2")
    stuck = [asyncio.create_task(shop.place(user)) for user in (bad, good)]
    await until(lambda: len(shop.saga._driving) == 2)
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE user_keys SET wrapped_key = 'nonsense' WHERE user_id = $1", bad)
        await tx.execute("UPDATE checkouts SET next_run_at = now() WHERE user_id = ANY($1::uuid[])", [bad, good])
        order_id = await tx.fetchval("SELECT order_id FROM checkouts WHERE user_id = $1", good)
    await other.saga.sweep_once()
    await finished(other, str(order_id))
    for task in stuck:
        task.cancel()

    assert (await other.row(str(order_id)))["status"] == "CONFIRMED"


async def test_an_answer_with_an_error_is_never_a_yes(shop: Shop, world: World) -> None:
    """A payment that is held for other content does not pay this order."""
    world.conflicts = True
    error = await refused(shop.place())

    assert harness.reason_of(error) == "PAYMENT_CONFLICT"
    assert world.stock["mug"] == 1000


async def test_a_stored_answer_needs_no_cart_and_a_cart_that_is_away_fails_no_lines(shop: Shop, world: World) -> None:
    user, key, cart_id = uuid4(), "stored", str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 2})
    first = await shop.place(user, key=key, cart=True, lines=[("mug", 2)])
    world.fail["carts"] = 1000
    again = await shop.place(user, key=key, cart=True, lines=[("mug", 2)])
    outcomes = await asyncio.gather(*(shop.place(cart=number == 0) for number in range(6)), return_exceptions=True)

    assert first == again
    assert harness.reason_of(outcomes[0]) == "UNAVAILABLE"
    assert all(o.status == order_pb2.ORDER_STATUS_CONFIRMED for o in outcomes[1:])


async def test_carts_that_hang_hold_up_no_lines(shop: Shop, world: World) -> None:
    """Quotes travel together, but not with what waits for another package."""
    user = uuid4()
    world.carts[str(user)] = (str(uuid4()), {"mug": 1})
    world.hold["carts"] = asyncio.Event()
    from_cart = asyncio.create_task(shop.place(user, cart=True, lines=[("mug", 1)]))
    await until(lambda: world.calls["carts"])
    async with asyncio.timeout(2):
        orders = [await shop.place() for _ in range(5)]

    assert {order.status for order in orders} == {order_pb2.ORDER_STATUS_CONFIRMED}
    assert not from_cart.done()
    world.hold["carts"].set()
    assert (await from_cart).status == order_pb2.ORDER_STATUS_CONFIRMED


async def test_a_cart_that_hangs_as_it_is_closed_holds_up_no_other_answer(shop: Shop, world: World) -> None:
    """Whoever waits looks for the answers of all who wait; closing one's cart is no part of that look."""
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    world.hold["close"] = asyncio.Event()
    from_cart = asyncio.create_task(shop.place(user, cart=True, lines=[("mug", 1)]))
    from_lines = asyncio.create_task(shop.place(card="tok_slow"))
    await until(lambda: world.calls["close"] and len(world.reserved) == 2)
    await asyncio.sleep(3 * LOOK_SECONDS)  # both have looked
    assert not from_cart.done() and not from_lines.done()
    world.slow_ready.update(world.reserved)
    async with asyncio.timeout(2):
        assert (await from_lines).status == order_pb2.ORDER_STATUS_CONFIRMED

    assert not from_cart.done()
    world.hold["close"].set()
    assert (await from_cart).status == order_pb2.ORDER_STATUS_CONFIRMED
    assert cart_id in world.closed


async def test_a_cart_that_hangs_as_it_is_closed_takes_nobody_their_answer(
    shop: Shop, world: World, monkeypatch: Any
) -> None:
    """After the silence the order is looked up: it counts, and whoever hears so must have time left to hear it."""
    monkeypatch.setattr("svc_order.checkout.waiting.SILENCE_SECONDS", 0.5)
    user, cart_id = uuid4(), str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    world.hold["close"] = asyncio.Event()
    order = {"cart": True, "lines": [("mug", 1)], "key": "hanging-cart"}
    async with asyncio.timeout(2.5):
        first = await shop.place(user, **order)
    async with asyncio.timeout(2.5):
        again = await shop.place(user, **order)

    assert first.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert first == again
    assert cart_id not in world.closed
    world.hold["close"].set()
    await until(lambda: cart_id in world.closed)


async def test_a_call_that_is_shed_costs_no_query(shop: Shop, monkeypatch: Any) -> None:
    """Who sheds calls because there are too many must not ask the database something for each of them."""
    monkeypatch.setattr(shop.intake._quotes_of_lines, "_max_waiting", 0)
    asked: list[Any] = []
    find_known = shop.intake.find_known
    monkeypatch.setattr(shop.intake, "find_known", lambda key: asked.append(key) or find_known(key))
    with pytest.raises(grpc.aio.AioRpcError) as shed:
        await shop.place()

    assert harness.reason_of(shed.value) == "OVERLOADED"
    assert not asked


async def test_thinking_providers_never_take_every_place(shop: Shop, world: World, monkeypatch: Any) -> None:
    """Beyond the places for slow payments their callers get PENDING at once, and wallet orders go on."""
    monkeypatch.setattr("svc_order.checkout.waiting.SLOW_PLACES", 4)
    slow = [asyncio.create_task(shop.place(card="tok_slow")) for _ in range(12)]
    await until(lambda: sum(task.done() for task in slow) == 8)
    assert all(task.result().status == order_pb2.ORDER_STATUS_PENDING for task in slow if task.done())

    order = await shop.place()
    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    world.slow_ready.update(world.reserved)
    placed = await asyncio.gather(*slow)
    assert sum(order.status == order_pb2.ORDER_STATUS_CONFIRMED for order in placed) == 4


async def test_a_stored_answer_comes_with_its_cart_closed(start: Any, world: World) -> None:
    """A process died between the decision and the cart; who asks again finds a new cart, as after any order."""
    shop, other = await start(lease_seconds=60.0), await start()
    user, key, cart_id = uuid4(), "left-open", str(uuid4())
    world.carts[str(user)] = (cart_id, {"mug": 1})
    failpoints.arm("saga.close.before", "hang*1")
    dying = asyncio.create_task(shop.place(user, key=key, cart=True, lines=[("mug", 1)]))

    async def decided() -> Any:
        async with shop.db.hot_read() as connection:
            return await connection.fetchval("SELECT decided_at FROM checkouts WHERE user_id = $1", user)

    await until(decided)
    world.carts[str(user)] = (cart_id, {"mug": 1, "tea": 2})
    order = await other.place(user, key=key, cart=True, lines=[("mug", 1)])
    dying.cancel()

    assert order.status == order_pb2.ORDER_STATUS_CONFIRMED
    assert cart_id in world.closed
    assert {"tea": 2} == world.carts[str(user)][1]
