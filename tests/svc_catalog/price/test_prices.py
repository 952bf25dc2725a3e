"""The history of prices: fed by the catalogue and by imported orders, the latest of each minute."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh import pages
from mesh.received import Poison, Received
from svc_catalog.price import store
from svc_catalog.price.consumer import CHARGED, TOPICS, note
from svc_catalog.price.store import PriceSource, Told
from tests.harness import as_user, reason_of
from tests.svc_catalog.conftest import a_product, a_variant, new_sku
from titan.catalog.v1 import price_pb2
from titan.catalog.v1 import price_service_pb2 as pb
from titan.order.v1 import events_pb2
from titan.type.v1 import money_pb2

FINANCE = as_user(roles=("finance",))
AT = datetime(2011, 1, 5, 9, 30, tzinfo=UTC)


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def told(sku: str, minor: int, at: datetime = AT, by: str = "order") -> Told:
    return Told(sku, at, by, PriceSource.ORDER, "GBP", minor)


def charged(prices: dict[str, int], at: datetime | None = AT, order_id: UUID | None = None) -> Received:
    """Return the event of an imported order as it comes out of the broker."""
    order_id = order_id or uuid4()
    event = events_pb2.OrderPricesCharged(
        order_id=str(order_id),
        effective_time=stamp(at) if at else None,
        prices=[
            events_pb2.ChargedPrice(sku=sku, price=money_pb2.Money(currency_code="GBP", minor_units=minor))
            for sku, minor in prices.items()
        ],
    )
    return Received(
        topic=TOPICS[0],
        type=CHARGED,
        event_id=uuid4(),
        aggregate_id=str(order_id),
        version=1,
        subject=str(order_id),
        time=datetime.now(UTC),
        source="svc_order",
        cell="local",
        payload=event.SerializeToString(),
        traceparent=None,
        partition=0,
        offset=0,
    )


async def prices(shop, sku: str, **asked) -> list[tuple[str, int, str]]:
    """Return from when on, how much and who says so, the newest first."""
    answer = await shop.prices.ListPrices(pb.ListPricesRequest(sku=sku, **asked), metadata=FINANCE)
    source = price_pb2.PriceSource.Name
    return [
        (each.effective_time.ToJsonString(), each.price.minor_units, source(each.source).removeprefix("PRICE_SOURCE_"))
        for each in answer.prices
    ]


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def test_a_price_that_is_set_and_changed_is_remembered(shop, db):
    """What changes beside it is no new price; a SKU that is taken off the shelf keeps its past."""
    sku, other = new_sku(), new_sku()
    product = await shop.create(a_product(variants=[a_variant(sku, 500), a_variant(other, 700)]))
    async with db.hot() as tx:
        await tx.execute(
            "UPDATE price_history SET minute = minute - interval '1 hour',"
            " effective_at = effective_at - interval '1 hour' WHERE sku = ANY($1::text[])",
            [sku, other],
        )
    product.title = "Another name"
    product = await shop.update(product, "title")
    product.variants[0].price.minor_units = 550
    product = await shop.update(product, "variants")
    assert [550, 500] == [minor for _, minor, _ in await prices(shop, sku)]
    assert [700] == [minor for _, minor, _ in await prices(shop, other)]
    del product.variants[0]
    await shop.update(product, "variants")
    assert [550, 500] == [minor for _, minor, _ in await prices(shop, sku)]


async def test_what_imported_orders_were_charged_is_the_price_of_that_time(shop, db):
    """Beside the catalogue's own, by the time that the order counts from; what is no change is left out."""
    sku = new_sku()
    await shop.create(a_product(variants=[a_variant(sku, 500)]))
    days = [(0, 300), (1, 300), (2, 310), (3, 300)]
    events = [charged({sku: minor, new_sku(): 1}, AT + timedelta(days=day)) for day, minor in days]
    await db.transact(lambda tx: note(tx, events))
    now, *then = await prices(shop, sku)
    assert (500, "CATALOGUE") == now[1:]
    past = [(f"2011-01-{day}T09:30:00Z", minor, "ORDER") for day, minor in (("08", 300), ("07", 310), ("05", 300))]
    assert past == then
    assert past[1:] == await prices(shop, sku, as_of_time=stamp(AT + timedelta(days=2)))
    hours_later = stamp(AT + timedelta(days=2, hours=3))
    assert past[1:2] == await prices(shop, sku, as_of_time=hours_later, page_size=1)
    assert [] == await prices(shop, sku, as_of_time=stamp(AT - timedelta(minutes=1)))


async def test_the_latest_of_a_minute_is_kept_whatever_comes_first(db):
    """Told apart or together, once or again: of one moment, the one with the larger name."""
    said = [(100, 0, "a"), (200, 30, "a"), (300, 30, "b"), (400, 59, "a")]
    for arrival in permutations(said):
        for together in (True, False):
            sku = new_sku()
            batch = [told(sku, minor, AT + timedelta(seconds=second), by) for minor, second, by in arrival]
            for step in [batch] if together else [[each] for each in batch]:
                await db.transact(lambda tx, step=step: store.save(tx, step))
            async with db.hot_read() as connection:
                (kept,) = await store.list_changes(connection, sku, as_of=None, before=None, limit=9)
            assert (AT, 400) == (kept.minute, kept.price_minor)
    sku = new_sku()
    for minor, by in ((300, "b"), (200, "a"), (300, "b")):
        await db.transact(lambda tx, minor=minor, by=by: store.save(tx, [told(sku, minor, by=by)]))
    async with db.hot_read() as connection:
        (kept,) = await store.list_changes(connection, sku, as_of=None, before=None, limit=9)
    assert 300 == kept.price_minor


async def test_an_event_without_an_order_or_a_time_is_poison(db):
    """No repetition mends it; another type of the topic is none of its business."""
    event = charged({new_sku(): 1})
    for wrong in (replace(event, payload=b""), charged({new_sku(): 1}, at=None)):
        with pytest.raises(Poison):
            await db.transact(lambda tx, wrong=wrong: note(tx, [wrong]))
    await db.transact(lambda tx: note(tx, [replace(event, type="titan.order.v1.SomethingLater", payload=b"\xff")]))


async def test_a_history_comes_in_pages(shop, db):
    sku = new_sku()
    await db.transact(lambda tx: store.save(tx, [told(sku, n, AT + timedelta(minutes=n)) for n in range(1, 6)]))
    seen, request = [], pb.ListPricesRequest(sku=sku, page_size=2)
    while True:
        page = await shop.prices.ListPrices(request, metadata=FINANCE)
        seen += [each.price.minor_units for each in page.prices]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert [5, 4, 3, 2, 1] == seen
    other = pb.ListPricesRequest(sku=new_sku(), page_token=request.page_token)
    forged = pb.ListPricesRequest(sku=sku, page_token=pages.encode("PriceService.ListPrices", [2**60], sku, ""))
    for wrong in (other, forged):
        assert "PAGE_TOKEN_INVALID" == await refused(shop.prices.ListPrices(wrong, metadata=FINANCE))


async def test_prices_of_the_past_are_for_the_shop(shop):
    """What a customer agreed on is not for others to read."""
    request = pb.ListPricesRequest(sku="never sold")
    for roles in (("customer",), ("support",)):
        assert "ACCESS_DENIED" == await refused(shop.prices.ListPrices(request, metadata=as_user(roles=roles)))
    for roles in (("admin",), ("finance",), ("importer",)):
        assert not (await shop.prices.ListPrices(request, metadata=as_user(roles=roles))).prices


async def test_a_price_is_never_negative(db):
    with pytest.raises(asyncpg.CheckViolationError):
        await db.transact(lambda tx: store.save(tx, [told(new_sku(), -1)]))
