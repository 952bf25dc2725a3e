"""All SQL about signing keys."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import asyncpg

from svc_auth.auth.rules import KEY_KEPT_SECONDS
from svc_auth.keys import StoredKey

_KEYS_LOCK = int.from_bytes(hashlib.sha256(b"svc_auth signing keys").digest()[:8], "big", signed=True)


async def list_keys(connection: asyncpg.Connection) -> list[StoredKey]:
    """Return every stored key, the newest first."""
    rows = await connection.fetch(
        "SELECT kid, sign_at, public_jwk, private_key, created_at FROM signing_keys ORDER BY sign_at DESC"
    )
    return [
        StoredKey(row["kid"], row["sign_at"], row["public_jwk"], row["private_key"], row["created_at"]) for row in rows
    ]


async def lock_keys(tx: asyncpg.Connection) -> list[StoredKey]:
    """Return every stored key, after taking the lock that lets one process at a time add another."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _KEYS_LOCK)
    return await list_keys(tx)


async def save_key(tx: asyncpg.Connection, key: StoredKey) -> None:
    """Store a new key. Call it after `lock_keys`."""
    await tx.execute(
        "INSERT INTO signing_keys (kid, public_jwk, private_key, created_at, sign_at) VALUES ($1, $2, $3, $4, $5)",
        key.kid,
        dict(key.public_jwk),
        key.private_key,
        key.created_at,
        key.sign_at,
    )


_PRUNE_KEYS = """
DELETE FROM signing_keys k WHERE EXISTS (SELECT 1 FROM signing_keys n WHERE n.sign_at > k.sign_at AND n.sign_at < $1)
"""


async def prune(tx: asyncpg.Connection, *, at: datetime) -> None:
    """Forget the keys that retired long ago."""
    await tx.execute(_PRUNE_KEYS, at - timedelta(seconds=2 * KEY_KEPT_SECONDS))
