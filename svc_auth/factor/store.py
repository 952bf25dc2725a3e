"""All SQL about second factors and their recovery codes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from svc_auth.factor.rules import Factor

_FACTOR = "SELECT user_id, secret, last_step, confirmed_at FROM second_factors WHERE user_id = $1"


def _factor(row: asyncpg.Record | None) -> Factor | None:
    return None if row is None else Factor(**row)


async def find_factor(connection: asyncpg.Connection, user_id: UUID) -> tuple[Factor | None, int]:
    """Return a user's second factor, confirmed or not, and how many recovery codes are left."""
    factor = _factor(await connection.fetchrow(_FACTOR, user_id))
    left: int = await connection.fetchval("SELECT count(*) FROM recovery_codes WHERE user_id = $1", user_id)
    return factor, left


async def is_active(connection: asyncpg.Connection, user_id: UUID) -> bool:
    """Return whether a second factor of a user is in force."""
    query = "SELECT EXISTS (SELECT FROM second_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL)"
    found: bool = await connection.fetchval(query, user_id)
    return found


async def lock_factor(tx: asyncpg.Connection, user_id: UUID) -> Factor | None:
    """Return a user's second factor and hold the row."""
    return _factor(await tx.fetchrow(f"{_FACTOR} FOR UPDATE", user_id))


async def save_enrolled(tx: asyncpg.Connection, user_id: UUID, secret: bytes, *, at: datetime) -> bool:
    """Store a sealed secret to be confirmed, in place of one that never was; False where one is in force."""
    result: str = await tx.execute(
        """
        INSERT INTO second_factors AS f (user_id, secret, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at
        WHERE f.confirmed_at IS NULL
        """,
        user_id,
        secret,
        at,
    )
    return result.endswith(" 1")


async def save_confirmed(tx: asyncpg.Connection, user_id: UUID, *, code_hashes: Sequence[bytes], at: datetime) -> None:
    """Put a locked factor into force, with its recovery codes."""
    await tx.execute(
        """
        WITH confirmed AS (UPDATE second_factors SET confirmed_at = $2 WHERE user_id = $1)
        INSERT INTO recovery_codes (code_hash, user_id) SELECT code_hash, $1 FROM unnest($3::bytea[]) AS n (code_hash)
        """,
        user_id,
        at,
        list(code_hashes),
    )


async def save_step(tx: asyncpg.Connection, user_id: UUID, step: int) -> None:
    """Note the time step of the last code of a locked factor that counted."""
    await tx.execute("UPDATE second_factors SET last_step = $2 WHERE user_id = $1", user_id, step)


async def spend_recovery_code(tx: asyncpg.Connection, user_id: UUID, code_hash: bytes) -> bool:
    """Forget a recovery code of a locked factor; False where there is none."""
    query = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2"
    result: str = await tx.execute(query, user_id, code_hash)
    return result.endswith(" 1")


async def remove_enrolled(tx: asyncpg.Connection, user_id: UUID) -> int:
    """Forget a secret of a locked user that waits to be confirmed; 1 where there was one."""
    query = "DELETE FROM second_factors WHERE user_id = $1 AND confirmed_at IS NULL"
    deleted: str = await tx.execute(query, user_id)
    return int(deleted.split()[-1])


async def remove_factor(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget a locked factor and its recovery codes."""
    await tx.execute("DELETE FROM second_factors WHERE user_id = $1", user_id)
