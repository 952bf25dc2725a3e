"""What a journal says: the order that its entries amount to, now or at any time. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from svc_order.order.lines import added, allocations_from_json, lines_from_json, units_from_json
from svc_order.order.rules import Entry, Order, OrderStatus, status_after_refund


def replay(order_id: UUID, entries: Iterable[Entry]) -> Order:
    """Return the order that a whole journal amounts to, its entries in the order of their versions.

    Raises:
        ValueError: The journal does not begin with OrderPlaced, has a gap, or holds an unknown type.
    """
    order: Order | None = None
    for entry in entries:
        expected = 1 if order is None else order.version + 1
        if entry.version != expected or (order is None) != (entry.type == "OrderPlaced"):
            raise ValueError(f"the journal of {order_id} breaks at version {entry.version}")
        order = _apply(order_id, order, entry)
    if order is None:
        raise ValueError(f"the journal of {order_id} is empty")
    return order


def as_of(entries: Iterable[Entry], at: datetime, *, recorded: bool = False) -> list[Entry]:
    """Return what of a journal, in the order of its versions, had happened by a time: when it counts, or was recorded.

    An entry counts no earlier than those before it, on whose state it was decided.
    """
    by_then = []
    for entry in entries:
        if (entry.recorded_at if recorded else entry.effective_at) > at:
            break
        by_then.append(entry)
    return by_then


def _apply(order_id: UUID, order: Order | None, entry: Entry) -> Order:
    payload = entry.payload
    if order is None:
        return Order(
            order_id=order_id,
            user_id=UUID(payload["user_id"]),
            status=OrderStatus.PENDING,
            currency=payload["currency"],
            total_minor=payload["total_minor"],
            tax_minor=payload["tax_minor"],
            shipping_minor=payload["shipping_minor"],
            lines=lines_from_json(payload["lines"]),
            cart_id=UUID(payload["cart_id"]) if payload["cart_id"] else None,
            created_at=entry.recorded_at,
            effective_at=entry.effective_at,
            updated_at=entry.recorded_at,
        )
    order = replace(order, version=entry.version, updated_at=entry.recorded_at)
    match entry.type:
        case "OrderConfirmed":
            allocations = allocations_from_json(payload["allocations"])
            return replace(order, status=OrderStatus.CONFIRMED, allocations=allocations)
        case "OrderCancelled":
            return replace(order, status=OrderStatus.CANCELLED, cancel_reason=payload["reason"])
        case "OrderShipped":
            return replace(order, status=OrderStatus.SHIPPED, tracking_code=payload["tracking_code"])
        case "OrderTracked":
            return replace(order, tracking_code=payload["tracking_code"])
        case "OrderDelivered":
            return replace(order, status=OrderStatus.DELIVERED)
        case "OrderRefunded":
            status = status_after_refund(order.status, full=payload["full"])
            returned = added(order.returned, units_from_json(payload.get("units")))
            refunded_minor = order.refunded_minor + payload["amount_minor"]
            return replace(order, status=status, refunded_minor=refunded_minor, returned=returned)
    raise ValueError(f"no journal entry is called {entry.type}")
