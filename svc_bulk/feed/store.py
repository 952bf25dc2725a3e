"""The only writer of `feeds`: the ETag of each feed as it was imported last."""

from __future__ import annotations

import asyncpg


async def find_etag(connection: asyncpg.Connection, url: str) -> str:
    """Return the ETag of a feed as it was imported last; empty where it was not, or had none."""
    return await connection.fetchval("SELECT etag FROM feeds WHERE url = $1", url) or ""


async def save_etag(tx: asyncpg.Connection, url: str, etag: str) -> None:
    """Remember that all of a feed was imported as this ETag names it."""
    await tx.execute(
        "INSERT INTO feeds (url, etag) VALUES ($1, $2)"
        " ON CONFLICT (url) DO UPDATE SET etag = EXCLUDED.etag, synced_at = now()",
        url,
        etag,
    )
