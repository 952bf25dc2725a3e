"""What a payment may become: pure decisions, without clock, network or database.

A decision returns the payment as it will be. What a provider's answers make of it is decided in `answers`. What follows
from a change (movements in the ledger, events) is read off the two by `effects`, so no decision can forget one.

    IN_PROGRESS -> AUTHORIZED -> CAPTURING -> CAPTURED        a wallet goes straight through, without CAPTURING
        |  \\-> ACTION_REQUIRED -> AUTHORIZED or REFUSED
        \\-> REFUSED
    anything before CAPTURING -> VOIDING -> VOIDED             a void is decided first and wins for ever
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from svc_payment.errors import (
    CurrencyNotSupported,
    InsufficientFunds,
    PaymentCaptured,
    PaymentConflict,
    PaymentDeclined,
    PaymentNotAuthorized,
    PaymentVoided,
    ProviderUnknown,
)
from svc_payment.ledger import rules as ledger

WALLET = "wallet"
"""The provider name of payments from a wallet; no provider may be called so."""

DEFAULT_PROVIDER = "psp_sim"
"""The provider of a card that names none."""

INSUFFICIENT_FUNDS = InsufficientFunds.reason
PAYMENT_DECLINED = PaymentDeclined.reason


class Status(StrEnum):
    """Where a payment stands inside this package; the contract knows CAPTURING as AUTHORIZED and VOIDING as VOIDED."""

    IN_PROGRESS = "IN_PROGRESS"
    ACTION_REQUIRED = "ACTION_REQUIRED"
    AUTHORIZED = "AUTHORIZED"
    CAPTURING = "CAPTURING"
    CAPTURED = "CAPTURED"
    REFUSED = "REFUSED"
    VOIDING = "VOIDING"
    VOIDED = "VOIDED"


UNDECIDED = frozenset({Status.IN_PROGRESS, Status.ACTION_REQUIRED})


@dataclass(frozen=True, slots=True)
class Intent:
    """What one order asks for. `card_token` is None for the wallet."""

    order_id: uuid.UUID
    user_id: uuid.UUID
    amount_minor: int
    currency: str
    provider: str
    card_token: str | None = None

    def __repr__(self) -> str:
        return f"Intent(order_id={self.order_id}, provider={self.provider!r})"

    @property
    def fingerprint(self) -> bytes:
        """A hash of all that was asked, the card included, salted by the order."""
        content = [self.order_id, self.user_id, self.amount_minor, self.currency, self.provider, self.card_token or ""]
        return hashlib.sha256("\n".join(map(str, content)).encode()).digest()


@dataclass(frozen=True, slots=True)
class Payment:
    """The payment of one order. Without an amount it is the tombstone of an order that was voided before it came."""

    order_id: uuid.UUID
    payment_id: uuid.UUID
    status: Status
    created_at: datetime
    user_id: uuid.UUID | None = None
    provider: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    fingerprint: bytes | None = None
    captured_minor: int = 0
    refunding_minor: int = 0
    refunded_minor: int = 0
    provider_reference: str | None = None
    refusal_reason: str | None = None
    decline_code: str | None = None
    action_url: str | None = None
    action_expires_at: datetime | None = None
    version: int = 0

    @property
    def is_tombstone(self) -> bool:
        """Nobody ever asked for this payment."""
        return self.amount_minor is None

    @property
    def by_provider(self) -> bool:
        """A provider holds the money; not the wallet, and not nobody because the amount is nothing."""
        return self.provider != WALLET and bool(self.amount_minor)

    @property
    def hold(self) -> ledger.Transfer:
        """The pending transfer that holds the money of a wallet payment; its id is the payment's."""
        assert self.user_id is not None and self.currency is not None and self.amount_minor
        return ledger.Transfer(
            transfer_id=self.payment_id,
            group_id=self.payment_id,
            kind=ledger.TransferKind.PAYMENT,
            debit=ledger.wallet(self.user_id, self.currency),
            credit=ledger.sales(self.currency),
            amount_minor=self.amount_minor,
            pending=True,
            order_id=self.order_id,
        )


def check_intent(intent: Intent, *, providers: Iterable[str], currencies: Iterable[str]) -> None:
    """Hold what is asked against what the shop can do, before anything is stored.

    Raises:
        CurrencyNotSupported: Not a currency of the shop.
        ProviderUnknown: Not a provider of the shop.
    """
    if intent.currency not in currencies:
        raise CurrencyNotSupported(f"{intent.currency} is not taken here", currency_code=intent.currency)
    if intent.card_token is not None and intent.provider not in providers:
        raise ProviderUnknown(f"there is no provider {intent.provider}", provider=intent.provider)


def begin(intent: Intent, *, payment_id: uuid.UUID, at: datetime) -> Payment:
    """Return the payment that an intent opens; one of nothing is authorized by itself."""
    return Payment(
        order_id=intent.order_id,
        payment_id=payment_id,
        status=Status.IN_PROGRESS if intent.amount_minor else Status.AUTHORIZED,
        created_at=at,
        user_id=intent.user_id,
        provider=intent.provider,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        fingerprint=intent.fingerprint,
    )


def tombstone(order_id: uuid.UUID, *, payment_id: uuid.UUID, at: datetime) -> Payment:
    """Return the payment of an order that was voided before it came."""
    return Payment(order_id=order_id, payment_id=payment_id, status=Status.VOIDED, created_at=at)


def hold_in_wallets(payments: Sequence[Payment], available_minor: Mapping[uuid.UUID, int]) -> list[Payment]:
    """Decide wallet payments in arrival order: each is authorized or refused by what its wallet holds by then.

    `available_minor` is what each user can spend; a user who is not in it has no wallet.
    """
    left = dict(available_minor)
    decided = []
    for payment in payments:
        assert payment.user_id is not None and payment.amount_minor is not None
        if payment.amount_minor <= left.get(payment.user_id, 0):
            left[payment.user_id] -= payment.amount_minor
            decided.append(replace(payment, status=Status.AUTHORIZED))
        else:
            decided.append(replace(payment, status=Status.REFUSED, refusal_reason=INSUFFICIENT_FUNDS))
    return decided


def refuse_repeated(payment: Payment, intent: Intent) -> None:
    """Hold a repeated authorize against what is stored.

    Raises:
        PaymentVoided: The order was voided, perhaps before this call ever came.
        PaymentConflict: The order asked before for something else.
        PaymentDeclined, InsufficientFunds: As it was answered before.
    """
    if not payment.is_tombstone and payment.fingerprint != intent.fingerprint:
        raise PaymentConflict("this order asked before for another amount, another way or another customer")
    if payment.status in (Status.VOIDING, Status.VOIDED):
        raise PaymentVoided("the payment of this order was voided")
    refuse_refused(payment)


def refuse_refused(payment: Payment) -> None:
    """Say a refusal again.

    Raises:
        PaymentDeclined, InsufficientFunds: It was refused.
    """
    if payment.status is not Status.REFUSED:
        return
    if payment.refusal_reason == INSUFFICIENT_FUNDS:
        raise InsufficientFunds("the wallet does not hold enough")
    raise declined(payment.decline_code)


def declined(decline_code: str | None) -> PaymentDeclined:
    """Return the refusal of a card, with the provider's code for programs."""
    if decline_code is None:
        return PaymentDeclined("the card was declined")
    return PaymentDeclined("the card was declined", decline_code=decline_code)


def capture(payment: Payment) -> Payment:
    """Decide to take the money that is held; what is taken or being taken already comes back as it is.

    Raises:
        PaymentVoided: It was let go.
        PaymentNotAuthorized: Nothing is held.
    """
    match payment.status:
        case Status.CAPTURING | Status.CAPTURED:
            return payment
        case Status.AUTHORIZED if payment.by_provider:
            return replace(payment, status=Status.CAPTURING)
        case Status.AUTHORIZED:
            return captured(payment)
        case Status.VOIDING | Status.VOIDED:
            raise PaymentVoided("the payment of this order was voided")
        case _:
            raise PaymentNotAuthorized(f"nothing is held: the payment is {payment.status}")


def captured(payment: Payment) -> Payment:
    """Return the payment with its money taken."""
    assert payment.amount_minor is not None
    return replace(payment, status=Status.CAPTURED, captured_minor=payment.amount_minor)


def void(payment: Payment) -> Payment:
    """Decide to let the money go; what is let go or was refused comes back as it is.

    Raises:
        PaymentCaptured: The money was taken, or is being taken; it can only be refunded.
    """
    match payment.status:
        case Status.VOIDING | Status.VOIDED | Status.REFUSED:
            return payment
        case Status.CAPTURING | Status.CAPTURED:
            raise PaymentCaptured("the money was taken; refund it instead")
        case _ if payment.by_provider:
            return without_action(replace(payment, status=Status.VOIDING))
        case _:
            return replace(payment, status=Status.VOIDED)


def is_done(payment: Payment) -> bool:
    """Return whether a capture or a void that was decided is complete."""
    return payment.status not in (Status.CAPTURING, Status.VOIDING)


def without_action(payment: Payment) -> Payment:
    """Return the payment with nothing left for the customer to do."""
    return replace(payment, action_url=None, action_expires_at=None)
