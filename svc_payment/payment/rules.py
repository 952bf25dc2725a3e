"""What a payment may become: pure decisions, without clock, network or database.

A decision returns the payment as it will be. What follows from the change (movements in the ledger, events) is read off
the two by `effects`, so no decision can forget one.

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
from svc_payment.providers.interface import Authorization, Notice, NoticeKind, Outcome, ProviderPayment

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
            return _without_action(replace(payment, status=Status.VOIDING))
        case _:
            return replace(payment, status=Status.VOIDED)


def is_done(payment: Payment) -> bool:
    """Return whether a capture or a void that was decided is complete."""
    return payment.status not in (Status.CAPTURING, Status.VOIDING)


def authorized(payment: Payment, answer: Authorization) -> Payment:
    """Return the payment after its provider said how the authorization stands, whenever that answer comes.

    A success for a payment that was refused or voided in the meantime has to be voided at the provider.
    """
    payment = replace(payment, provider_reference=answer.provider_reference or payment.provider_reference)
    match payment.status, answer.outcome:
        case Status.IN_PROGRESS | Status.ACTION_REQUIRED, Outcome.AUTHORIZED:
            return _without_action(replace(payment, status=Status.AUTHORIZED))
        case Status.IN_PROGRESS | Status.ACTION_REQUIRED, Outcome.REFUSED:
            return _without_action(
                replace(
                    payment,
                    status=Status.REFUSED,
                    refusal_reason=PAYMENT_DECLINED,
                    decline_code=answer.refusal_code,
                )
            )
        case Status.IN_PROGRESS | Status.ACTION_REQUIRED, Outcome.ACTION_REQUIRED if answer.action is not None:
            return replace(
                payment,
                status=Status.ACTION_REQUIRED,
                action_url=answer.action.url,
                action_expires_at=answer.action.expires_at,
            )
        case Status.ACTION_REQUIRED, Outcome.IN_PROGRESS:
            return _without_action(replace(payment, status=Status.IN_PROGRESS))
        case Status.REFUSED | Status.VOIDED, Outcome.AUTHORIZED | Outcome.ACTION_REQUIRED | Outcome.IN_PROGRESS:
            return replace(payment, status=Status.VOIDING)
    return payment


def voided(payment: Payment) -> Payment:
    """Return the payment after its provider let the money go."""
    return replace(payment, status=Status.VOIDED) if payment.status is Status.VOIDING else payment


def seen_at_provider(payment: Payment, seen: ProviderPayment) -> Payment:
    """Return the payment after its provider was asked how it stands.

    What the provider holds of another amount or currency is never taken for ours: the payment stays as it is.
    """
    if is_foreign(payment, seen):
        return payment
    if payment.status is Status.CAPTURING and seen.captured_minor == payment.amount_minor:
        return captured(payment)
    return authorized(payment, seen.authorization)


def is_foreign(payment: Payment, seen: ProviderPayment) -> bool:
    """Return whether a provider has something else under this payment's id; a tombstone there has no amount."""
    assert payment.amount_minor is not None and payment.currency is not None
    return not seen.is_of(payment.amount_minor, payment.currency) and not (seen.is_voided and not seen.currency)


def late_capture_minor(payment: Payment, seen: ProviderPayment) -> int:
    """Return how much a provider took for a payment that was let go, and has to give back."""
    if payment.status is not Status.VOIDING:
        return 0
    return seen.captured_minor - seen.refunded_minor


class Call(StrEnum):
    """What to ask a provider next."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    QUERY = "query"


def next_call(payment: Payment, *, has_token: bool) -> Call:
    """Return what the provider has to be asked, by where the payment stands.

    An authorization under way is asked for again rather than queried, because the provider may never have seen it.
    """
    match payment.status:
        case Status.IN_PROGRESS if has_token:
            return Call.AUTHORIZE
        case Status.CAPTURING:
            return Call.CAPTURE
        case Status.VOIDING:
            return Call.VOID
        case _:
            return Call.QUERY


def is_settled(payment: Payment) -> bool:
    """Return whether nothing is left to ask the provider."""
    return payment.status not in (*UNDECIDED, Status.CAPTURING, Status.VOIDING)


_TOLD: Mapping[Status, NoticeKind] = {
    Status.AUTHORIZED: NoticeKind.AUTHORIZED,
    Status.CAPTURED: NoticeKind.CAPTURED,
    Status.REFUSED: NoticeKind.FAILED,
    Status.VOIDED: NoticeKind.VOIDED,
}


def needs_query(payment: Payment, notice: Notice) -> bool:
    """Return whether a notice tells something that the payment does not know yet.

    A notice is never applied by itself; it only makes Titan ask. What repeats the known end is not asked again, nor is
    what a refund or an earlier step of the same payment tells late.
    """
    if payment.is_tombstone or notice.kind in (NoticeKind.OTHER, NoticeKind.REFUNDED):
        return False
    assert payment.amount_minor is not None and payment.currency is not None
    known = _TOLD.get(payment.status) is notice.kind
    passed = payment.status is Status.CAPTURED and notice.kind is NoticeKind.AUTHORIZED
    if notice.kind in (NoticeKind.AUTHORIZED, NoticeKind.CAPTURED):
        return not ((known or passed) and notice.is_of(payment.amount_minor, payment.currency))
    return not known


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


def effects(before: Payment | None, after: Payment, *, transfer_id: uuid.UUID) -> Effects:
    """Return the movements and the event that follow from a change; `before` is None for a new payment.

    `transfer_id` is the id of the transfer of a card capture, if there is one.
    """
    was = None if before is None else before.status
    if was is after.status or after.is_tombstone:
        return Effects()
    event = _EVENTS.get(after.status)
    if after.provider != WALLET:
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


def _without_action(payment: Payment) -> Payment:
    return replace(payment, action_url=None, action_expires_at=None)
