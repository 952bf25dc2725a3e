"""What a user is told by letter about their own account: that a way in was added or replaced.

Whoever did it without being the user is found out by that, so it is told in the transaction of the change. The event
names the user and the change; svc_notify asks for the address when it writes. An address that nobody verified may be a
stranger's, who is told nothing.
"""

from __future__ import annotations

import enum
from uuid import UUID

import asyncpg

from mesh import outbox
from mesh.outbox import Event
from svc_auth.link.store import TOPIC
from svc_auth.user import notice_store
from svc_auth.user.rules import User
from titan.auth.v1 import events_pb2

MAX_NOTICES = 5
NOTICE_SECONDS = 1800
"""No more within this time: five changes are told before the sixth is not, and a loop of them fills no mailbox."""


class SignInChange(enum.StrEnum):
    """What changed about how a user signs in; the twin of `titan.auth.v1.SignInChange`."""

    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
    PASSKEY_ADDED = "PASSKEY_ADDED"
    IDENTITY_LINKED = "IDENTITY_LINKED"


async def tell(
    tx: asyncpg.Connection, notice_id: UUID, user: User, change: SignInChange, *, provider: str = ""
) -> None:
    """Have a locked user told of a change, unless nobody reads their mail: that of a house account, or of an address
    that was never verified; and unless they were told of five within half an hour."""
    if user.guest or user.house:
        return
    if user.email_verified_at is None:
        return
    if not await notice_store.insert_notice(
        tx, notice_id, user.user_id, within_seconds=NOTICE_SECONDS, at_most=MAX_NOTICES
    ):
        return
    payload = events_pb2.SignInChanged(
        notice_id=str(notice_id),
        user_id=str(user.user_id),
        change=f"SIGN_IN_CHANGE_{change.value}",
        provider=provider,
    )
    event = Event(TOPIC, "titan.auth.v1.SignInChanged", str(notice_id), 1, payload.SerializeToString())
    await outbox.append(tx, [event])
