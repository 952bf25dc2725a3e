"""All SQL about tries of a password or a code: whose the address is, and the wrong ones that were counted.

Tries of a password are counted under what the address is found by, whether anybody has it or not: `email_hash` is that
keyed hash under the newest key, or `factor_key`. A new key of the index forgives what was counted under the one before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from svc_auth.auth.rules import FORGET_SECONDS, Attempts, Subject
from svc_auth.blind_index import Hashed
from svc_auth.renewal.index_store import KeysMoved, Written


def factor_key(user_id: UUID) -> bytes:
    """Return the key under which wrong codes of a user's second factor are counted."""
    return hashlib.sha256(b"second factor " + user_id.bytes).digest()


@dataclass(frozen=True)
class Credentials:
    """Who has an address, the hash of their password if any, whether a second factor is in force, and what they were
    found by."""

    subject: Subject
    password_hash: str | None
    second_factor: bool
    email_index: bytes


async def find_credentials(connection: asyncpg.Connection, email: Hashed) -> tuple[Credentials | None, Attempts | None]:
    """Return who has an address, if anybody, and the wrong passwords that it saw, if any.

    Raises:
        KeysMoved: It was hashed with other keys than those that are in use.
    """
    row = await connection.fetchrow(
        """
        SELECT s.index_check, s.index_check_before,
            u.user_id, u.roles, u.password_hash, u.email_index, f.confirmed_at, a.failures, a.failed_at, a.blocked_until
        FROM sealing s
        LEFT JOIN users u ON u.email_index = ANY($1)
        LEFT JOIN second_factors f ON f.user_id = u.user_id
        LEFT JOIN sign_in_attempts a ON a.email_hash = $2
        """,
        email.each,
        email.newest,
    )
    if Written(row["index_check"], row["index_check_before"]) != email.written:
        raise KeysMoved
    attempts = None if row["failures"] is None else Attempts(row["failures"], row["failed_at"], row["blocked_until"])
    if row["user_id"] is None:
        return None, attempts
    subject = Subject(row["user_id"], False, tuple(row["roles"]))
    found = Credentials(subject, row["password_hash"], row["confirmed_at"] is not None, row["email_index"])
    return found, attempts


async def lock_attempts(tx: asyncpg.Connection, hashed: bytes, *, at: datetime) -> Attempts | None:
    """Return the wrong passwords that an address saw, locked; None for the first."""
    row = await tx.fetchrow(
        """
        INSERT INTO sign_in_attempts AS a (email_hash, failures, failed_at, blocked_until) VALUES ($1, 0, $2, $2)
        ON CONFLICT (email_hash) DO UPDATE SET email_hash = excluded.email_hash
        RETURNING failures, failed_at, blocked_until
        """,
        hashed,
        at,
    )
    return None if row["failures"] == 0 else Attempts(row["failures"], row["failed_at"], row["blocked_until"])


async def save_attempts(tx: asyncpg.Connection, hashed: bytes, attempts: Attempts) -> None:
    """Store the wrong passwords of a locked address."""
    await tx.execute(
        "UPDATE sign_in_attempts SET failures = $2, failed_at = $3, blocked_until = $4 WHERE email_hash = $1",
        hashed,
        attempts.failures,
        attempts.failed_at,
        attempts.blocked_until,
    )


async def forget_attempts(tx: asyncpg.Connection, hashed: bytes) -> None:
    """Forget the wrong passwords of an address: its owner has come."""
    await tx.execute("DELETE FROM sign_in_attempts WHERE email_hash = $1", hashed)


async def prune(tx: asyncpg.Connection, *, at: datetime) -> None:
    """Forget the attempts that count no more."""
    await tx.execute("DELETE FROM sign_in_attempts WHERE failed_at < $1", at - timedelta(seconds=2 * FORGET_SECONDS))
