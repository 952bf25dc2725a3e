"""All SQL about sessions, refresh tokens, the challenges of sign-ins and token exchanges.

Written for asyncpg: signing in and refreshing are on the path of every shopper. Sessions are written as sets. When a
session ended is told by the database's own clock, as is what is listed of it, so that processes whose clocks disagree
miss nothing of one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from mesh.refusals import SessionRevoked
from svc_auth.auth.rules import REVOCATION_SECONDS, RefreshState, Subject
from svc_auth.user.rules import User


def token_hash(refresh_token: str) -> bytes:
    """Return what is stored of a refresh token. It is 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(refresh_token.encode()).digest()


# --- sessions and refresh tokens ---


def resource(session_id: UUID) -> str:
    """Return the name of a session in the audit log."""
    return f"sessions/{session_id}"


@dataclass(frozen=True)
class NewSession:
    """A session to open, with the hash of its first refresh token."""

    session_id: UUID
    user_id: UUID
    token_hash: bytes
    client_name: bytes | None = None
    """Sealed, as wherever this store has it."""
    amr: tuple[str, ...] = ()


_INSERT_SESSIONS = """
WITH opened AS (
    INSERT INTO sessions (session_id, user_id, sealed_client_name, amr, created_at, expires_at)
    SELECT session_id, user_id, client_name, string_to_array(amr, ' '), $4, $5
    FROM unnest($1::uuid[], $2::uuid[], $6::bytea[], $7::text[]) AS n (session_id, user_id, client_name, amr)
)
INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at)
SELECT token_hash, session_id, $4, $5 FROM unnest($1::uuid[], $3::bytea[]) AS n (session_id, token_hash)
"""


async def insert_sessions(
    tx: asyncpg.Connection, sessions: Sequence[NewSession], *, at: datetime, expires_at: datetime
) -> None:
    """Open sessions of users that exist."""
    await tx.execute(
        _INSERT_SESSIONS,
        [s.session_id for s in sessions],
        [s.user_id for s in sessions],
        [s.token_hash for s in sessions],
        at,
        expires_at,
        [s.client_name for s in sessions],
        [" ".join(s.amr) for s in sessions],
    )


_LOCK_REFRESH = """
SELECT t.session_id, s.created_at, t.expires_at, t.spent_at, s.revoked_at, s.user_id, s.amr
FROM refresh_tokens t JOIN sessions s USING (session_id)
WHERE t.token_hash = $1
FOR UPDATE
"""


async def lock_refresh(tx: asyncpg.Connection, hashed: bytes) -> RefreshState | None:
    """Return a refresh token with its session, both locked, or None for one that was never issued."""
    row = await tx.fetchrow(_LOCK_REFRESH, hashed)
    if row is None:
        return None
    user = await tx.fetchrow("SELECT email_index IS NULL AS guest, roles FROM users WHERE user_id = $1", row["user_id"])
    subject = Subject(row["user_id"], user["guest"], tuple(user["roles"]))
    times = row["created_at"], row["expires_at"], row["spent_at"], row["revoked_at"]
    return RefreshState(row["session_id"], subject, *times, tuple(row["amr"]))


async def save_rotated(
    tx: asyncpg.Connection, *, spent: bytes, issued: bytes, session_id: UUID, at: datetime, expires_at: datetime
) -> None:
    """Spend a locked refresh token and store the next one of its session."""
    await tx.execute("UPDATE refresh_tokens SET spent_at = $2 WHERE token_hash = $1", spent, at)
    await tx.execute(
        """
        WITH longer AS (UPDATE sessions SET expires_at = $4 WHERE session_id = $2)
        INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)
        """,
        issued,
        session_id,
        at,
        expires_at,
    )


async def find_session(connection: asyncpg.Connection, hashed: bytes) -> UUID | None:
    """Return the session that a refresh token belongs to, spent or not."""
    query = "SELECT session_id FROM refresh_tokens WHERE token_hash = $1"
    found: UUID | None = await connection.fetchval(query, hashed)
    return found


async def is_session_of(connection: asyncpg.Connection, user_id: UUID, session_id: UUID) -> bool:
    """Return whether a session is this user's, ended or not."""
    query = "SELECT EXISTS (SELECT FROM sessions WHERE session_id = $1 AND user_id = $2)"
    found: bool = await connection.fetchval(query, session_id, user_id)
    return found


async def find_start(connection: asyncpg.Connection, user_id: UUID, session_id: UUID) -> datetime | None:
    """Return when a session of this user was opened, None where there is none or it has ended."""
    query = "SELECT created_at FROM sessions WHERE session_id = $1 AND user_id = $2 AND revoked_at IS NULL"
    found: datetime | None = await connection.fetchval(query, session_id, user_id)
    return found


async def hold_session(
    tx: asyncpg.Connection, user_id: UUID, session_id: UUID | None, *, at: datetime, to_change: bool = False
) -> None:
    """Keep a session of a locked user from ending until the transaction does, and alone where it is changed there.

    Raises:
        SessionRevoked: It has ended, or is somebody else's.
    """
    query = (
        "SELECT true FROM sessions"
        " WHERE session_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3 FOR "
    ) + ("NO KEY UPDATE" if to_change else "SHARE")
    if await tx.fetchval(query, session_id, user_id, at) is None:
        raise SessionRevoked("the session has ended: sign in again")


async def save_factor_shown(tx: asyncpg.Connection, session_id: UUID | None, shown: Sequence[str]) -> None:
    """Add to how a held session was opened what its user has shown since."""
    await tx.execute(
        "UPDATE sessions SET amr = amr || ARRAY(SELECT s FROM unnest($2::text[]) AS n (s) WHERE s <> ALL (amr))"
        " WHERE session_id = $1",
        session_id,
        list(shown),
    )


@dataclass(frozen=True)
class LiveSession:
    """A session that still counts, as its user sees it."""

    session_id: UUID
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    sealed_client_name: bytes | None
    client_name: str = ""
    """What was sealed, where it was opened."""


_LIST_SESSIONS = """
SELECT s.session_id, s.created_at, t.issued_at AS refreshed_at, s.expires_at, s.sealed_client_name
FROM sessions s JOIN refresh_tokens t ON t.session_id = s.session_id AND t.spent_at IS NULL
WHERE s.user_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 AND ($3::uuid IS NULL OR s.session_id < $3)
ORDER BY s.session_id DESC LIMIT $4
"""


async def list_sessions(
    connection: asyncpg.Connection, user_id: UUID, *, at: datetime, before: UUID | None, limit: int
) -> list[LiveSession]:
    """Return the sessions of a user that still count, the newest first, at most `limit`, older than `before`."""
    rows = await connection.fetch(_LIST_SESSIONS, user_id, at, before, limit)
    return [LiveSession(**row) for row in rows]


async def save_revoked(tx: asyncpg.Connection, session_id: UUID, *, reason: str) -> bool:
    """End a session; False when it had ended already."""
    result: str = await tx.execute(
        "UPDATE sessions SET revoked_at = now(), revoked_for = $2 WHERE session_id = $1 AND revoked_at IS NULL",
        session_id,
        reason,
    )
    return result.endswith(" 1")


async def save_all_revoked(tx: asyncpg.Connection, user_id: UUID, *, reason: str, but_for: UUID | None = None) -> int:
    """End every session of a user, or every other one, and say how many there were."""
    ended: str = await tx.execute(
        "UPDATE sessions SET revoked_at = now(), revoked_for = $2"
        " WHERE user_id = $1 AND revoked_at IS NULL AND session_id IS DISTINCT FROM $3",
        user_id,
        reason,
        but_for,
    )
    return int(ended.split()[-1])


async def empty_sessions(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget what ended sessions of a user say about their clients, and every token that could refresh one."""
    await tx.execute(
        "UPDATE sessions SET client_name = '', sealed_client_name = NULL, amr = '{}' WHERE user_id = $1", user_id
    )
    mine = "SELECT session_id FROM sessions WHERE user_id = $1"
    await tx.execute(f"DELETE FROM refresh_tokens WHERE session_id IN ({mine})", user_id)


@dataclass(frozen=True)
class Revoked:
    """The sessions that have ended, each with when it did, the oldest first, and the time of the look."""

    sessions: Sequence[tuple[UUID, datetime]]
    as_of: datetime


_LIST_REVOKED = """
SELECT now() AS as_of, s.session_id, s.revoked_at
FROM (SELECT 1) AS always
LEFT JOIN sessions s ON s.revoked_at >= greatest($1::timestamptz, now() - make_interval(secs => $2))
ORDER BY s.revoked_at, s.session_id
"""


async def list_revoked(connection: asyncpg.Connection, *, since: datetime | None) -> Revoked:
    """Return the sessions that ended at this time or later: no earlier ones than those whose tokens may still live."""
    rows = await connection.fetch(_LIST_REVOKED, since, REVOCATION_SECONDS)
    found = [(row["session_id"], row["revoked_at"]) for row in rows if row["session_id"] is not None]
    return Revoked(found, rows[0]["as_of"])


# --- challenges of sign-ins ---


@dataclass(frozen=True)
class OpenChallenge:
    """A sign-in whose first factor was right, and that waits for the second."""

    challenge_hash: bytes
    user_id: UUID
    client_name: bytes | None
    amr: tuple[str, ...]


async def insert_challenge(tx: asyncpg.Connection, challenge: OpenChallenge, *, expires_at: datetime) -> None:
    """Store a new challenge."""
    await tx.execute(
        "INSERT INTO sign_in_challenges (challenge_hash, user_id, sealed_client_name, amr, expires_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        challenge.challenge_hash,
        challenge.user_id,
        challenge.client_name,
        list(challenge.amr),
        expires_at,
    )


async def lock_challenge(tx: asyncpg.Connection, hashed: bytes, *, at: datetime) -> OpenChallenge | None:
    """Return a challenge that still counts, locked, and hold its user: first, as whoever resets a password does."""
    holder = "SELECT user_id FROM sign_in_challenges WHERE challenge_hash = $1"
    await tx.execute(f"SELECT FROM users WHERE user_id = ({holder}) FOR SHARE", hashed)
    row = await tx.fetchrow(
        "SELECT challenge_hash, user_id, sealed_client_name AS client_name, amr FROM sign_in_challenges"
        " WHERE challenge_hash = $1 AND expires_at > $2 FOR UPDATE",
        hashed,
        at,
    )
    return None if row is None else OpenChallenge(**{**row, "amr": tuple(row["amr"])})


async def remove_challenge(tx: asyncpg.Connection, hashed: bytes) -> None:
    """Forget a challenge: it was answered."""
    await tx.execute("DELETE FROM sign_in_challenges WHERE challenge_hash = $1", hashed)


async def remove_challenges(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Forget every challenge of a user, as what earned them counts no more, and say how many there were."""
    deleted: str = await tx.execute("DELETE FROM sign_in_challenges WHERE user_id = $1", user_id)
    return int(deleted.split()[-1])


# --- acting for somebody ---


@dataclass(frozen=True)
class Exchange:
    """One token given to an actor to act for a subject."""

    exchange_id: UUID
    actor_id: UUID
    session_id: UUID
    subject_id: UUID


async def save_exchange(tx: asyncpg.Connection, exchange: Exchange, *, at: datetime) -> None:
    """Record that an actor was given a token to act for a subject; never deleted."""
    await tx.execute(
        "INSERT INTO token_exchanges (exchange_id, actor_id, session_id, subject_id, exchanged_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        exchange.exchange_id,
        exchange.actor_id,
        exchange.session_id,
        exchange.subject_id,
        at,
    )


def subject_of(user: User) -> Subject:
    """Return the subject of a user's tokens."""
    return Subject(user.user_id, user.guest, user.roles)


# --- what has had its time ---

_PRUNE_SESSIONS = """
DELETE FROM sessions WHERE session_id IN (
    SELECT session_id FROM sessions WHERE expires_at < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED
)
"""


async def prune(tx: asyncpg.Connection, *, at: datetime) -> None:
    """Forget expired sessions and challenges: at most a thousand sessions a time."""
    await tx.execute(_PRUNE_SESSIONS, at - timedelta(seconds=2 * REVOCATION_SECONDS))
    await tx.execute("DELETE FROM sign_in_challenges WHERE expires_at < $1", at)
