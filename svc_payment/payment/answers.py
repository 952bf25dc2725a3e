"""What a provider has to be asked about a payment, and what its answers make of it: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from svc_payment.payment import rules
from svc_payment.payment.rules import Payment, Status
from svc_payment.providers.interface import Authorization, Notice, NoticeKind, Outcome, ProviderPayment
from svc_payment.settlement.rules import Call


def authorized(payment: Payment, answer: Authorization) -> Payment:
    """Return the payment after its provider said how the authorization stands, whenever that answer comes.

    A success for a payment that was refused or voided in the meantime has to be voided at the provider.
    """
    payment = replace(payment, provider_reference=answer.provider_reference or payment.provider_reference)
    match payment.status, answer.outcome:
        case Status.IN_PROGRESS | Status.ACTION_REQUIRED, Outcome.AUTHORIZED:
            return rules.without_action(replace(payment, status=Status.AUTHORIZED))
        case Status.IN_PROGRESS | Status.ACTION_REQUIRED, Outcome.REFUSED:
            return rules.without_action(
                replace(
                    payment,
                    status=Status.REFUSED,
                    refusal_reason=rules.PAYMENT_DECLINED,
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
            return rules.without_action(replace(payment, status=Status.IN_PROGRESS))
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
        return rules.captured(payment)
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
    return payment.status not in (*rules.UNDECIDED, Status.CAPTURING, Status.VOIDING)


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
