"""What follows from a change of a payment, in the ledger and in events: read off the payment before and after."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from svc_payment.ledger import rules as ledger
from svc_payment.payment import rules
from svc_payment.payment.rules import Payment, Status


class EventType(StrEnum):
    """The public events of a payment, by the name of their message."""

    AUTHORIZED = "PaymentAuthorized"
    REFUSED = "PaymentRefused"
    CAPTURED = "PaymentCaptured"
    VOIDED = "PaymentVoided"
    REFUNDED = "PaymentRefunded"


@dataclass(frozen=True, slots=True)
class Effects:
    """What follows from a change of one payment."""

    transfers: tuple[ledger.Transfer, ...] = ()
    resolutions: tuple[ledger.Resolution, ...] = ()
    event: EventType | None = None


_EVENTS: Mapping[Status, EventType] = {
    Status.AUTHORIZED: EventType.AUTHORIZED,
    Status.REFUSED: EventType.REFUSED,
    Status.CAPTURED: EventType.CAPTURED,
    Status.VOIDED: EventType.VOIDED,
}


def of_change(before: Payment | None, after: Payment, *, transfer_id: uuid.UUID) -> Effects:
    """Return the movements and the event that follow from a change; `before` is None for a new payment.

    `transfer_id` is the id of the transfer of a card capture, if there is one.
    """
    was = None if before is None else before.status
    if was is after.status or after.is_tombstone:
        return Effects()
    event = _EVENTS.get(after.status)
    if after.provider != rules.WALLET:
        if after.status is Status.CAPTURED and after.amount_minor:
            return Effects((card_capture(after, transfer_id),), (), event)
        return Effects((), (), event)
    if not after.amount_minor:
        return Effects((), (), event)
    match after.status:
        case Status.AUTHORIZED:
            return Effects((after.hold,), (), event)
        case Status.CAPTURED:
            return Effects((), (ledger.Resolution(after.hold, ledger.Outcome.POSTED),), event)
        case Status.VOIDED if was is Status.AUTHORIZED:
            return Effects((), (ledger.Resolution(after.hold, ledger.Outcome.VOIDED),), event)
    return Effects((), (), event)


def card_capture(payment: Payment, transfer_id: uuid.UUID) -> ledger.Transfer:
    """Return the movement of a captured card payment: the provider owes it, the shop sold for it."""
    assert payment.provider is not None and payment.currency is not None and payment.amount_minor
    return ledger.Transfer(
        transfer_id=transfer_id,
        group_id=payment.payment_id,
        kind=ledger.TransferKind.PAYMENT,
        debit=ledger.clearing(payment.provider, payment.currency),
        credit=ledger.sales(payment.currency),
        amount_minor=payment.amount_minor,
        order_id=payment.order_id,
    )
