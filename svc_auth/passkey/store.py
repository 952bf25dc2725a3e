"""All SQL about passkeys and their challenges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from svc_auth.passkey.rules import ChallengePurpose

_PASSKEY = (
    "passkey_id, user_id, credential_id, public_key, sign_count, backed_up, sealed_name, created_at, last_used_at"
)


@dataclass(frozen=True)
class Passkey:
    """A user's passkey."""

    passkey_id: UUID
    user_id: UUID
    credential_id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    sign_count: int
    backed_up: bool
    sealed_name: bytes | None
    created_at: datetime
    last_used_at: datetime | None
    name: str = ""
    """What was sealed, where it was opened."""


# --- challenges ---


@dataclass(frozen=True)
class Owner:
    """Who registers a passkey, and in which session."""

    user_id: UUID
    session_id: UUID | None


async def insert_challenge(
    tx: asyncpg.Connection,
    challenge_hash: bytes,
    purpose: ChallengePurpose,
    *,
    owner: Owner | None,
    expires_at: datetime,
) -> None:
    """Store a new challenge; one to register is for a user and their session."""
    await tx.execute(
        "INSERT INTO passkey_challenges (challenge_hash, purpose, user_id, session_id, expires_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        challenge_hash,
        purpose.value,
        owner.user_id if owner is not None else None,
        owner.session_id if owner is not None else None,
        expires_at,
    )


async def take_challenge(
    connection: asyncpg.Connection,
    challenge_hash: bytes,
    purpose: ChallengePurpose,
    *,
    owner: Owner | None,
    at: datetime,
) -> bool:
    """Forget a challenge, whatever comes of it; returns whether it counts for this purpose, user and session."""
    row = await connection.fetchrow(
        "DELETE FROM passkey_challenges WHERE challenge_hash = $1 RETURNING purpose, user_id, session_id, expires_at",
        challenge_hash,
    )
    if row is None or row["purpose"] != purpose.value or at >= row["expires_at"]:
        return False
    return (row["user_id"], row["session_id"]) == ((None, None) if owner is None else (owner.user_id, owner.session_id))


async def remove_challenges(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Forget what a locked user was asked to register with, and say how much that was."""
    deleted: str = await tx.execute("DELETE FROM passkey_challenges WHERE user_id = $1", user_id)
    return int(deleted.split()[-1])


async def prune(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many challenges that nobody answered, and say how many."""
    deleted: str = await tx.execute(
        "DELETE FROM passkey_challenges WHERE challenge_hash IN"
        " (SELECT challenge_hash FROM passkey_challenges WHERE expires_at < $1 LIMIT $2)",
        at,
        limit,
    )
    return int(deleted.split()[-1])


# --- passkeys ---


async def list_passkeys(connection: asyncpg.Connection, user_id: UUID) -> Sequence[Passkey]:
    """Return a user's passkeys, the newest first, at most MAX_PASSKEYS."""
    query = f"SELECT {_PASSKEY} FROM passkeys WHERE user_id = $1 ORDER BY created_at DESC, passkey_id DESC"
    return [Passkey(**row) for row in await connection.fetch(query, user_id)]


async def find_owner(connection: asyncpg.Connection, credential_id: bytes) -> UUID | None:
    """Return whose passkey this is."""
    query = "SELECT user_id FROM passkeys WHERE credential_id = $1"
    found: UUID | None = await connection.fetchval(query, credential_id)
    return found


async def lock_passkey(tx: asyncpg.Connection, credential_id: bytes) -> Passkey | None:
    """Return a passkey and hold the row. Call it after its user is held."""
    row = await tx.fetchrow(f"SELECT {_PASSKEY} FROM passkeys WHERE credential_id = $1 FOR UPDATE", credential_id)
    return None if row is None else Passkey(**row)


async def insert_passkey(tx: asyncpg.Connection, passkey: Passkey) -> bool:
    """Store a passkey of a locked user; False where the credential is somebody's already."""
    result: str = await tx.execute(
        f"INSERT INTO passkeys ({_PASSKEY}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        " ON CONFLICT (credential_id) DO NOTHING",
        passkey.passkey_id,
        passkey.user_id,
        passkey.credential_id,
        passkey.public_key,
        passkey.sign_count,
        passkey.backed_up,
        passkey.sealed_name,
        passkey.created_at,
        passkey.last_used_at,
    )
    return result.endswith(" 1")


async def save_used(
    tx: asyncpg.Connection, passkey_id: UUID, *, sign_count: int, backed_up: bool, at: datetime
) -> None:
    """Note that somebody signed in with a locked passkey, and what it showed."""
    await tx.execute(
        "UPDATE passkeys SET sign_count = $2, backed_up = $3, last_used_at = $4 WHERE passkey_id = $1",
        passkey_id,
        sign_count,
        backed_up,
        at,
    )


async def remove_passkey(tx: asyncpg.Connection, user_id: UUID, passkey_id: UUID) -> bool:
    """Forget a passkey of this user; False where there is none."""
    query = "DELETE FROM passkeys WHERE user_id = $1 AND passkey_id = $2"
    result: str = await tx.execute(query, user_id, passkey_id)
    return result.endswith(" 1")


async def remove_passkeys(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget every passkey of a locked user."""
    await tx.execute("DELETE FROM passkeys WHERE user_id = $1", user_id)
