"""The public events of an order: what every journal entry tells the other domains. No personal data."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from mesh.outbox import Event
from svc_order.order.rules import Entry, Order
from svc_order.order.values import money, returned_to_wire, timestamp
from titan.order.v1 import events_pb2

TOPIC = "titan.order.v1"
PRICES_TOPIC = "titan.order.prices.v1"
"""Of imported orders alone, so that nobody who listens to it hears of every shopper's."""


def public_events(order: Order, entry: Entry) -> list[Event]:
    """Return the public events of a journal entry, on one topic each: no personal data."""
    event = Event(
        topic=TOPIC,
        type=f"{TOPIC}.{entry.type}",
        aggregate_id=str(order.order_id),
        version=entry.version,
        payload=_message(order, entry).SerializeToString(),
    )
    return [event, _prices(order)] if entry.type == "OrderConfirmed" and order.imported else [event]


def _prices(order: Order) -> Event:
    """Return what an imported order was charged: prices of its own time, which the catalogue has never heard of."""
    prices = {line.sku: money(line.unit_price_minor, order.currency) for line in order.lines}
    charged = events_pb2.OrderPricesCharged(
        order_id=str(order.order_id),
        effective_time=timestamp(order.effective_at),
        prices=[events_pb2.ChargedPrice(sku=sku, price=price) for sku, price in prices.items()],
    )
    return Event(
        topic=PRICES_TOPIC,
        type=f"{TOPIC}.OrderPricesCharged",
        aggregate_id=str(order.order_id),
        version=1,
        payload=charged.SerializeToString(),
    )


def _message(order: Order, entry: Entry) -> Message:
    who: dict[str, Any] = {"order_id": str(order.order_id), "user_id": str(order.user_id)}
    total = money(order.total_minor, order.currency)
    match entry.type:
        case "OrderPlaced":
            return events_pb2.OrderPlaced(
                **who, total=total, line_count=len(order.lines), effective_time=timestamp(entry.effective_at)
            )
        case "OrderConfirmed":
            return events_pb2.OrderConfirmed(**who, total=total)
        case "OrderCancelled":
            return events_pb2.OrderCancelled(**who, reason=entry.payload["reason"])
        case "OrderShipped":
            return events_pb2.OrderShipped(
                **who, tracking_code=entry.payload["tracking_code"], effective_time=timestamp(entry.effective_at)
            )
        case "OrderTracked":
            return events_pb2.OrderTracked(**who, tracking_code=entry.payload["tracking_code"])
        case "OrderDelivered":
            return events_pb2.OrderDelivered(**who, effective_time=timestamp(entry.effective_at))
        case "OrderRefunded":
            return events_pb2.OrderRefunded(
                **who,
                refund_id=entry.payload["refund_id"],
                amount=money(entry.payload["amount_minor"], order.currency),
                full=entry.payload["full"],
                returned=returned_to_wire(entry.payload),
                effective_time=timestamp(entry.effective_at),
            )
    raise ValueError(f"no event is called {entry.type}")
