"""What e-mail, SMS, WhatsApp and push share: messages in, one outcome for each out.

What matters to the caller is whose fault a failure is: that of one message, now or for good, or that of the channel, so
that no message should be tried for a while.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class ChannelKind(enum.StrEnum):
    """The way of a message; the twin of `titan.notify.v1.NotificationChannel`."""

    EMAIL = "EMAIL"
    SMS = "SMS"
    WHATSAPP = "WHATSAPP"
    PUSH = "PUSH"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to go. A channel takes of it what it can carry: an SMS has no subject and no HTML.

    `message_id` is the same each time the message is tried, so that a receiver can drop what it has.
    """

    recipient: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    message_id: str
    created_at: datetime


class Verdict(enum.Enum):
    """What became of one message."""

    TAKEN = "taken"
    """The channel answers for it now."""
    REFUSED = "refused"
    """It will never be taken: no such recipient, or it cannot be written."""
    LATER = "later"
    """It was not taken this time."""
    DOWN = "down"
    """It was not tried, or nothing can be said of it, because the channel does not work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, and a code for why. Never the words of the other side: they quote addresses."""

    verdict: Verdict
    problem: str = ""


class Channel(Protocol):
    """A way of sending messages, bounded in how many go at once."""

    kind: ChannelKind

    def mask(self, recipient: str) -> str:
        """Return what may be stored and shown of an address."""
        ...

    async def send(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send messages; returns one outcome each, in their order, and raises nothing for what the other side does."""
        ...

    async def close(self) -> None:
        """Let go of what the channel holds."""
        ...
