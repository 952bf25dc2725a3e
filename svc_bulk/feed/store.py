"""The only writer of `feeds`: the ETag of each feed as it was imported last, while that is what the shop has of it."""

from __future__ import annotations

from datetime import datetime

import asyncpg

# Not now(): transactions that began together must not take each other's import for their own.
_BEGIN = """
INSERT INTO feeds (url, etag, synced_at) VALUES ($1, '', clock_timestamp())
ON CONFLICT (url) DO UPDATE SET etag = '', synced_at = EXCLUDED.synced_at
RETURNING synced_at
"""
_END = """
UPDATE feeds SET etag = CASE WHEN synced_at = $3 THEN $2 ELSE '' END, synced_at = clock_timestamp() WHERE url = $1
"""


async def find_etag(connection: asyncpg.Connection, url: str) -> str:
    """Return the ETag of a feed as it was imported last; empty where it was not, or had none."""
    return await connection.fetchval("SELECT etag FROM feeds WHERE url = $1", url) or ""


async def save_begun(tx: asyncpg.Connection, url: str) -> datetime:
    """Remember that an import begins, and forget the ETag of the one before: the shop is about to have a mixture.

    Returns when that was, by which the import is known.
    """
    begun_at: datetime = await tx.fetchval(_BEGIN, url)
    return begun_at


async def save_etag(tx: asyncpg.Connection, url: str, etag: str, *, begun_at: datetime | None) -> None:
    """Remember that all of a feed was imported as this ETag names it, since `begun_at`; empty where it was not all.

    Where another import has begun or ended since then, or nobody knows when this one began, the shop has a mixture, and
    nothing is remembered.
    """
    await tx.execute(_END, url, etag, begun_at)
