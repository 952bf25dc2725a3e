"""Notes what importers' orders were charged: the shop's prices of that time, whatever the catalogue says now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from uuid import UUID

import asyncpg

from mesh.received import Poison, Received
from svc_catalog.price import store
from svc_catalog.price.store import PriceSource, Told
from titan.order.v1 import events_pb2

GROUP = "svc_catalog"
TOPICS = ("titan.order.prices.v1",)
CHARGED = "titan.order.v1.OrderPricesCharged"


async def note(tx: asyncpg.Connection, events: Sequence[Received]) -> None:
    """Keep the prices of events, as one set.

    Raises:
        Poison: An event names no order, or no time.
    """
    await store.save(tx, [told for event in events if event.type == CHARGED for told in _told_by(event)])


def _told_by(received: Received) -> Iterator[Told]:
    event = events_pb2.OrderPricesCharged.FromString(received.payload)
    try:
        order_id = str(UUID(event.order_id))
    except ValueError:
        raise Poison(f"{received.type} does not say which order it is about") from None
    if not event.HasField("effective_time"):
        raise Poison(f"{received.type} does not say when")
    effective_at = event.effective_time.ToDatetime(tzinfo=UTC)
    for each in event.prices:
        price = each.price
        yield Told(each.sku, effective_at, order_id, PriceSource.ORDER, price.currency_code, price.minor_units)
