"""What may go back of a payment: pure decisions."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from mesh.refusals import InvalidInput
from svc_payment.errors import PaymentNotCaptured, RefundConflict, RefundTooLarge
from svc_payment.ledger import rules as ledger
from svc_payment.payment.rules import WALLET, Payment, Status
from svc_payment.split.rules import Sold


class RefundStatus(StrEnum):
    """Where a refund stands."""

    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Asked:
    """A refund as an order asks for it; without an amount, all that is left. Who sold it, and who bears what of it."""

    refund_id: uuid.UUID
    order_id: uuid.UUID
    amount_minor: int | None
    currency: str | None
    sold: Sold = field(default_factory=dict)
    borne: Sold = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that was decided. Who sold and bears what is None where it was decided before that was asked for."""

    refund_id: uuid.UUID
    order_id: uuid.UUID
    asked_minor: int | None
    amount_minor: int
    currency: str
    status: RefundStatus
    created_at: datetime
    done_at: datetime | None = None
    sold: Sold | None = None
    borne: Sold | None = None


def check(asked: Asked) -> None:
    """Hold an amount against the contract.

    Raises:
        InvalidInput: It is not more than zero.
    """
    if asked.amount_minor is not None and asked.amount_minor <= 0:
        raise InvalidInput.of("amount.minor_units", "must be more than zero")


def refuse_other(stored: Refund, asked: Asked) -> None:
    """Hold a repeated refund against the stored one.

    Raises:
        RefundConflict: It is for another order or amount, or sellers sold or bear something else.
    """
    same_currency = asked.currency in (None, stored.currency)
    if (stored.order_id, stored.asked_minor) != (asked.order_id, asked.amount_minor) or not same_currency:
        raise RefundConflict("this refund was asked for before, for another order or amount")
    if stored.sold not in (None, asked.sold) or stored.borne not in (None, asked.borne):
        raise RefundConflict("this refund was asked for before, with other sellers")


def decide(payment: Payment, asked: Asked, *, at: datetime) -> tuple[Payment, Refund]:
    """Decide a new refund. Money of a wallet is back at once; a provider has to be asked.

    A capture that was decided but not done yet can be refunded: the refund waits for it.

    Raises:
        PaymentNotCaptured: Nothing was taken.
        RefundTooLarge: More would go back than was taken.
        RefundConflict: The payment is in another currency.
    """
    if payment.status not in (Status.CAPTURED, Status.CAPTURING):
        raise PaymentNotCaptured(f"nothing was taken: the payment is {payment.status}")
    assert payment.amount_minor is not None and payment.currency is not None
    if asked.currency not in (None, payment.currency):
        raise RefundConflict("the payment is in another currency")
    left_minor = payment.amount_minor - payment.refunded_minor - payment.refunding_minor
    amount_minor = left_minor if asked.amount_minor is None else asked.amount_minor
    if amount_minor > left_minor:
        raise RefundTooLarge("more would go back than was taken", left_minor=left_minor)
    refund = Refund(
        asked.refund_id,
        asked.order_id,
        asked.amount_minor,
        amount_minor,
        payment.currency,
        RefundStatus.IN_PROGRESS,
        created_at=at,
        sold=asked.sold,
        borne=asked.borne,
    )
    payment = replace(payment, refunding_minor=payment.refunding_minor + amount_minor)
    if payment.provider == WALLET or amount_minor == 0:
        return finish(payment, refund, at=at)
    return payment, refund


def finish(payment: Payment, refund: Refund, *, at: datetime) -> tuple[Payment, Refund]:
    """Return both after the money went back; a refund that is done already comes back as it is."""
    if refund.status is RefundStatus.DONE:
        return payment, refund
    payment = replace(
        payment,
        refunding_minor=payment.refunding_minor - refund.amount_minor,
        refunded_minor=payment.refunded_minor + refund.amount_minor,
    )
    return payment, replace(refund, status=RefundStatus.DONE, done_at=at)


def transfer(payment: Payment, refund: Refund) -> ledger.Transfer:
    """Return the movement of a refund that is done: the way of the capture, backwards. Its id is the refund's."""
    assert payment.user_id is not None and payment.currency is not None and payment.provider is not None
    if payment.provider == WALLET:
        back_to = ledger.wallet(payment.user_id, payment.currency)
    else:
        back_to = ledger.clearing(payment.provider, payment.currency)
    return ledger.Transfer(
        transfer_id=refund.refund_id,
        group_id=payment.payment_id,
        kind=ledger.TransferKind.REFUND,
        debit=ledger.sales(payment.currency),
        credit=back_to,
        amount_minor=refund.amount_minor,
        order_id=payment.order_id,
    )
