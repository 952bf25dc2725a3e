"""All SQL about one-time links and the requests for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from mesh import outbox
from mesh.outbox import Event
from svc_auth.blind_index import Hashed
from svc_auth.link.rules import KEPT_SECONDS, LinkPurpose, Made, OpenLink, Request
from titan.auth.v1 import events_pb2

TOPIC = "titan.auth.mail.v1"
"""Apart from `titan.auth.v1`: whoever writes letters would else read of every guest."""

_OPEN = """
SELECT link_id, user_id, purpose, sealed_token, expires_at FROM links WHERE closed_at IS NULL AND expires_at > $2
"""


@dataclass(frozen=True)
class NewLink:
    """A link to store."""

    link_id: UUID
    user_id: UUID
    purpose: LinkPurpose
    token_hash: bytes
    sealed_token: bytes


async def insert_request(
    tx: asyncpg.Connection, request_id: UUID, purpose: LinkPurpose, *, email: Hashed, at: datetime
) -> None:
    """Store that somebody asks for a link to this address; the same work whether anybody has it or not."""
    await tx.execute(
        "INSERT INTO link_requests (request_id, user_id, purpose, requested_at)"
        " SELECT $1, (SELECT user_id FROM users WHERE email_index = ANY($3)), $2, $4",
        request_id,
        purpose.value,
        email.each,
        at,
    )


async def take_requests(tx: asyncpg.Connection, *, limit: int) -> list[Request]:
    """Take requests out of their queue, the oldest first, at most `limit`."""
    rows = await tx.fetch(
        """
        DELETE FROM link_requests WHERE request_id IN (
            SELECT request_id FROM link_requests ORDER BY requested_at, request_id LIMIT $1 FOR UPDATE SKIP LOCKED
        ) RETURNING request_id, user_id, purpose
        """,
        limit,
    )
    return [Request(row["request_id"], row["user_id"], LinkPurpose(row["purpose"])) for row in rows]


async def list_lately(
    tx: asyncpg.Connection, user_id: UUID, purpose: LinkPurpose, *, since: datetime, limit: int
) -> list[Made]:
    """Return the user's last links of this purpose, the newest first. Call it after the user is locked."""
    query = (
        "SELECT created_at, closed_at FROM links WHERE user_id = $1 AND purpose = $2 AND created_at > $3"
        " ORDER BY created_at DESC LIMIT $4"
    )
    rows = await tx.fetch(query, user_id, purpose.value, since, limit)
    return [Made(row["created_at"], row["closed_at"] is None) for row in rows]


async def insert_link(tx: asyncpg.Connection, link: NewLink, *, at: datetime, expires_at: datetime) -> None:
    """Store a link of a locked user in place of the one before, with its event."""
    await tx.execute(
        "UPDATE links SET closed_at = $3, sealed_token = NULL"
        " WHERE user_id = $1 AND purpose = $2 AND closed_at IS NULL",
        link.user_id,
        link.purpose.value,
        at,
    )
    await tx.execute(
        """
        INSERT INTO links (link_id, user_id, purpose, token_hash, sealed_token, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        link.link_id,
        link.user_id,
        link.purpose.value,
        link.token_hash,
        link.sealed_token,
        at,
        expires_at,
    )
    await outbox.append(tx, [_requested(link)])


async def find_open(
    connection: asyncpg.Connection, token_hash: bytes, purpose: LinkPurpose, *, at: datetime
) -> OpenLink | None:
    """Return the link of a token, if it still counts for this purpose."""
    row = await connection.fetchrow(f"{_OPEN} AND token_hash = $1 AND purpose = $3", token_hash, at, purpose.value)
    return None if row is None else _open_link(row)


async def close_link(tx: asyncpg.Connection, link_id: UUID, *, at: datetime) -> bool:
    """End a link that is used; False where it has ended meanwhile."""
    query = "UPDATE links SET closed_at = $2, sealed_token = NULL WHERE link_id = $1 AND closed_at IS NULL"
    result: str = await tx.execute(query, link_id, at)
    return result.endswith(" 1")


async def remove_links(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget every link of a user, and every request for one."""
    await tx.execute("DELETE FROM links WHERE user_id = $1", user_id)
    await tx.execute("DELETE FROM link_requests WHERE user_id = $1", user_id)


async def list_open(connection: asyncpg.Connection, link_ids: Sequence[UUID], *, at: datetime) -> list[OpenLink]:
    """Return those of the links that still count."""
    return [_open_link(row) for row in await connection.fetch(f"{_OPEN} AND link_id = ANY($1)", list(link_ids), at)]


async def prune(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many links that are past their time for a day, and say how many."""
    deleted: str = await tx.execute(
        "DELETE FROM links WHERE link_id IN (SELECT link_id FROM links WHERE expires_at < $1 LIMIT $2)",
        at - timedelta(seconds=KEPT_SECONDS),
        limit,
    )
    return int(deleted.split()[-1])


def _open_link(row: asyncpg.Record) -> OpenLink:
    return OpenLink(**{**row, "purpose": LinkPurpose(row["purpose"])})


def _requested(link: NewLink) -> Event:
    payload = events_pb2.LinkRequested(
        link_id=str(link.link_id),
        user_id=str(link.user_id),
        purpose=f"LINK_PURPOSE_{link.purpose.value}",
    )
    return Event(TOPIC, "titan.auth.v1.LinkRequested", str(link.link_id), 1, payload.SerializeToString())
