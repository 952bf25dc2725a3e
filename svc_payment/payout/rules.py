"""What may be paid out to a seller: pure decisions.

A payout takes entries of the seller's account, each into one payout that did not fail, so it can't pay anything twice;
and never more than the account holds. It is a two-phase transfer: pending when it is made, posted once a bank has sent
it, voided where it has not.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from svc_payment.errors import NothingPayable, PayoutSettled
from svc_payment.ledger import rules as ledger
from svc_payment.ledger.rules import Outcome, Resolution, Transfer, TransferKind


class PayoutStatus(StrEnum):
    """Where a payout stands; the twin of `titan.payment.v1.PayoutStatus`."""

    PENDING = "PENDING"
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
    line_count: int
    status: PayoutStatus
    bank_reference: str
    created_at: datetime
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
class Entries:
    """The entries of a seller's account that no payout has: how many they are, and what they come to."""

    count: int
    amount_minor: int


def draw(payout_id: uuid.UUID, wanted: Wanted, entries: Entries, available_minor: int, *, at: datetime) -> Payout:
    """Return the payout of all these entries.

    Raises:
        NothingPayable: They come to nothing, or to less, or to more than the account holds.
    """
    amount_minor = entries.amount_minor
    if not 0 < amount_minor <= available_minor:
        raise NothingPayable(
            "the seller is owed nothing that could be paid out", payable_minor=available_minor, currency=wanted.currency
        )
    return Payout(
        payout_id=payout_id,
        seller_id=wanted.seller_id,
        currency=wanted.currency,
        period=wanted.period,
        amount_minor=amount_minor,
        line_count=entries.count,
        status=PayoutStatus.PENDING,
        bank_reference="",
        created_at=at,
    )


def settle(payout: Payout, status: PayoutStatus, bank_reference: str, *, at: datetime) -> Payout:
    """Return a payout as a bank has left it; one that ended like this already comes back as it is.

    Raises:
        PayoutSettled: It ended the other way.
    """
    if payout.status is status:
        return payout
    if payout.status is not PayoutStatus.PENDING:
        raise PayoutSettled(f"the payout is {payout.status.value}", status=payout.status.value)
    return replace(payout, status=status, bank_reference=bank_reference, settled_at=at)


def resolution(payout: Payout) -> Resolution:
    """Return how the transfer of a settled payout ends."""
    return Resolution(payout.transfer, OUTCOMES[payout.status])
