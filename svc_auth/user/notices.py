"""What a user is told by letter about their own account: that a way in was added or replaced.

Whoever did it without being the user is found out by that, so it is told in the transaction of the change. The event
names the user and the change; svc_notify asks for the address when it writes.
"""

from __future__ import annotations

import enum
from uuid import UUID

import asyncpg

from mesh import outbox
from mesh.outbox import Event
from svc_auth.link.store import TOPIC
from svc_auth.user.rules import HOUSE_ACCOUNTS, User
from titan.auth.v1 import events_pb2


class SignInChange(enum.StrEnum):
    """What changed about how a user signs in; the twin of `titan.auth.v1.SignInChange`."""

    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
    PASSKEY_ADDED = "PASSKEY_ADDED"
    IDENTITY_LINKED = "IDENTITY_LINKED"


async def tell(
    tx: asyncpg.Connection, notice_id: UUID, user: User, change: SignInChange, *, provider: str = ""
) -> None:
    """Have a locked user told of a change; nobody reads the mail of a house account."""
    if user.email is None or user.email in HOUSE_ACCOUNTS:
        return
    payload = events_pb2.SignInChanged(
        notice_id=str(notice_id),
        user_id=str(user.user_id),
        change=f"SIGN_IN_CHANGE_{change.value}",
        provider=provider,
    )
    event = Event(TOPIC, "titan.auth.v1.SignInChanged", str(notice_id), 1, payload.SerializeToString())
    await outbox.append(tx, [event])
