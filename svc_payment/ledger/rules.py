"""What a movement of money does to the balances of its two accounts; and which account is whose.

Pure: no database, no clock. A transfer is one row with two accounts and one amount, so it cannot be out of balance. It
is posted at once, or pending first and then posted or voided, as a whole (the two-phase transfer of TigerBeetle).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_NAMESPACE = uuid.UUID("0192f3a0-5d1c-7c53-9a4e-6f2b1c0d9e11")


class OwnerKind(StrEnum):
    """Whose account it is."""

    USER = "user"
    HOUSE = "house"
    SELLER = "seller"


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the ledger. Its id follows from what it is, so that nobody has to look it up."""

    code: str
    currency: str
    user_id: uuid.UUID | None = None
    seller_id: str | None = None

    @property
    def owner_kind(self) -> OwnerKind:
        """Only accounts of the house may stand below zero, and of a seller who was paid out: see `store.let_owe`."""
        if self.seller_id is not None:
            return OwnerKind.SELLER
        return OwnerKind.HOUSE if self.user_id is None else OwnerKind.USER

    @property
    def account_id(self) -> uuid.UUID:
        """A UUIDv5 of owner, code and currency; a seller's name may hold any sign, and stands between fixed words."""
        owner = f"seller/{self.seller_id}" if self.seller_id is not None else self.user_id or "house"
        return uuid.uuid5(_NAMESPACE, f"{owner}/{self.code}/{self.currency}")


def wallet(user_id: uuid.UUID, currency: str) -> Account:
    """Return a user's wallet."""
    return Account("wallet", currency, user_id)


def sales(currency: str) -> Account:
    """Return the account that captured payments of orders flow into."""
    return Account("sales", currency)


def clearing(provider: str, currency: str) -> Account:
    """Return the account of what a provider owes the house."""
    return Account(f"clearing.{provider}", currency)


def imported(currency: str) -> Account:
    """Return the account that balances from other systems come from."""
    return Account("import", currency)


def escrow(seller_id: str, currency: str) -> Account:
    """Return the account of what customers paid for a seller's goods that have not arrived."""
    return Account("escrow", currency, seller_id=seller_id)


def payable(seller_id: str, currency: str) -> Account:
    """Return the account of what the house owes a seller."""
    return Account("payable", currency, seller_id=seller_id)


def payouts(currency: str) -> Account:
    """Return the account of what the house's banks are to send to sellers, and have sent."""
    return Account("payouts", currency)


def fees(currency: str) -> Account:
    """Return the account of what the platform earned of other sellers' sales."""
    return Account("fees", currency)


class TransferKind(StrEnum):
    """What a movement is for."""

    PAYMENT = "payment"
    REFUND = "refund"
    TOP_UP = "top_up"
    CREDIT = "credit"
    HOLD = "hold"
    RELEASE = "release"
    FEE = "fee"
    TAKE_BACK = "take_back"
    PAYOUT = "payout"


class Outcome(StrEnum):
    """How a pending transfer ended."""

    POSTED = "posted"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money from the debited account to the credited one. The legs of a larger movement share a group id."""

    transfer_id: uuid.UUID
    group_id: uuid.UUID
    kind: TransferKind
    debit: Account
    credit: Account
    amount_minor: int
    pending: bool = False
    order_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if self.amount_minor <= 0:
            raise ValueError("a transfer moves more than nothing")
        if self.debit.currency != self.credit.currency:
            raise ValueError("a transfer stays in one currency")
        if self.debit == self.credit:
            raise ValueError("a transfer needs two accounts")

    @property
    def currency(self) -> str:
        """The currency of both accounts."""
        return self.debit.currency


@dataclass(frozen=True, slots=True)
class Resolution:
    """The end of a pending transfer, for its whole amount."""

    transfer: Transfer
    outcome: Outcome


@dataclass(slots=True)
class Delta:
    """By how much the four sums of one balance change."""

    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0


def deltas(transfers: Iterable[Transfer], resolutions: Iterable[Resolution]) -> dict[Account, Delta]:
    """Return what new transfers and resolutions change, summed by account."""
    changed: dict[Account, Delta] = defaultdict(Delta)
    for each in transfers:
        if each.pending:
            changed[each.debit].pending_debits += each.amount_minor
            changed[each.credit].pending_credits += each.amount_minor
        else:
            changed[each.debit].posted_debits += each.amount_minor
            changed[each.credit].posted_credits += each.amount_minor
    for end in resolutions:
        debit, credit = changed[end.transfer.debit], changed[end.transfer.credit]
        debit.pending_debits -= end.transfer.amount_minor
        credit.pending_credits -= end.transfer.amount_minor
        if end.outcome is Outcome.POSTED:
            debit.posted_debits += end.transfer.amount_minor
            credit.posted_credits += end.transfer.amount_minor
    return dict(changed)
