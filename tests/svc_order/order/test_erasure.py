"""Erasing a user: their key goes once no order needs it, in every process, and all that is not personal stays."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from mesh import idempotency
from mesh.seams import failpoints
from mesh.vault import store as keys
from svc_order.checkout import store as checkouts
from svc_order.order.rules import OrderStatus
from tests import harness
from tests.svc_order.conftest import Shop, order_request
from titan.order.v1 import order_service_pb2 as pb

AUTH, NOTIFY = harness.as_service("svc_auth"), harness.as_service("svc_notify")
CLERK, SUPPORT = harness.as_user(roles=("warehouse",)), harness.as_user(roles=("support",))


async def erase(shop: Shop, user_id: UUID, *, validate_only: bool = False) -> Any:
    asked = pb.EraseUserRequest(user_id=str(user_id), validate_only=validate_only)
    return await shop.orders.EraseUser(asked, metadata=AUTH)


async def receipts(shop: Shop, *order_ids: str) -> list[Any]:
    asked = pb.BatchGetReceiptsRequest(order_ids=order_ids)
    return [each.order for each in (await shop.orders.BatchGetReceipts(asked, metadata=NOTIFY)).receipts]


async def orders_of(shop: Shop, user_id: UUID, **fields: Any) -> Any:
    asked = pb.ListUserOrdersRequest(user_id=str(user_id), **fields)
    return await shop.orders.ListUserOrders(asked, metadata=AUTH)


async def placed(shop: Shop, user_id: UUID) -> Any:
    """Return an order whose saga is done."""
    order = await shop.place(user_id)
    await finished(shop, order.order_id)
    return order


async def finished(shop: Shop, order_id: str) -> None:
    """Drive what an order has still to do elsewhere."""
    async with asyncio.timeout(5):
        while True:
            async with shop.db.hot_read() as connection:
                if await connection.fetchval(
                    "SELECT finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM order_effects e"
                    " WHERE e.order_id = c.order_id AND e.finished_at IS NULL) FROM checkouts c WHERE order_id = $1",
                    UUID(order_id),
                ):
                    return
            await asyncio.sleep(0.02)


async def delivered(shop: Shop, user_id: UUID) -> Any:
    """Return an order that has arrived."""
    order = await placed(shop, user_id)
    await shop.orders.ShipOrder(pb.ShipOrderRequest(order_id=order.order_id), metadata=CLERK)
    await finished(shop, order.order_id)
    await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order.order_id), metadata=CLERK)
    return order


async def stored(shop: Shop, user_id: UUID) -> list[Any]:
    """Return the rows of a user's orders, of their journals and of their invoices."""
    async with shop.db.hot_read() as connection:
        return [
            *await connection.fetch("SELECT * FROM orders WHERE user_id = $1 ORDER BY order_id", user_id),
            *await connection.fetch(
                "SELECT * FROM order_events WHERE order_id IN (SELECT order_id FROM orders WHERE user_id = $1)"
                " ORDER BY order_id, version",
                user_id,
            ),
            *await connection.fetch("SELECT * FROM invoices WHERE user_id = $1 ORDER BY number", user_id),
        ]


async def keys_of(shop: Shop, user_id: UUID) -> int:
    async with shop.db.hot_read() as connection:
        return await connection.fetchval("SELECT count(*) FROM user_keys WHERE user_id = $1", user_id)


async def under_way(shop: Shop, user_id: UUID) -> str:
    """Return the order that an erasure is refused for; asked for alone, and meant."""
    named = set()
    for validate_only in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await erase(shop, user_id, validate_only=validate_only)
        found = harness.refusal_in(refusal.value)
        assert "ORDERS_UNDER_WAY" == found.reason
        named.add(found.metadata["order_id"])
    assert 1 == await keys_of(shop, user_id)
    return named.pop()


async def test_an_order_under_way_holds_it_up_until_it_has_arrived(shop: Shop) -> None:
    """Its parcel needs an address, and its owner a letter."""
    user_id = uuid4()
    order = await placed(shop, user_id)
    assert order.order_id == await under_way(shop, user_id)
    await shop.orders.ShipOrder(pb.ShipOrderRequest(order_id=order.order_id), metadata=CLERK)
    await finished(shop, order.order_id)
    assert order.order_id == await under_way(shop, user_id)
    await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order.order_id), metadata=CLERK)
    await erase(shop, user_id)
    assert 0 == await keys_of(shop, user_id)


async def test_a_cancelled_order_holds_it_up_until_its_money_is_back(shop: Shop) -> None:
    """The effect that undoes it is a part of it."""
    user_id = uuid4()
    order = await placed(shop, user_id)
    await shop.orders.CancelOrder(pb.CancelOrderRequest(order_id=order.order_id), metadata=harness.as_user(user_id))
    await finished(shop, order.order_id)
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE order_effects SET finished_at = NULL WHERE order_id = $1", UUID(order.order_id))
    assert order.order_id == await under_way(shop, user_id)
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE order_effects SET finished_at = now() WHERE order_id = $1", UUID(order.order_id))
    await erase(shop, user_id)


async def test_an_order_that_is_being_recorded_holds_it_up(shop: Shop) -> None:
    """Neither sees the other's row: who decides is who holds the user's key. Also where it is their first order."""
    user_id = uuid4()
    failpoints.arm("order.record.before_commit", "sleep:300*1")
    placing = asyncio.create_task(shop.place(user_id))
    async with asyncio.timeout(5):
        while failpoints.armed["order.record.before_commit"].left:
            await asyncio.sleep(0.01)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await erase(shop, user_id)
    assert "ORDERS_UNDER_WAY" == harness.refusal_in(refusal.value).reason
    assert (await placing).order_id == await under_way(shop, user_id)


async def test_whoever_was_erased_orders_nothing_more(shop: Shop) -> None:
    """This process had their key at hand, and another one erased them."""
    user_id = uuid4()
    await delivered(shop, user_id)
    async with shop.db.hot() as tx:
        await keys.destroy_key(tx, user_id)
    before = await stored(shop, user_id)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await shop.place(user_id)
    assert "USER_ERASED" == harness.refusal_in(refusal.value).reason
    assert before == await stored(shop, user_id)
    assert 0 == await keys_of(shop, user_id)


async def test_to_validate_alone_erases_nobody(shop: Shop) -> None:
    """AIP-163."""
    user_id = uuid4()
    order = await delivered(shop, user_id)
    await erase(shop, user_id, validate_only=True)
    assert "ada@example.com" == (await receipts(shop, order.order_id))[0].contact_email


async def test_what_is_personal_is_gone_and_every_row_stays(shop: Shop) -> None:
    """The order keeps its lines and its money, and its neighbours are read as before."""
    user_id, other_id = uuid4(), uuid4()
    order, other = await delivered(shop, user_id), await placed(shop, other_id)
    before = await stored(shop, user_id)
    assert before and "ada@example.com" == (await receipts(shop, order.order_id))[0].contact_email

    for _ in range(2):  # a repeat is harmless
        await erase(shop, user_id)

    assert before == await stored(shop, user_id)
    erased, kept = await receipts(shop, order.order_id, other.order_id)
    assert ("", False) == (erased.contact_email, erased.HasField("shipping_address"))
    assert (order.total, order.lines) == (erased.total, erased.lines)
    assert "ada@example.com" == kept.contact_email
    (listed,) = (await orders_of(shop, user_id)).orders
    assert not listed.HasField("shipping_address")


async def test_what_was_asked_for_cannot_be_tried_out(shop: Shop) -> None:
    """Who has an address could hash it, and see whose order it was: the fingerprint of a request is sealed, and goes
    with its user, or once the key may be used again. One from before is told apart, and goes too."""
    user_id, earlier, other_id = uuid4(), uuid4(), uuid4()
    request = order_request(key="once")
    plain = idempotency.fingerprint(request)

    async def ask(who: UUID) -> Any:
        return (await shop.checkout.PlaceOrder(request, metadata=harness.as_user(who))).order

    async def stored_of(who: UUID) -> bytes:
        async with shop.db.hot_read() as connection:
            return await connection.fetchval("SELECT fingerprint FROM checkouts WHERE user_id = $1", who)

    first = {who: await ask(who) for who in (user_id, earlier, other_id)}
    async with shop.db.hot() as tx:
        await tx.execute("UPDATE checkouts SET fingerprint = $2 WHERE user_id = $1", earlier, plain)
    assert first == {who: await ask(who) for who in first}
    assert plain not in await stored_of(user_id)

    for who, order in first.items():
        await finished(shop, order.order_id)
        if who != other_id:
            await shop.orders.ShipOrder(pb.ShipOrderRequest(order_id=order.order_id), metadata=CLERK)
            await finished(shop, order.order_id)
            await shop.orders.DeliverOrder(pb.DeliverOrderRequest(order_id=order.order_id), metadata=CLERK)
            await erase(shop, who)
    async with shop.db.hot() as tx:
        await tx.execute(
            "UPDATE checkouts SET finished_at = now() - interval '31 days' WHERE order_id = $1",
            UUID(first[other_id].order_id),
        )
        assert await checkouts.prune(tx)
    assert [b""] * 3 == [await stored_of(who) for who in first]


async def test_another_process_forgets_the_key_too(start: Any) -> None:
    """It had it at hand, and would have gone on opening what was sealed with it."""
    one, two = await start(), await start()
    user_id = uuid4()
    order = await delivered(one, user_id)
    assert "ada@example.com" == (await receipts(two, order.order_id))[0].contact_email
    await erase(one, user_id)

    await two.reads._vault.forget_erased()

    assert "" == (await receipts(two, order.order_id))[0].contact_email


async def test_an_erased_user_is_never_given_another_key(shop: Shop) -> None:
    """What support says about an old order goes into the journal, and nobody reads it."""
    user_id = uuid4()
    order = await delivered(shop, user_id)
    await erase(shop, user_id)
    await shop.orders.CreateRefund(
        pb.CreateRefundRequest(
            order_id=order.order_id, reason="Ada wrote", request_id=str(uuid4()), ticket_id="SUP-4711"
        ),
        metadata=SUPPORT,
    )
    await finished(shop, order.order_id)
    row = await shop.row(order.order_id)
    assert OrderStatus.REFUNDED == row["status"] and 0 == await keys_of(shop, user_id)


async def test_a_fresh_process_makes_no_key_for_an_erased_user(start: Any) -> None:
    """It knows of the erasure from the database alone."""
    one = await start()
    user_id = uuid4()
    await erase(one, user_id)
    two = await start()
    vault = two.reads._vault
    await vault.prepare([user_id])
    assert 0 == await keys_of(two, user_id)
    assert b"secret" not in vault.seal(user_id, uuid4(), b"secret")


async def test_an_export_lists_orders_with_addresses_and_invoices_in_pages(shop: Shop) -> None:
    """The newest first; each on one page."""
    user_id = uuid4()
    wanted = [(await delivered(shop, user_id)).order_id for _ in range(3)][::-1]
    first = await orders_of(shop, user_id, page_size=2)
    second = await orders_of(shop, user_id, page_size=2, page_token=first.next_page_token)
    assert wanted == [order.order_id for order in (*first.orders, *second.orders)] and not second.next_page_token
    assert {"1 Mill Lane"} == {order.shipping_address.line1 for order in first.orders}
    assert wanted == [invoice.order_id for invoice in (*first.invoices, *second.invoices)]


async def test_an_export_has_what_went_back_and_what_was_said_to_it(shop: Shop) -> None:
    """The credit note of a refund, its owner's words and support's, beside the order; not what another was told."""
    user_id, other_id = uuid4(), uuid4()
    order, other = await delivered(shop, user_id), await delivered(shop, other_id)
    cancelled = await placed(shop, user_id)
    owner = harness.as_user(user_id)
    stop = pb.CancelOrderRequest(order_id=cancelled.order_id, reason="too late")
    await shop.orders.CancelOrder(stop, metadata=owner)
    for refunded in (order, other):
        refund = pb.CreateRefundRequest(
            order_id=refunded.order_id, reason="Ada wrote", request_id=str(uuid4()), ticket_id="SUP-4711"
        )
        await shop.orders.CreateRefund(refund, metadata=SUPPORT)

    page = await orders_of(shop, user_id)

    assert [order.order_id] == [note.order_id for note in page.credit_notes]
    assert page.credit_notes[0].total == page.invoices[0].total
    said = {(each.order_id, each.type, each.text) for each in page.words}
    assert {(order.order_id, "OrderRefunded", "Ada wrote"), (cancelled.order_id, "OrderCancelled", "too late")} == said
    for each in (order, cancelled):
        await finished(shop, each.order_id)
    await erase(shop, user_id)
    assert not (await orders_of(shop, user_id)).words


async def test_a_page_token_of_another_user_is_refused(shop: Shop) -> None:
    """Whoever asks for pages asks about one user."""
    user_id = uuid4()
    for _ in range(2):
        await delivered(shop, user_id)
    token = (await orders_of(shop, user_id, page_size=1)).next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await orders_of(shop, uuid4(), page_token=token)
    assert "PAGE_TOKEN_INVALID" == harness.reason_of(refusal.value)
