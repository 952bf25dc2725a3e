"""What a refund is made of around its decision: who asks for it, what came back, its credit notes and its effect."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from mesh import powers
from mesh.powers import Reach
from mesh.refusals import InvalidInput
from svc_order.checkout.store import Effect, ReturnedUnits
from svc_order.credit_note import store as credit_notes
from svc_order.errors import RefundLimitExceeded
from svc_order.order import lines, rules
from svc_order.order.values import money, timestamp
from svc_order.split import rules as split
from titan.order.v1 import order_pb2
from titan.order.v1 import order_service_pb2 as pb
from titan.payment.v1 import refund_pb2


async def credit(tx: asyncpg.Connection, change: rules.Change, so_far: split.Parts) -> None:
    """Issue the credit notes of a refund of an order that has left."""
    assert change.entry is not None, "a refund is always a new decision"
    payload = change.entry.payload
    parts = payload.get("shares") or {split.HOUSE: payload["amount_minor"]}
    await credit_notes.issue(
        tx,
        change.order,
        UUID(payload["refund_id"]),
        split.credits(change.order, parts, so_far),
        at=change.entry.recorded_at,
        effective_at=change.entry.effective_at,
    )


def is_owners_wish(order: rules.Order, reach: Reach) -> bool:
    """Return whether a refund is its owner's wish, as of whoever may not decide on an order of their own."""
    if not reach.anybodys:
        return True
    return order.user_id == reach.user_id and not powers.may_move(order.user_id, order.currency, 0)


def check_limit(order: rules.Order) -> None:
    """Refuse a refund after which more has gone back of an order than the caller decides on.

    Raises:
        RefundLimitExceeded: It is so, or the caller decides on nothing in that currency.
    """
    if not powers.may_move(order.user_id, order.currency, order.refunded_minor):
        raise RefundLimitExceeded("so much of one order goes back by an administrator's decision")


def returned(request: pb.CreateRefundRequest) -> dict[int, int]:
    """Return the units that came back, by line number."""
    units = {line.line_number: line.quantity for line in request.lines}
    if len(units) < len(request.lines):
        raise InvalidInput.of("lines", "a line stands twice")
    if request.restock and not units:
        raise InvalidInput.of("restock", "needs the lines that came back")
    if request.of_shipping and units:
        raise InvalidInput.of("of_shipping", "is no refund of lines: ask for each")
    return units


def effect_of(change: rules.Change, *, restock: lines.Units) -> Effect:
    """Return what a refund has to do elsewhere; `restock` are the units that go on the shelf again."""
    assert change.entry is not None, "a refund is always a new decision"
    payload = change.entry.payload
    return Effect(
        effect_id=UUID(payload["refund_id"]),
        order_id=change.order.order_id,
        kind="REFUND",
        amount_minor=payload["amount_minor"],
        currency=change.order.currency,
        release=payload["release"],
        restock=tuple(
            ReturnedUnits(line.number, line.sku, restock[line.number])
            for line in change.order.lines
            if line.number in restock
        ),
    )


def to_wire(effect: Effect, change: rules.Change) -> order_pb2.OrderRefund:
    """Return a refund as it travels: decided, its money on the way."""
    return order_pb2.OrderRefund(
        refund_id=str(effect.effect_id),
        order_id=str(effect.order_id),
        amount=money(effect.amount_minor or 0, effect.currency or ""),
        status=refund_pb2.REFUND_STATUS_IN_PROGRESS,
        create_time=timestamp(change.order.updated_at),
    )
