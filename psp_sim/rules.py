"""What a payment may become: pure decisions without clock, network or file.

A decision returns the log entry to write; ``apply`` folds an entry into the payment. A live call and a
restart use the same fold, so what was written is what will be remembered.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """Where a payment stands, as merchants read it."""

    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    DECLINED = "declined"
    VOIDED = "voided"


class Kind(StrEnum):
    """What a log entry records."""

    AUTHORIZE = "authorize"
    DECLINE = "decline"
    ACTION = "action"
    PROCESS = "process"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    WEBHOOK = "webhook"


class OnCapture(StrEnum):
    """How a payment misbehaves when it is captured."""

    ANSWER = "answer"
    SLOW = "slow"
    LOSE_REPLY = "lose_reply"
    ERROR = "error"


EVENT_TYPES: Mapping[Kind, str] = {
    Kind.AUTHORIZE: "payment.authorized",
    Kind.DECLINE: "payment.failed",
    Kind.CAPTURE: "payment.captured",
    Kind.VOID: "payment.voided",
    Kind.REFUND: "payment.refunded",
}


MOVES_MONEY = frozenset({Kind.CAPTURE, Kind.REFUND})


@dataclass(frozen=True)
class Scenario:
    """What a card token stands for."""

    outcome: Kind = Kind.AUTHORIZE
    decline_code: str | None = None
    slow: bool = False
    lose_reply: bool = False
    on_capture: OnCapture = OnCapture.ANSWER


SCENARIOS: Mapping[str, Scenario] = {
    "tok_visa": Scenario(),
    "tok_declined": Scenario(Kind.DECLINE, "card_declined"),
    "tok_insufficient": Scenario(Kind.DECLINE, "insufficient_funds"),
    "tok_slow": Scenario(slow=True),
    "tok_lost_reply": Scenario(lose_reply=True),
    "tok_action": Scenario(Kind.ACTION),
    "tok_processing": Scenario(Kind.PROCESS),
    "tok_slow_capture": Scenario(on_capture=OnCapture.SLOW),
    "tok_lost_capture": Scenario(on_capture=OnCapture.LOSE_REPLY),
    "tok_error_after_capture": Scenario(on_capture=OnCapture.ERROR),
}
UNKNOWN_TOKEN = Scenario(Kind.DECLINE, "unknown_token")


class Refused(Exception):
    """An expected no; the payment stays as it was."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Entry:
    """One line of the log. Optional fields are written only where they say something."""

    time: datetime
    kind: Kind
    payment_id: str
    amount_minor: int
    currency: str | None
    provider_reference: str | None
    effect: bool
    operation_id: str | None = None
    decline_code: str | None = None
    fingerprint: str | None = None
    on_capture: OnCapture | None = None
    due_at: datetime | None = None
    return_url: str | None = None
    webhook_url: str | None = None
    event_id: str | None = None
    delivery: str | None = None


@dataclass(frozen=True)
class Authorize:
    """What a merchant asks for; ``token`` never leaves memory."""

    payment_id: str
    amount_minor: int
    currency: str
    token: str = field(repr=False)
    return_url: str | None = None
    webhook_url: str | None = None

    @property
    def scenario(self) -> Scenario:
        """What this token makes the simulator do."""
        return SCENARIOS.get(self.token, UNKNOWN_TOKEN)

    def fingerprint(self) -> str:
        """Return a digest of the money and the card, salted with the payment id; addresses may change."""
        content = json.dumps([self.payment_id, self.amount_minor, self.currency, self.token])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Waits:
    """How long a payment may stay undecided, in seconds."""

    processing_seconds: float = 2.0
    action_seconds: float = 900.0


@dataclass(frozen=True)
class Payment:
    """A payment as the log has it. A tombstone is a voided payment without a fingerprint."""

    payment_id: str
    status: Status
    amount_minor: int = 0
    currency: str | None = None
    provider_reference: str | None = None
    fingerprint: str | None = None
    decline_code: str | None = None
    on_capture: OnCapture = OnCapture.ANSWER
    due_at: datetime | None = None
    return_url: str | None = None
    webhook_url: str | None = None
    captures: Mapping[str, int] = field(default_factory=dict)
    refunds: Mapping[str, int] = field(default_factory=dict)
    events: int = 0

    @property
    def captured_minor(self) -> int:
        """The sum of the captures."""
        return sum(self.captures.values())

    @property
    def refunded_minor(self) -> int:
        """The sum of the refunds."""
        return sum(self.refunds.values())

    @property
    def is_undecided(self) -> bool:
        """Whether a decision is still to come, from the provider or from the customer."""
        return self.status in (Status.PROCESSING, Status.REQUIRES_ACTION)


def authorize(payment: Payment | None, asked: Authorize, *, reference: str, at: datetime, waits: Waits) -> Entry:
    """Decide on a new payment, or repeat the decision on a known one.

    Raises:
        Refused: ``id_reused``, the id was used for another amount, currency or token.
    """
    if payment is not None and payment.fingerprint is not None:
        if payment.fingerprint != asked.fingerprint():
            raise Refused("id_reused", "this payment_id was used with other content")
        return _entry(payment, _DECISION[payment.status], at, effect=False, decline_code=payment.decline_code)
    outcome, decline_code = asked.scenario.outcome, asked.scenario.decline_code
    if payment is not None:
        outcome, decline_code = Kind.DECLINE, "voided_before"
    wait_seconds = {Kind.PROCESS: waits.processing_seconds, Kind.ACTION: waits.action_seconds}.get(outcome)
    return Entry(
        time=at,
        kind=outcome,
        payment_id=asked.payment_id,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        provider_reference=reference,
        effect=True,
        decline_code=decline_code,
        fingerprint=asked.fingerprint(),
        on_capture=None if asked.scenario.on_capture is OnCapture.ANSWER else asked.scenario.on_capture,
        due_at=None if wait_seconds is None else at + timedelta(seconds=wait_seconds),
        return_url=asked.return_url,
        webhook_url=asked.webhook_url,
    )


def settle(payment: Payment, *, at: datetime) -> Entry | None:
    """Return what time alone decides: processing ends well, an action nobody took ends in a decline."""
    if not payment.is_undecided or payment.due_at is None or at < payment.due_at:
        return None
    if payment.status is Status.PROCESSING:
        return _entry(payment, Kind.AUTHORIZE, at)
    return _entry(payment, Kind.DECLINE, at, decline_code="action_expired")


def answer_action(payment: Payment | None, *, confirmed: bool, at: datetime) -> Entry:
    """Record the customer's answer; the same answer again changes nothing.

    Raises:
        Refused: ``payment_not_found``, or ``action_over`` because the payment went another way.
    """
    payment = _known(payment)
    if payment.status is Status.REQUIRES_ACTION:
        if confirmed:
            return settle(payment, at=at) or _entry(payment, Kind.AUTHORIZE, at)
        return _entry(payment, Kind.DECLINE, at, decline_code="customer_refused")
    waited = payment.due_at is not None
    if waited and confirmed and payment.status in (Status.AUTHORIZED, Status.CAPTURED):
        return _entry(payment, Kind.AUTHORIZE, at, effect=False)
    if waited and not confirmed and payment.status is Status.DECLINED:
        return _entry(payment, Kind.DECLINE, at, effect=False, decline_code=payment.decline_code)
    raise Refused("action_over", f"the payment is already {payment.status}")


def capture(payment: Payment | None, *, capture_id: str, amount_minor: int, at: datetime) -> Entry:
    """Take what was authorized, whole or in parts, never more.

    Raises:
        Refused: ``payment_not_found``, ``id_reused``, ``voided``, ``not_authorized`` or
            ``capture_above_authorization``.
    """
    payment = _known(payment)
    earlier_minor = payment.captures.get(capture_id)
    if earlier_minor is not None:
        if earlier_minor != amount_minor:
            raise Refused("id_reused", "this capture_id was used with another amount")
        return _entry(payment, Kind.CAPTURE, at, effect=False, amount_minor=amount_minor, operation_id=capture_id)
    if payment.status is Status.VOIDED:
        raise Refused("voided", "the payment was voided")
    if payment.status not in (Status.AUTHORIZED, Status.CAPTURED):
        raise Refused("not_authorized", f"the payment is {payment.status}")
    if payment.captured_minor + amount_minor > payment.amount_minor:
        raise Refused("capture_above_authorization", "captures would exceed the authorization")
    return _entry(payment, Kind.CAPTURE, at, amount_minor=amount_minor, operation_id=capture_id)


def refund(payment: Payment | None, *, refund_id: str, amount_minor: int, at: datetime) -> Entry:
    """Give back what was captured, whole or in parts, never more.

    Raises:
        Refused: ``payment_not_found``, ``id_reused`` or ``refund_above_capture``.
    """
    payment = _known(payment)
    earlier_minor = payment.refunds.get(refund_id)
    if earlier_minor is not None:
        if earlier_minor != amount_minor:
            raise Refused("id_reused", "this refund_id was used with another amount")
        return _entry(payment, Kind.REFUND, at, effect=False, amount_minor=amount_minor, operation_id=refund_id)
    if payment.refunded_minor + amount_minor > payment.captured_minor:
        raise Refused("refund_above_capture", "refunds would exceed the captures")
    return _entry(payment, Kind.REFUND, at, amount_minor=amount_minor, operation_id=refund_id)


def void(payment: Payment | None, *, payment_id: str, at: datetime) -> Entry:
    """Set an authorization free for ever; of an unknown payment, leave a tombstone.

    Raises:
        Refused: ``already_captured``, the money has moved and only a refund brings it back.
    """
    if payment is None:
        return Entry(at, Kind.VOID, payment_id, 0, None, None, effect=True)
    if payment.status is Status.CAPTURED:
        raise Refused("already_captured", "the payment was captured")
    if payment.status in (Status.VOIDED, Status.DECLINED):
        return _entry(payment, Kind.VOID, at, effect=False, amount_minor=0)
    freed_minor = payment.amount_minor if payment.status is Status.AUTHORIZED else 0
    return _entry(payment, Kind.VOID, at, amount_minor=freed_minor)


def apply(payment: Payment | None, entry: Entry) -> Payment:
    """Fold one entry that had an effect into the payment; ``None`` is a payment never seen."""
    match entry.kind:
        case Kind.CAPTURE | Kind.REFUND:
            changed = _moved(_known(payment), entry)
        case Kind.VOID:
            changed = replace(payment or Payment(entry.payment_id, Status.VOIDED), status=Status.VOIDED)
        case Kind.AUTHORIZE | Kind.DECLINE if payment is not None and payment.fingerprint is not None:
            changed = replace(payment, status=_STATUS[entry.kind], decline_code=entry.decline_code)
        case Kind.AUTHORIZE | Kind.DECLINE | Kind.ACTION | Kind.PROCESS:
            changed = _opened(entry, events=payment.events if payment else 0)
        case _:
            raise ValueError(f"a {entry.kind} entry does not change a payment")
    return replace(changed, events=changed.events + (entry.kind in EVENT_TYPES))


_STATUS: Mapping[Kind, Status] = {
    Kind.AUTHORIZE: Status.AUTHORIZED,
    Kind.DECLINE: Status.DECLINED,
    Kind.ACTION: Status.REQUIRES_ACTION,
    Kind.PROCESS: Status.PROCESSING,
}
_DECISION: Mapping[Status, Kind] = {
    Status.AUTHORIZED: Kind.AUTHORIZE,
    Status.CAPTURED: Kind.AUTHORIZE,
    Status.VOIDED: Kind.AUTHORIZE,
    Status.DECLINED: Kind.DECLINE,
    Status.REQUIRES_ACTION: Kind.ACTION,
    Status.PROCESSING: Kind.PROCESS,
}


def _known(payment: Payment | None) -> Payment:
    if payment is None:
        raise Refused("payment_not_found", "no such payment")
    return payment


def _entry(
    payment: Payment,
    kind: Kind,
    at: datetime,
    *,
    effect: bool = True,
    amount_minor: int | None = None,
    operation_id: str | None = None,
    decline_code: str | None = None,
) -> Entry:
    return Entry(
        time=at,
        kind=kind,
        payment_id=payment.payment_id,
        amount_minor=payment.amount_minor if amount_minor is None else amount_minor,
        currency=payment.currency,
        provider_reference=payment.provider_reference,
        effect=effect,
        operation_id=operation_id,
        decline_code=decline_code,
    )


def _opened(entry: Entry, *, events: int) -> Payment:
    return Payment(
        payment_id=entry.payment_id,
        status=_STATUS[entry.kind],
        amount_minor=entry.amount_minor,
        currency=entry.currency,
        provider_reference=entry.provider_reference,
        fingerprint=entry.fingerprint,
        decline_code=entry.decline_code,
        on_capture=entry.on_capture or OnCapture.ANSWER,
        due_at=entry.due_at,
        return_url=entry.return_url,
        webhook_url=entry.webhook_url,
        events=events,
    )


def _moved(payment: Payment, entry: Entry) -> Payment:
    if entry.operation_id is None:
        raise ValueError(f"a {entry.kind} entry without its operation_id")
    movement = {entry.operation_id: entry.amount_minor}
    if entry.kind is Kind.CAPTURE:
        return replace(payment, status=Status.CAPTURED, captures={**payment.captures, **movement})
    return replace(payment, refunds={**payment.refunds, **movement})
