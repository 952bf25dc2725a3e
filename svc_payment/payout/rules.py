"""What may be paid out to a seller: pure decisions.

A payout is all that the seller's account holds and that is not set aside, never more, so nothing is paid twice. It is a
two-phase transfer: pending when it is made, posted once a bank has sent it, voided where it has not. A bank hears of it
once: it is handed over with one batch, and can't be paid before.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from svc_payment.errors import NothingPayable, PayoutNotSent, PayoutSettled
from svc_payment.ledger import rules as ledger
from svc_payment.ledger.rules import Outcome, Resolution, Transfer, TransferKind


class PayoutStatus(StrEnum):
    """Where a payout stands; the twin of `titan.payment.v1.PayoutStatus`."""

    PENDING = "PENDING"
    SENT = "SENT"
    PAID = "PAID"
    FAILED = "FAILED"


OUTCOMES = {PayoutStatus.PAID: Outcome.POSTED, PayoutStatus.FAILED: Outcome.VOIDED}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to pay out, in which currency, for which period: the key of a payout."""

    seller_id: str
    currency: str
    period: str


@dataclass(frozen=True, slots=True)
class Payout:
    """What was set aside for a seller."""

    payout_id: uuid.UUID
    seller_id: str
    currency: str
    period: str
    amount_minor: int
    status: PayoutStatus
    bank_reference: str
    created_at: datetime
    batch_id: uuid.UUID | None = None
    settled_at: datetime | None = None

    @property
    def transfer(self) -> Transfer:
        """What it moves: out of what the house owes the seller, to the banks."""
        return Transfer(
            transfer_id=self.payout_id,
            group_id=self.payout_id,
            kind=TransferKind.PAYOUT,
            debit=ledger.payable(self.seller_id, self.currency),
            credit=ledger.payouts(self.currency),
            amount_minor=self.amount_minor,
            pending=True,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Payouts that a bank is told of together."""

    batch_id: uuid.UUID
    period: str
    payouts: int
    created_at: datetime


def draw(payout_id: uuid.UUID, wanted: Wanted, available_minor: int, *, at: datetime) -> Payout:
    """Return the payout of all that is available.

    Raises:
        NothingPayable: It is nothing, or the seller owes something.
    """
    if available_minor <= 0:
        raise NothingPayable(
            "the seller is owed nothing that could be paid out", payable_minor=available_minor, currency=wanted.currency
        )
    return Payout(
        payout_id=payout_id,
        seller_id=wanted.seller_id,
        currency=wanted.currency,
        period=wanted.period,
        amount_minor=available_minor,
        status=PayoutStatus.PENDING,
        bank_reference="",
        created_at=at,
    )


def settle(payout: Payout, status: PayoutStatus, bank_reference: str, *, at: datetime) -> Payout:
    """Return a payout as a bank has left it; one that ended like this already comes back as it is.

    Raises:
        PayoutSettled: It ended the other way.
        PayoutNotSent: It is said to be paid, and no bank was told of it. To fail it may: no bank is told of it then.
    """
    if payout.status is status:
        return payout
    if payout.status in OUTCOMES:
        raise PayoutSettled(f"the payout is {payout.status.value}", status=payout.status.value)
    if status is PayoutStatus.PAID and payout.status is not PayoutStatus.SENT:
        raise PayoutNotSent("no bank was told of the payout", status=payout.status.value)
    return replace(payout, status=status, bank_reference=bank_reference, settled_at=at)


def resolution(payout: Payout) -> Resolution:
    """Return how the transfer of a settled payout ends."""
    return Resolution(payout.transfer, OUTCOMES[payout.status])
