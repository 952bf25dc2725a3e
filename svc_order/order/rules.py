"""What may happen to an order: pure decisions, and the journal entries that they leave.

An order is the fold of its journal (see `journal`); a decision returns the order after it and the one entry that it
adds. A decision that was made before comes back without an entry, so asking twice is safe; a late one is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from mesh.refusals import InvalidInput
from svc_order.errors import (
    OrderNotCancellable,
    OrderNotDeliverable,
    OrderNotRefundable,
    OrderNotReturnable,
    OrderNotShippable,
    RefundAmountInvalid,
    RefundExceedsOrder,
    ReturnExceedsLine,
    SupportRequired,
    TrackingCodeConflict,
)
from svc_order.order.lines import Allocations, Line, Units, added, allocations_to_json, lines_to_json, units_to_json


class OrderStatus(enum.StrEnum):
    """Where an order stands; the twin of `titan.order.v1.OrderStatus`."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"


MAX_VERSION = 1000
"""How many entries a journal may have. Refunds of a part are the only ones without an end of their own."""
VERSIONS_FOR_THE_END = 10
"""How many of them are kept for what ends an order: refunds of a part stop before; the last penny always goes back."""
CONFIRMED_ENTRY = "OrderConfirmed"
"""The entry after which an order has been sold, whatever becomes of it."""
CUSTOMER = "CUSTOMER"
"""Why an order was cancelled that its customer cancelled; their own words are personal, and sealed."""
CANCELLABLE = frozenset({OrderStatus.PENDING, OrderStatus.CONFIRMED})
LEFT = frozenset({OrderStatus.SHIPPED, OrderStatus.DELIVERED})
REFUNDABLE = LEFT | {OrderStatus.CONFIRMED}


@dataclass(frozen=True, slots=True)
class Order:
    """An order after `version` journal entries; money in minor units with tax."""

    order_id: UUID
    user_id: UUID
    status: OrderStatus
    currency: str
    total_minor: int
    tax_minor: int
    shipping_minor: int
    lines: tuple[Line, ...]
    cart_id: UUID | None
    created_at: datetime
    effective_at: datetime
    updated_at: datetime
    version: int = 1
    refunded_minor: int = 0
    cancel_reason: str = ""
    tracking_code: str = ""
    allocations: Allocations = field(default_factory=dict)
    returned: Units = field(default_factory=dict)

    @property
    def imported(self) -> bool:
        """Whether an importer brought it: it counts from a time before it was recorded."""
        return self.effective_at < self.created_at


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry. The payload holds JSON values and no personal data."""

    version: int
    type: str
    payload: Mapping[str, Any]
    recorded_at: datetime
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """An order after a decision, and the entry that it added; no entry when it had been made before."""

    order: Order
    entry: Entry | None


def place(order: Order) -> Change:
    """Return the first entry of an order that was just recorded as PENDING."""
    payload = {
        "user_id": str(order.user_id),
        "currency": order.currency,
        "total_minor": order.total_minor,
        "tax_minor": order.tax_minor,
        "shipping_minor": order.shipping_minor,
        "cart_id": str(order.cart_id) if order.cart_id else None,
        "lines": lines_to_json(order.lines),
    }
    return Change(order, Entry(1, "OrderPlaced", payload, order.created_at, order.effective_at))


def confirm(order: Order, allocations: Allocations, *, at: datetime) -> Change:
    """Return the order as confirmed; one that is decided already comes back as it is, whichever way it went."""
    if order.status is not OrderStatus.PENDING:
        return Change(order, None)
    after = replace(order, status=OrderStatus.CONFIRMED, allocations=allocations)
    payload = {"allocations": allocations_to_json(allocations)}
    return _changed(after, CONFIRMED_ENTRY, payload, at, _decided_when_placed(order, at))


def abandon(order: Order, reason: str, *, at: datetime) -> Change:
    """Return a pending order as cancelled by the checkout; one that is decided already comes back as it is."""
    if order.status is not OrderStatus.PENDING:
        return Change(order, None)
    after = replace(order, status=OrderStatus.CANCELLED, cancel_reason=reason)
    return _changed(after, "OrderCancelled", {"reason": reason}, at, _decided_when_placed(order, at))


def cancel(order: Order, *, at: datetime) -> Change:
    """Return the order as cancelled by its customer; an already cancelled order comes back as it is.

    Raises:
        OrderNotCancellable: The parcel has left, or a part or all of the money was refunded.
    """
    if order.status is OrderStatus.CANCELLED:
        return Change(order, None)
    if order.status not in CANCELLABLE:
        raise OrderNotCancellable(f"the order is {order.status.lower()}", status=order.status)
    if order.refunded_minor:
        raise OrderNotCancellable("a part of the money was refunded: refund the rest instead", status=order.status)
    after = replace(order, status=OrderStatus.CANCELLED, cancel_reason=CUSTOMER)
    return _changed(after, "OrderCancelled", {"reason": CUSTOMER}, at, at)


def ship(order: Order, tracking_code: str, *, at: datetime, effective_at: datetime | None = None) -> Change:
    """Return the order as shipped; one that has left already comes back as it is, with a code if it had none.

    Raises:
        InvalidInput: It would count as having left before it was placed.
        OrderNotShippable: It is not confirmed.
        TrackingCodeConflict: It left under another code.
    """
    counts_from = _effective(order, at, effective_at)
    if order.status in LEFT:
        if tracking_code in ("", order.tracking_code):
            return Change(order, None)
        if order.tracking_code:
            raise TrackingCodeConflict(
                "the parcel left under another tracking code", tracking_code=order.tracking_code, status=order.status
            )
        after = replace(order, tracking_code=tracking_code)
        return _changed(after, "OrderTracked", {"tracking_code": tracking_code}, at, counts_from)
    if order.status is not OrderStatus.CONFIRMED:
        raise OrderNotShippable(f"the order is {order.status.lower()}", status=order.status)
    after = replace(order, status=OrderStatus.SHIPPED, tracking_code=tracking_code)
    return _changed(after, "OrderShipped", {"tracking_code": tracking_code}, at, counts_from)


def deliver(order: Order, *, at: datetime, effective_at: datetime | None = None) -> Change:
    """Return the order as delivered; one that has arrived already comes back as it is.

    Raises:
        OrderNotDeliverable: It has not shipped.
        InvalidInput: It would count as having arrived before it was placed.
    """
    counts_from = _effective(order, at, effective_at)
    if order.status is OrderStatus.DELIVERED:
        return Change(order, None)
    if order.status is not OrderStatus.SHIPPED:
        raise OrderNotDeliverable(f"the order is {order.status.lower()}", status=order.status)
    return _changed(replace(order, status=OrderStatus.DELIVERED), "OrderDelivered", {}, at, counts_from)


def refund(
    order: Order,
    refund_id: UUID,
    *,
    amount_minor: int | None,
    currency: str | None,
    by_owner: bool,
    at: datetime,
    effective_at: datetime | None = None,
    units: Units | None = None,
    shipping_left_minor: int | None = None,
) -> Change:
    """Return the order with a refund decided on it, for units that came back, for shipping or for money alone.

    Without an amount it is what the units cost, or without units all that has not gone back yet. One of shipping says
    what of that is left, and is never more.

    Raises:
        OrderNotRefundable: It is pending, cancelled or refunded, or has had too many refunds of a part.
        OrderNotReturnable: Units come back of a parcel that has not left.
        ReturnExceedsLine: More come back of a line than were bought and have not come back yet.
        SupportRequired: Its owner asks, and the parcel has left, or it would leave with a part of its price taken back:
            they could keep the goods and the money.
        RefundAmountInvalid: The amount is not more than zero, or in another currency.
        RefundExceedsOrder: It is more than what has not gone back yet, or than what is left of the shipping.
        InvalidInput: It would count as decided before the order was placed.
    """
    counts_from = _effective(order, at, effective_at)
    if order.status not in REFUNDABLE:
        raise OrderNotRefundable(f"the order is {order.status.lower()}", status=order.status)
    if by_owner and order.status in LEFT:
        raise SupportRequired(
            f"the order is {order.status.lower()}: our support decides on its refunds", status=order.status
        )
    left_minor = order.total_minor - order.refunded_minor
    of_shipping = shipping_left_minor is not None
    most_minor = left_minor if shipping_left_minor is None else min(left_minor, shipping_left_minor)
    if units:
        _check_returned(order, units)
    if of_shipping and not most_minor:
        raise RefundExceedsOrder("nothing is left of the shipping", left_minor=0, currency=order.currency)
    if amount_minor is None:
        amount_minor, currency = (cost_of(order, units) if units else most_minor), order.currency
    if currency != order.currency:
        raise RefundAmountInvalid(f"the order is in {order.currency}, not {currency}", currency=order.currency)
    if amount_minor <= 0:
        raise RefundAmountInvalid(f"a refund is more than zero {order.currency}")
    if amount_minor > most_minor:
        of = "shipping" if of_shipping else "order"
        raise RefundExceedsOrder(f"more than is left of the {of}", left_minor=most_minor, currency=order.currency)
    full = amount_minor == left_minor
    if by_owner and not full:
        raise SupportRequired(
            "the parcel is still to leave: take all back, or ask our support for a part", status=order.status
        )
    if not full and order.version >= MAX_VERSION - VERSIONS_FOR_THE_END:
        raise OrderNotRefundable("the order has had too many refunds: only all that is left can go back")
    # Goods that never left go back on the shelf with the last penny; returned goods are another decision.
    release = full and order.status is OrderStatus.CONFIRMED
    return _refunded(
        order,
        refund_id,
        amount_minor,
        full=full,
        release=release,
        at=at,
        effective_at=counts_from,
        units=units,
        of_shipping=of_shipping,
    )


def shipping_left(order: Order, entries: Iterable[Entry]) -> int:
    """Return what of an order's shipping has not gone back as such, as its journal has it."""
    gone = (entry.payload["amount_minor"] for entry in entries if entry.payload.get("of_shipping"))
    return order.shipping_minor - sum(gone)


def cost_of(order: Order, units: Units) -> int:
    """Return what units of an order cost, those that came back before counted first.

    A line's price need not divide by its units: all of them together cost what the line does, however they come back.
    """
    cost_minor = 0
    for line in order.lines:
        before = order.returned.get(line.number, 0)
        after = before + units.get(line.number, 0)
        cost_minor += after * line.line_total_minor // line.quantity - before * line.line_total_minor // line.quantity
    return cost_minor


def _check_returned(order: Order, units: Units) -> None:
    if order.status not in LEFT:
        raise OrderNotReturnable(f"the order is {order.status.lower()}", status=order.status)
    bought = {line.number: line.quantity for line in order.lines}
    for number, count in units.items():
        left = bought.get(number, 0) - order.returned.get(number, 0)
        if count > left:
            raise ReturnExceedsLine(f"line {number}: {left} are left to come back", line_number=number, left=left)


def sent_back(order: Order, refund_id: UUID, amount_minor: int, *, at: datetime) -> Change:
    """Return a cancelled order with the money that its undo sent back; one that shows it already comes back as it is.

    An order of which anything was refunded is never cancelled, so what a cancelled one shows is of its undo.
    """
    assert order.status is OrderStatus.CANCELLED, f"the undo of an order that is {order.status}"
    if order.refunded_minor or not amount_minor:
        return Change(order, None)
    return _refunded(order, refund_id, amount_minor, full=amount_minor == order.total_minor, release=False, at=at)


def status_after_refund(before: OrderStatus, *, full: bool) -> OrderStatus:
    """Return the status of an order after a refund: a cancelled one stays so, the last penny ends any other."""
    return OrderStatus.REFUNDED if full and before is not OrderStatus.CANCELLED else before


def _refunded(
    order: Order,
    refund_id: UUID,
    amount_minor: int,
    *,
    full: bool,
    release: bool,
    at: datetime,
    effective_at: datetime | None = None,
    units: Units | None = None,
    of_shipping: bool = False,
) -> Change:
    payload: dict[str, Any] = {
        "refund_id": str(refund_id),
        "amount_minor": amount_minor,
        "full": full,
        "release": release,
    }
    if units:
        payload["units"] = units_to_json(units)
    if of_shipping:
        payload["of_shipping"] = True
    after = replace(
        order,
        status=status_after_refund(order.status, full=full),
        refunded_minor=order.refunded_minor + amount_minor,
        returned=added(order.returned, units or {}),
    )
    return _changed(after, "OrderRefunded", payload, at, effective_at or at)


def _decided_when_placed(order: Order, at: datetime) -> datetime:
    """Return when the checkout's decision counts: now, or for an imported order, when that counts as placed."""
    return order.effective_at if order.imported else at


def _effective(order: Order, at: datetime, effective_at: datetime | None) -> datetime:
    """Return when a decision counts: now, or when its importer says."""
    if effective_at is not None and effective_at < order.effective_at:
        raise InvalidInput.of("effective_time", "must not be before the order")
    return effective_at or at


def _changed(order: Order, kind: str, payload: Mapping[str, Any], at: datetime, effective_at: datetime) -> Change:
    after = replace(order, version=order.version + 1, updated_at=at)
    return Change(after, Entry(after.version, kind, payload, at, effective_at))
