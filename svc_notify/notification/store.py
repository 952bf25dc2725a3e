"""All SQL of the messages. A row is the message and its place in the queue: `due_at` ahead of now is a lease."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from svc_notify.channels.interface import ChannelKind
from svc_notify.notification.rules import AFTER_A_RECEIPT, Notification, NotificationStatus, Result

LEASE_SECONDS = 3.0
"""What a crash leaves behind waits as long. A batch may take longer: see `renew`."""

SENT_KEPT_DAYS = 180
"""How long support can look up what was sent; what could not be sent stays until somebody has looked at it."""
RECEIPTS_KEPT_DAYS = 1095
"""Without its receipt an order gets no further letters (`add`), and parcels come back and money is refunded late."""

_ADD = """
WITH wanted AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::bigint[], $8::jsonb[], $9::text[],
        $10::timestamptz[], $11::uuid[], $12::boolean[]
    ) AS u (notification_id, event_id, channel, template, user_id, order_id, order_version, details, message_id,
        created_at, link_id, after_receipt)
)
INSERT INTO notifications
    (notification_id, event_id, channel, template, user_id, order_id, order_version, details, message_id,
     created_at, due_at, link_id)
SELECT notification_id, event_id, channel, template, user_id, order_id, order_version, details, message_id,
     created_at, created_at, link_id
FROM wanted w
WHERE (
    NOT after_receipt
    OR EXISTS (SELECT FROM notifications n WHERE n.order_id = w.order_id AND n.template = 'order_confirmed')
    OR EXISTS (SELECT FROM wanted n WHERE n.order_id = w.order_id AND n.template = 'order_confirmed')
) AND NOT EXISTS (SELECT FROM erased_users e WHERE e.user_id = w.user_id)
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id
"""
# Letters about one order leave in the order of its events, so a row waits for the ones before it. Asked for as PENDING,
# those would be looked for among all that is due, once for each row: the planner believes that to be next to nothing.
_CLAIM = """
UPDATE notifications n SET due_at = $2
FROM (
    SELECT notification_id FROM notifications w
    WHERE status = 'PENDING' AND due_at <= $1 AND NOT EXISTS (
        SELECT FROM notifications before
        WHERE before.order_id = w.order_id AND before.order_version < w.order_version
            AND before.status NOT IN ('SENT', 'FAILED')
    )
    ORDER BY due_at, notification_id LIMIT $3 FOR UPDATE SKIP LOCKED
) AS due
WHERE n.notification_id = due.notification_id
RETURNING n.*
"""
_SAVE = """
UPDATE notifications n
SET status = r.status, recipient = r.recipient, attempts = r.attempts, problem = r.problem, due_at = r.due_at,
    sent_at = r.sent_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::text[], $6::timestamptz[], $7::timestamptz[])
    AS r (notification_id, status, recipient, attempts, problem, due_at, sent_at)
WHERE n.notification_id = r.notification_id AND n.status = 'PENDING'
"""
_PRUNE_SENT = """
DELETE FROM notifications WHERE notification_id IN (
    SELECT notification_id FROM notifications
    WHERE status = 'SENT' AND (template = 'order_confirmed') = $3 AND sent_at < $1 ORDER BY sent_at LIMIT $2
)
"""
_RENEW = "UPDATE notifications SET due_at = $2 WHERE notification_id = ANY($1) AND status = 'PENDING' AND due_at < $2"
_LIST = """
SELECT notification_id, event_id, channel, template, user_id, order_id, order_version, message_id, created_at, details,
    status, recipient, attempts, problem, sent_at, link_id
FROM notifications
WHERE ($1::uuid IS NULL OR order_id = $1) AND ($2::uuid IS NULL OR user_id = $2)
    AND ($3::text IS NULL OR status = $3) AND ($4::uuid IS NULL OR notification_id < $4)
ORDER BY notification_id DESC LIMIT $5
"""
# What waits is forgotten: its event is noted, and makes no other. That something was sent stays, for the letters that
# follow it; not where to, nor what it said beside the order, such as the code of a parcel or the name of a provider.
_ERASE = """
WITH erased AS (INSERT INTO erased_users (user_id) VALUES ($1) ON CONFLICT DO NOTHING),
    waiting AS (DELETE FROM notifications WHERE user_id = $1 AND status = 'PENDING')
UPDATE notifications SET recipient = '', details = '{}'
WHERE user_id = $1 AND status <> 'PENDING' AND (recipient <> '' OR details <> '{}')
"""
_WAITING = "SELECT count(*) FROM (SELECT FROM notifications WHERE status = 'PENDING' LIMIT $1) AS w"


async def add(tx: asyncpg.Connection, wanted: Sequence[Notification]) -> set[UUID]:
    """Store messages to send, and return the events that made one now.

    An event that has one already makes no second one, what may only follow a receipt makes none without it, and
    nothing is written to a user who was erased.
    """
    added = await tx.fetch(
        _ADD,
        [n.notification_id for n in wanted],
        [n.event_id for n in wanted],
        [n.channel.value for n in wanted],
        [n.template for n in wanted],
        [n.user_id for n in wanted],
        [n.order_id for n in wanted],
        [n.order_version for n in wanted],
        [dict(n.details) for n in wanted],
        [n.message_id for n in wanted],
        [n.created_at for n in wanted],
        [n.link_id for n in wanted],
        [n.template in AFTER_A_RECEIPT for n in wanted],
    )
    return {row["event_id"] for row in added}


async def claim_due(
    tx: asyncpg.Connection, *, at: datetime, limit: int, lease_seconds: float = LEASE_SECONDS
) -> list[Notification]:
    """Lease at most `limit` messages that are due, at most one about each order, in the order of their ids."""
    rows = await tx.fetch(_CLAIM, at, at + timedelta(seconds=lease_seconds), limit)
    return sorted((_from_row(row) for row in rows), key=lambda n: n.notification_id)


async def save_results(tx: asyncpg.Connection, results: Sequence[Result]) -> None:
    """Store what became of tried messages. What somebody else has settled meanwhile stays as it is."""
    ordered = sorted(results, key=lambda r: r.notification_id)
    await tx.execute(
        _SAVE,
        [r.notification_id for r in ordered],
        [r.status.value for r in ordered],
        [r.recipient for r in ordered],
        [r.attempts for r in ordered],
        [r.problem for r in ordered],
        [r.due_at for r in ordered],
        [r.sent_at for r in ordered],
    )


async def renew(tx: asyncpg.Connection, notification_ids: Sequence[UUID], *, at: datetime) -> None:
    """Hold on to messages that the caller is sending."""
    await tx.execute(_RENEW, list(notification_ids), at + timedelta(seconds=LEASE_SECONDS))


async def erase_user(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Write to a user no more, and forget where the messages before went and what they said."""
    await tx.execute(_ERASE, user_id)


async def prune_letters(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many letters that are no receipts and were sent long ago, and say how many."""
    deleted: str = await tx.execute(_PRUNE_SENT, at - timedelta(days=SENT_KEPT_DAYS), limit, False)
    return int(deleted.split()[-1])


async def prune_receipts(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many receipts that were sent very long ago, and say how many."""
    deleted: str = await tx.execute(_PRUNE_SENT, at - timedelta(days=RECEIPTS_KEPT_DAYS), limit, True)
    return int(deleted.split()[-1])


async def count_waiting(connection: asyncpg.Connection, *, most: int) -> int:
    """Return how many messages wait, counting no further than `most`."""
    counted: int = await connection.fetchval(_WAITING, most)
    return counted


async def list_messages(
    connection: asyncpg.Connection,
    *,
    order_id: UUID | None = None,
    user_id: UUID | None = None,
    status: NotificationStatus | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[Notification]:
    """Return messages, the newest first, at most `limit`, older than `before`."""
    wanted = None if status is None else status.value
    return [_from_row(row) for row in await connection.fetch(_LIST, order_id, user_id, wanted, before, limit)]


def _from_row(row: Any) -> Notification:
    return Notification(
        notification_id=row["notification_id"],
        event_id=row["event_id"],
        channel=ChannelKind(row["channel"]),
        template=row["template"],
        user_id=row["user_id"],
        order_id=row["order_id"],
        order_version=row["order_version"],
        message_id=row["message_id"],
        created_at=row["created_at"],
        details=row["details"],
        status=NotificationStatus(row["status"]),
        recipient=row["recipient"],
        attempts=row["attempts"],
        problem=row["problem"],
        sent_at=row["sent_at"],
        link_id=row["link_id"],
    )
