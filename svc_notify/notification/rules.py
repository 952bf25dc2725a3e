"""Which events make a message, and what becomes of a message after a try."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from svc_notify.channels.interface import ChannelKind, Outcome, Verdict

FIRST_RETRY_SECONDS = 2.0
MAX_RETRY_SECONDS = 3600.0
MAX_ATTEMPTS = 30
"""With the pauses above a message is given up after about nineteen hours."""

FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 15.0

UNKNOWN_ORDER = "ORDER UNKNOWN"
LINK_OVER = "LINK OVER"
NO_ADDRESS = "NO ADDRESS"
UNWRITABLE = "LETTER UNWRITABLE"


class NotificationStatus(enum.StrEnum):
    """Where a message stands; the twin of `titan.notify.v1.NotificationStatus`."""

    PENDING = "PENDING"
    SENT = "SENT"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message to a customer: about an order, with a one-time link, or else about their account.

    `order_version` is the version of its event: messages about one order leave in that order. `recipient` is masked,
    and empty until the address was first asked for.
    """

    notification_id: UUID
    event_id: UUID
    channel: ChannelKind
    template: str
    user_id: UUID
    order_id: UUID | None
    order_version: int
    message_id: str
    created_at: datetime
    details: Mapping[str, str] = field(default_factory=dict)
    status: NotificationStatus = NotificationStatus.PENDING
    recipient: str = ""
    attempts: int = 0
    problem: str = ""
    sent_at: datetime | None = None
    link_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What is stored of a message after a try; `due_at` counts while it is PENDING."""

    notification_id: UUID
    status: NotificationStatus
    recipient: str
    attempts: int
    problem: str
    due_at: datetime
    sent_at: datetime | None


TEMPLATES = {
    "titan.order.v1.OrderConfirmed": "order_confirmed",
    "titan.order.v1.OrderShipped": "order_shipped",
    "titan.order.v1.OrderCancelled": "order_cancelled",
    "titan.order.v1.OrderRefunded": "order_refunded",
}
"""A shopper expects a receipt, a note when the parcel leaves, and one when an order that counted no longer does or
money goes back. That an order was placed they see before them, and that it arrived too."""

LINK_REQUESTED = "titan.auth.v1.LinkRequested"
LINK_TEMPLATES = {"EMAIL_VERIFICATION": "email_verification", "PASSWORD_RESET": "password_reset"}
"""By the purpose of the link."""

SIGN_IN_CHANGED = "titan.auth.v1.SignInChanged"
NOTICE_TEMPLATES = {
    "PASSWORD_CHANGED": "password_changed",
    "PASSKEY_ADDED": "passkey_added",
    "IDENTITY_LINKED": "identity_linked",
}
"""By what changed."""

AFTER_A_RECEIPT = frozenset({"order_cancelled"})
"""Sent only to who had a receipt: an order that was never confirmed ended in its own answer, and was never promised."""


def template_of(event_type: str) -> str | None:
    """Return which message an event makes, or None for an event that nobody is told of."""
    return TEMPLATES.get(event_type)


def message_id(notification_id: UUID, domain: str) -> str:
    """Return the Message-ID of every try of a message (RFC 5322, 3.6.4)."""
    return f"<{notification_id}@{domain}>"


def judge(notification: Notification, outcome: Outcome, *, recipient: str, at: datetime, jitter: float) -> Result:
    """Return what becomes of a message after a try; `jitter` is between 0 and 1.

    A try that the channel spoiled counts for nothing: the message is due again at once.
    """
    verdict = outcome.verdict
    attempts = notification.attempts + (verdict is not Verdict.DOWN)
    due_at, sent_at, status = at, None, NotificationStatus.PENDING
    if verdict is Verdict.TAKEN:
        status, sent_at = NotificationStatus.SENT, at
    elif verdict is Verdict.REFUSED or attempts >= MAX_ATTEMPTS:
        status = NotificationStatus.FAILED
    elif verdict is Verdict.LATER:
        due_at = at + timedelta(seconds=backoff_seconds(attempts, jitter, FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS))
    return Result(
        notification_id=notification.notification_id,
        status=status,
        recipient=recipient or notification.recipient,
        attempts=attempts,
        problem=outcome.problem,
        due_at=due_at,
        sent_at=sent_at,
    )


def backoff_seconds(failures: int, jitter: float, first: float, most: float) -> float:
    """Return the pause after so many failures in a row: doubling up to `most`, of which a random half is left out."""
    ceiling: float = min(most, first * 2.0 ** min(max(failures, 1) - 1, 30))
    return ceiling * (0.5 + 0.5 * jitter)
