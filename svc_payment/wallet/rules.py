"""What becomes of a top-up, and of a credit that an importer asks for: pure decisions.

AUTHORIZING -> CAPTURING -> CREDITED
    \\-> DECLINED        \\-> VOIDING -> DECLINED   for a card that wants its owner to confirm first
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from mesh.refusals import IdempotencyKeyReused, InvalidInput, Refusal
from svc_payment.errors import CurrencyNotSupported, PaymentDeclined
from svc_payment.ledger import rules as ledger
from svc_payment.payment.rules import declined
from svc_payment.providers.interface import Authorization, Outcome, ProviderPayment
from svc_payment.settlement.rules import Call

CURRENCY = "GBP"
"""The currency of wallets."""

ACTION_REQUIRED = "action_required"
"""The decline code of a card whose owner would have to confirm: a top-up has no page to send them to."""


class TopUpStatus(StrEnum):
    """Where a top-up stands."""

    AUTHORIZING = "AUTHORIZING"
    CAPTURING = "CAPTURING"
    CREDITED = "CREDITED"
    VOIDING = "VOIDING"
    DECLINED = "DECLINED"


@dataclass(frozen=True, slots=True)
class TopUp:
    """One payment into a wallet; its id is the payment id at the provider."""

    top_up_id: uuid.UUID
    user_id: uuid.UUID
    request_id: str
    fingerprint: bytes
    provider: str
    amount_minor: int
    currency: str
    status: TopUpStatus
    created_at: datetime
    decline_code: str | None = None
    provider_reference: str | None = None
    response: bytes | None = None

    @property
    def is_settled(self) -> bool:
        """Nothing is left to ask the provider."""
        return self.status in (TopUpStatus.CREDITED, TopUpStatus.DECLINED)

    @property
    def transfer(self) -> ledger.Transfer:
        """The movement of a captured top-up: the provider owes it, the wallet has it."""
        return ledger.Transfer(
            transfer_id=self.top_up_id,
            group_id=self.top_up_id,
            kind=ledger.TransferKind.TOP_UP,
            debit=ledger.clearing(self.provider, self.currency),
            credit=ledger.wallet(self.user_id, self.currency),
            amount_minor=self.amount_minor,
        )


def check_currency(currency: str, currencies: Collection[str]) -> None:
    """Hold a currency against those of wallets.

    Raises:
        CurrencyNotSupported: A wallet can't hold it.
    """
    if currency != CURRENCY or currency not in currencies:
        raise CurrencyNotSupported(f"{currency} is not taken here", currency_code=currency)


def refuse_other_body(stored: TopUp, fingerprint: bytes) -> None:
    """Hold a repeated request against the stored one.

    Raises:
        IdempotencyKeyReused: It asks for something else.
    """
    if stored.fingerprint != fingerprint:
        raise IdempotencyKeyReused("this idempotency key was used before, with another body")


def next_call(top_up: TopUp, *, has_token: bool) -> Call:
    """Return what the provider has to be asked."""
    match top_up.status:
        case TopUpStatus.AUTHORIZING if has_token:
            return Call.AUTHORIZE
        case TopUpStatus.CAPTURING:
            return Call.CAPTURE
        case TopUpStatus.VOIDING:
            return Call.VOID
        case _:
            return Call.QUERY


def authorized(top_up: TopUp, answer: Authorization) -> TopUp:
    """Return the top-up after its provider said how the authorization stands."""
    if top_up.status is not TopUpStatus.AUTHORIZING:
        return top_up
    top_up = replace(top_up, provider_reference=answer.provider_reference or top_up.provider_reference)
    match answer.outcome:
        case Outcome.AUTHORIZED:
            return replace(top_up, status=TopUpStatus.CAPTURING)
        case Outcome.REFUSED:
            return replace(top_up, status=TopUpStatus.DECLINED, decline_code=answer.refusal_code)
        case Outcome.ACTION_REQUIRED:
            return replace(top_up, status=TopUpStatus.VOIDING, decline_code=ACTION_REQUIRED)
    return top_up


def declined_top_up(decline_code: str | None) -> PaymentDeclined:
    """Return the refusal of a top-up, which says so where the card is good and the way is not."""
    if decline_code == ACTION_REQUIRED:
        return PaymentDeclined(
            "the owner of this card would have to confirm the payment (3-D Secure), and a top-up has no page for that;"
            " pay in with another card, or pay an order with this one",
            decline_code=decline_code,
        )
    return declined(decline_code)


def captured(top_up: TopUp, response: bytes) -> TopUp:
    """Return the top-up with its money taken, and the answer that every repetition gets."""
    if top_up.status is not TopUpStatus.CAPTURING:
        return top_up
    return replace(top_up, status=TopUpStatus.CREDITED, response=response)


def voided(top_up: TopUp) -> TopUp:
    """Return the top-up after its provider let the money go."""
    return replace(top_up, status=TopUpStatus.DECLINED) if top_up.status is TopUpStatus.VOIDING else top_up


def is_foreign(top_up: TopUp, seen: ProviderPayment) -> bool:
    """Return whether a provider has something else under this top-up's id."""
    return not seen.is_of(top_up.amount_minor, top_up.currency) and not (seen.is_voided and not seen.currency)


@dataclass(frozen=True, slots=True)
class Credit:
    """What an importer asks to put into one wallet."""

    user_id: uuid.UUID
    amount_minor: int
    currency: str


def check_credits(credits: Sequence[Credit], currencies: Collection[str]) -> list[Refusal | None]:
    """Return, per credit, why it can't be asked for, or None. A user stands in one request once, since the request id
    and the user together are the key."""
    found: list[Refusal | None] = []
    users: set[uuid.UUID] = set()
    for each in credits:
        refusal: Refusal | None = None
        try:
            check_currency(each.currency, currencies)
        except CurrencyNotSupported as problem:
            refusal = problem
        if each.user_id in users:
            refusal = InvalidInput.of("credits.user_id", "the user stands in this request twice")
        users.add(each.user_id)
        found.append(refusal)
    return found


def credit_transfer(credit: Credit, transfer_id: uuid.UUID) -> ledger.Transfer:
    """Return the movement of a credit from an import."""
    return ledger.Transfer(
        transfer_id=transfer_id,
        group_id=transfer_id,
        kind=ledger.TransferKind.CREDIT,
        debit=ledger.imported(credit.currency),
        credit=ledger.wallet(credit.user_id, credit.currency),
        amount_minor=credit.amount_minor,
    )
