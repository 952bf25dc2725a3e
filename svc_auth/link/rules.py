"""Pure decisions about one-time links: what they are for, how long they count, and when another one is made."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from svc_auth.user.rules import User

LINK_SECONDS = 1800
TOKEN_BYTES = 32
SEND_EVERY_SECONDS = 60
MAX_LETTERS = 3
"""As many within the time of a link, while the last one waits to be used: nobody's mailbox is filled by somebody who
knows the address, and no more than that come to replace the link that its owner is about to follow."""
KEPT_SECONDS = 86_400
"""How long a link is kept after its time, for whoever asks why it no longer works."""


class LinkPurpose(enum.StrEnum):
    """What a link is for; the twin of `titan.auth.v1.LinkPurpose`."""

    EMAIL_VERIFICATION = "EMAIL_VERIFICATION"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105


@dataclass(frozen=True)
class Request:
    """A link that was asked for; `user_id` is None where nobody has the address."""

    request_id: UUID
    user_id: UUID | None
    purpose: LinkPurpose


@dataclass(frozen=True)
class OpenLink:
    """A link that counts; `sealed_token` is sealed under the link's id."""

    link_id: UUID
    user_id: UUID
    purpose: LinkPurpose
    sealed_token: bytes = field(repr=False)
    expires_at: datetime


def token_hash(token: str) -> bytes:
    """Return what a link is found by. The token is 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(b"link " + token.encode()).digest()


def link_end(at: datetime) -> datetime:
    """Return until when a link counts that is made now."""
    return at + timedelta(seconds=LINK_SECONDS)


def link_start(at: datetime) -> datetime:
    """Return since when a link was made that still counts now."""
    return at - timedelta(seconds=LINK_SECONDS)


@dataclass(frozen=True)
class Made:
    """A link that was made lately; it is open until it is used or replaced."""

    made_at: datetime
    open: bool


def wanted(user: User | None, purpose: LinkPurpose, *, lately: Sequence[Made], at: datetime) -> bool:
    """Return whether a request makes a link.

    The accounts of the house have their passwords from secret files. `lately` are the user's last links of this purpose
    within the time of a link, the newest first: a second one within a minute is not sent, nor a fourth while the third
    waits.
    """
    if user is None or user.guest or user.house:
        return False
    if purpose is LinkPurpose.EMAIL_VERIFICATION and user.email_verified_at is not None:
        return False
    if not lately:
        return True
    enough = len(lately) >= MAX_LETTERS and lately[0].open
    return not enough and at - lately[0].made_at >= timedelta(seconds=SEND_EVERY_SECONDS)
