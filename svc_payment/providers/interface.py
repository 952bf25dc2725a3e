"""What every payment provider is to svc_payment, and the ways in which a call to one can end.

All calls are idempotent by the ids that the caller brings, so an unknown outcome is settled by calling
again with the same ids. Amounts are integers in minor units, beside their ISO 4217 currency.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """How an authorization stands."""

    AUTHORIZED = "authorized"
    REFUSED = "refused"
    IN_PROGRESS = "in_progress"
    ACTION_REQUIRED = "action_required"


@dataclass(frozen=True)
class AuthorizationRequest:
    """A card payment to authorize. Titan keeps the token in memory only as long as it must."""

    payment_id: str
    amount_minor: int
    currency: str
    token: str = field(repr=False)
    return_url: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True)
class Action:
    """What the customer has to do first: visit the provider's page before it expires."""

    url: str
    expires_at: datetime


@dataclass(frozen=True)
class Authorization:
    """The answer to an authorization. ``refusal_code`` is set when REFUSED, ``action`` when ACTION_REQUIRED."""

    outcome: Outcome
    provider_reference: str | None
    refusal_code: str | None = None
    action: Action | None = None


@dataclass(frozen=True)
class Movement:
    """A capture or a refund that was done, now or earlier under the same id."""

    movement_id: str
    amount_minor: int
    currency: str
    provider_reference: str


class LoggedKind(StrEnum):
    """Which way money went."""

    CAPTURE = "capture"
    REFUND = "refund"


@dataclass(frozen=True)
class Logged:
    """A capture or a refund as the provider's own log has it, whoever asked for it."""

    kind: LoggedKind
    payment_id: str
    movement_id: str
    amount_minor: int
    currency: str
    at: datetime


@dataclass(frozen=True)
class ProviderPayment:
    """A payment as its provider has it. One voided before it was ever seen has no amount and no currency."""

    payment_id: str
    authorization: Authorization
    is_voided: bool
    amount_minor: int
    currency: str | None
    captured_minor: int
    refunded_minor: int

    def is_of(self, amount_minor: int, currency: str) -> bool:
        """Say whether this is a payment of exactly that amount."""
        return (self.amount_minor, self.currency) == (amount_minor, currency)


class NoticeKind(StrEnum):
    """What a webhook tells. OTHER is a kind that Titan does not know and may ignore."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    REFUNDED = "refunded"
    FAILED = "failed"
    OTHER = "other"


@dataclass(frozen=True)
class Notice:
    """A verified webhook. It may come late, twice or out of order: ``sequence`` counts within the payment.

    ``movement_id`` is the capture's or refund's id; ``amount_minor`` is what this event moved or held. A
    notice that ``is_of`` another amount than Titan's own is never acted upon.
    """

    notice_id: str
    kind: NoticeKind
    payment_id: str
    provider_reference: str | None
    movement_id: str | None
    amount_minor: int
    currency: str | None
    sequence: int
    occurred_at: datetime
    refusal_code: str | None

    def is_of(self, amount_minor: int, currency: str) -> bool:
        """Say whether this notice is about exactly that amount."""
        return (self.amount_minor, self.currency) == (amount_minor, currency)


class ProviderError(Exception):
    """A call to a provider did not end well."""


class ProviderUnavailable(ProviderError):
    """Nobody knows whether it was done, unless ``sent`` is false: then it was not. Call again with the same ids."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ProviderRefused(ProviderError):
    """The provider says no to this call and will go on saying so; a declined card is no error but an answer.

    Codes: ``id_reused``, ``payment_not_found``, ``not_authorized``, ``voided``, ``already_captured``,
    ``capture_above_authorization``, ``refund_above_capture``, ``malformed``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ProviderMismatch(ProviderError):
    """The provider answered about another payment, amount or currency. A person has to look at it."""


class SignatureInvalid(ProviderError):
    """The notice is not signed with a secret of ours, or too long ago."""


class NoticeInvalid(ProviderError):
    """The notice is signed, but cannot be read."""


class Provider(Protocol):
    """One payment provider. Every call raises ProviderUnavailable when its end is unknown.

    ``timeout_seconds`` is the whole time a call may take, waiting for its turn included.
    """

    name: str

    async def authorize(self, asked: AuthorizationRequest, *, timeout_seconds: float = ...) -> Authorization:
        """Ask for the money to be held; again with the same content, the present answer.

        Raises:
            ProviderRefused: ``id_reused``.
            ProviderMismatch: The answer is about another amount.
        """

    async def capture(
        self, payment_id: str, *, capture_id: str, amount_minor: int, currency: str, timeout_seconds: float = ...
    ) -> Movement:
        """Take money that is held.

        Raises:
            ProviderRefused: The money is not held, was voided, or is less.
            ProviderMismatch: Another amount or currency was taken.
        """

    async def refund(
        self, payment_id: str, *, refund_id: str, amount_minor: int, currency: str, timeout_seconds: float = ...
    ) -> Movement:
        """Give captured money back.

        Raises:
            ProviderRefused: More than was captured.
            ProviderMismatch: Another amount or currency was given back.
        """

    async def void(self, payment_id: str, *, timeout_seconds: float = ...) -> None:
        """End an authorization for ever, even one that the provider has not seen yet.

        Raises:
            ProviderRefused: ``already_captured``; only a refund helps.
        """

    async def query(self, payment_id: str, *, timeout_seconds: float = ...) -> ProviderPayment | None:
        """Return the payment as the provider has it; None was never seen, which a call under way may change."""

    async def list_log(self, *, begins_at: datetime, ends_at: datetime, timeout_seconds: float = ...) -> list[Logged]:
        """Return every capture and refund of a time, its end excluded, in the order of the provider's log."""

    async def list_log_of(self, payment_id: str, *, timeout_seconds: float = ...) -> list[Logged]:
        """Return every capture and refund of one payment, in the order of the provider's log."""

    def read_notice(self, body: bytes, signature: str, *, at: datetime) -> Notice:
        """Verify a webhook's signature over its raw body, then read it.

        Raises:
            SignatureInvalid: Nobody who knows a secret signed it lately.
            NoticeInvalid: It is signed, but not a notice.
        """

    async def close(self) -> None:
        """End the connections."""


Providers = Mapping[str, Provider]
