"""Orders between Python and protobuf: the public order, its journal as an owner reads it, and what is sealed of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from svc_order.order.lines import Allocations, Line, Units
from svc_order.order.rules import Entry, Order, OrderStatus, status_after_refund
from svc_order.order.values import money, returned_to_wire, timestamp
from svc_order.order.view import View
from titan.order.v1 import order_pb2
from titan.payment.v1 import payment_pb2
from titan.type.v1 import address_pb2

_STATUS: dict[OrderStatus, Any] = {
    status: order_pb2.OrderStatus.Value(f"ORDER_STATUS_{status.value}") for status in OrderStatus
}
_STATUS_OF = {number: status for status, number in _STATUS.items()}
_STATUS_AFTER = {
    "OrderPlaced": OrderStatus.PENDING,
    "OrderConfirmed": OrderStatus.CONFIRMED,
    "OrderCancelled": OrderStatus.CANCELLED,
    "OrderShipped": OrderStatus.SHIPPED,
    "OrderDelivered": OrderStatus.DELIVERED,
}
_PUBLIC_DETAILS = ("reason", "tracking_code", "refund_id", "amount_minor", "total_minor", "currency")


def seal_text(address: address_pb2.Address, contact_email: str) -> bytes:
    """Return the personal data of an order as one text: an Order with these two fields alone."""
    text: bytes = order_pb2.Order(shipping_address=address, contact_email=contact_email).SerializeToString()
    return text


def lines_to_wire(
    lines: Iterable[Line], currency: str, allocations: Allocations, returned: Units
) -> list[order_pb2.OrderLine]:
    """Return the lines of an order or a quote."""
    return [
        order_pb2.OrderLine(
            line_number=line.number,
            sku=line.sku,
            product_id=line.product_id,
            title=line.title,
            seller_id=line.seller_id,
            quantity=line.quantity,
            unit_price=money(line.unit_price_minor, currency),
            line_total=money(line.line_total_minor, currency),
            tax=money(line.tax_minor, currency),
            tax_rate_basis_points=line.tax_rate_basis_points,
            discount=money(line.discount_minor, currency),
            allocations=[
                order_pb2.LineAllocation(warehouse_id=warehouse, quantity=units)
                for warehouse, units in allocations.get(line.number, ())
            ],
            returned_quantity=returned.get(line.number, 0),
        )
        for line in lines
    ]


def to_wire(
    order: Order,
    opened: bytes,
    *,
    payment_status: int,
    action_url: str | None = None,
    action_expires_at: datetime | None = None,
) -> order_pb2.Order:
    """Return the public order; `opened` is its personal data, as `seal_text` made it."""
    wired = order_pb2.Order.FromString(opened)
    wired.order_id = str(order.order_id)
    wired.user_id = str(order.user_id)
    wired.status = _STATUS[order.status]
    wired.payment_status = cast(payment_pb2.PaymentStatus, payment_status)
    wired.total.CopyFrom(money(order.total_minor, order.currency))
    wired.tax.CopyFrom(money(order.tax_minor, order.currency))
    wired.shipping.CopyFrom(money(order.shipping_minor, order.currency))
    wired.refunded.CopyFrom(money(order.refunded_minor, order.currency))
    wired.lines.extend(lines_to_wire(order.lines, order.currency, order.allocations, order.returned))
    wired.cancel_reason = order.cancel_reason
    wired.cart_id = str(order.cart_id) if order.cart_id else ""
    wired.create_time.FromDatetime(order.created_at)
    wired.effective_time.FromDatetime(order.effective_at)
    wired.update_time.FromDatetime(order.updated_at)
    wired.version = order.version
    wired.etag = f"{order.version}-{payment_status}"
    wired.tracking_code = order.tracking_code
    if action_url and order.status is OrderStatus.PENDING:
        wired.next_action.url = action_url
        if action_expires_at is not None:
            wired.next_action.expire_time.FromDatetime(action_expires_at)
    return wired


def status_of(wire: int) -> OrderStatus | None:
    """Return a status of the contract; None for none."""
    return _STATUS_OF.get(wire)


def sold_to_wire(order: Order, seller_id: str) -> order_pb2.SellerOrder:
    """Return what a seller sold of an order, and nothing of who bought it."""
    lines = [line for line in order.lines if line.seller_id == seller_id]
    return order_pb2.SellerOrder(
        order_id=str(order.order_id),
        seller_id=seller_id,
        status=_STATUS[order.status],
        lines=lines_to_wire(lines, order.currency, order.allocations, order.returned),
        total=money(sum(line.line_total_minor for line in lines), order.currency),
        create_time=timestamp(order.created_at),
        effective_time=timestamp(order.effective_at),
        update_time=timestamp(order.updated_at),
    )


def view_to_wire(view: View, opened: bytes) -> order_pb2.Order:
    """Return the public order of a stored one."""
    return to_wire(
        view.order,
        opened,
        payment_status=view.payment_status,
        action_url=view.action_url,
        action_expires_at=view.action_expires_at,
    )


def entry_to_wire(entry: Entry, status_before: OrderStatus, currency: str) -> order_pb2.OrderEvent:
    """Return a journal entry as its owner may read it; the currency is the order's."""
    status = status_after(entry, status_before)
    amount_minor, total_minor = entry.payload.get("amount_minor"), entry.payload.get("total_minor")
    details = {k: str(entry.payload[k]) for k in _PUBLIC_DETAILS if entry.payload.get(k) not in (None, "")}
    return order_pb2.OrderEvent(
        version=entry.version,
        type=entry.type,
        status=_STATUS[status],
        record_time=timestamp(entry.recorded_at),
        effective_time=timestamp(entry.effective_at),
        details=details,
        reason=details.get("reason", ""),
        tracking_code=details.get("tracking_code", ""),
        refund_id=details.get("refund_id", ""),
        amount=None if amount_minor is None else money(amount_minor, currency),
        total=None if total_minor is None else money(total_minor, currency),
        returned=returned_to_wire(entry.payload),
    )


def status_after(entry: Entry, before: OrderStatus) -> OrderStatus:
    """Return the status of an order after an entry of its journal."""
    if entry.type == "OrderRefunded":
        return status_after_refund(before, full=entry.payload["full"])
    return _STATUS_AFTER.get(entry.type, before)
