"""All SQL of the users' keys, and of the users who were erased."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh.vault.master_keys import WrappedKey

_KEY = "user_id, wrapped_by, wrapped_key"
_INSERT = """
INSERT INTO user_keys (user_id, wrapped_by, wrapped_key)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS k (user_id, wrapped_by, wrapped_key)
WHERE user_id NOT IN (SELECT e.user_id FROM erased_users e WHERE e.user_id = ANY($1::uuid[]))
ORDER BY user_id
ON CONFLICT DO NOTHING
RETURNING user_id
"""
_ERASE = """
WITH erased AS (INSERT INTO erased_users (user_id) VALUES ($1) ON CONFLICT DO NOTHING)
DELETE FROM user_keys WHERE user_id = $1
"""
_LOCK = "SELECT user_id FROM user_keys WHERE user_id = $1 FOR UPDATE"
# An erasure that ended while the keys were being inserted was not seen yet by the statement that inserted them.
_TAKE_BACK = """
DELETE FROM user_keys k USING erased_users e WHERE k.user_id = e.user_id AND k.user_id = ANY($1::uuid[])
RETURNING k.user_id
"""
_ERASED = "SELECT user_id FROM erased_users WHERE user_id = ANY($1::uuid[])"
_ERASED_SINCE = """
SELECT now() AS looked_at, ARRAY(
    SELECT user_id FROM erased_users WHERE erased_at > $1::timestamptz - make_interval(secs => $2)
) AS user_ids
"""
_NOT_WRAPPED_BY = f"""
SELECT {_KEY} FROM user_keys
WHERE wrapped_by <> $1 AND ($2::uuid IS NULL OR user_id > $2) ORDER BY user_id LIMIT $3
"""
_SOME_OF_EACH = f"""
SELECT k.* FROM (SELECT DISTINCT wrapped_by FROM user_keys) AS m,
LATERAL (SELECT {_KEY} FROM user_keys WHERE wrapped_by = m.wrapped_by LIMIT $1) AS k
"""
_SAVE_REWRAPPED = """
UPDATE user_keys k SET wrapped_by = n.wrapped_by, wrapped_key = n.wrapped_key
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::bytea[]) AS n (user_id, before, wrapped_by, wrapped_key)
WHERE k.user_id = n.user_id AND k.wrapped_key = n.before
"""


async def find_keys(connection: asyncpg.Connection, user_ids: Sequence[UUID]) -> list[WrappedKey]:
    """Return the keys of those of the users who have one."""
    rows = await connection.fetch(f"SELECT {_KEY} FROM user_keys WHERE user_id = ANY($1::uuid[])", list(user_ids))
    return [_key(row) for row in rows]


async def insert_keys(connection: asyncpg.Connection, keys: Sequence[WrappedKey]) -> set[UUID]:
    """Store new keys, and return whose are the users' keys now: who has one keeps it, and who was erased gets none."""
    rows = await connection.fetch(
        _INSERT, [key.user_id for key in keys], [key.wrapped_by for key in keys], [key.content for key in keys]
    )
    made = {row["user_id"] for row in rows}
    return made - {row["user_id"] for row in await connection.fetch(_TAKE_BACK, list(made))} if made else made


async def lock_key(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Hold a user's key: wait for whoever stores something sealed with it, and let nobody else begin to."""
    await tx.execute(_LOCK, user_id)


async def destroy_key(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Erase a user: nothing that was sealed for them opens again. Call `Vault.forget` once it is committed."""
    await tx.execute(_ERASE, user_id)


async def list_erased(connection: asyncpg.Connection, user_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the users who were erased."""
    return {row["user_id"] for row in await connection.fetch(_ERASED, list(user_ids))}


async def get_now(connection: asyncpg.Connection) -> datetime:
    """Return the time of the database, by which erasures are dated."""
    now: datetime = await connection.fetchval("SELECT now()")
    return now


async def list_erased_since(
    connection: asyncpg.Connection, looked_at: datetime, *, before_seconds: float
) -> tuple[datetime, list[UUID]]:
    """Return the time of the database, and the users who were erased since a look before, or so long before that."""
    row = await connection.fetchrow(_ERASED_SINCE, looked_at, before_seconds)
    return row["looked_at"], row["user_ids"]


async def list_not_wrapped_by(
    connection: asyncpg.Connection, master_key_id: str, *, after: UUID | None, limit: int
) -> list[WrappedKey]:
    """Return the next keys after this user, at most `limit`, that another master key wraps."""
    return [_key(row) for row in await connection.fetch(_NOT_WRAPPED_BY, master_key_id, after, limit)]


async def has_keys(connection: asyncpg.Connection) -> bool:
    """Return whether any user has a key."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM user_keys)"))


async def list_some_of_each(connection: asyncpg.Connection, *, limit: int) -> list[WrappedKey]:
    """Return keys that each master key wraps, at most `limit` of each."""
    return [_key(row) for row in await connection.fetch(_SOME_OF_EACH, limit)]


async def save_rewrapped(connection: asyncpg.Connection, changes: Sequence[tuple[WrappedKey, WrappedKey]]) -> None:
    """Store keys as they are wrapped now, each with how it was before; one that is gone or changed since stays so."""
    await connection.execute(
        _SAVE_REWRAPPED,
        [after.user_id for _, after in changes],
        [before.content for before, _ in changes],
        [after.wrapped_by for _, after in changes],
        [after.content for _, after in changes],
    )


def _key(row: asyncpg.Record) -> WrappedKey:
    return WrappedKey(row["user_id"], row["wrapped_by"], row["wrapped_key"])
