"""Forgets what may be forgotten, a little at a time, in one process of a package.

Each prune deletes at most `PRUNE_ROWS` a transaction, so that it never holds locks for long, and is called again until
nothing is left; then all of them rest for an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from mesh import idempotency
from mesh.database import Database
from mesh.locks import singleton

PRUNE_ROWS = 1000
REST_SECONDS = 3600.0

Prune = Callable[[asyncpg.Connection], Awaitable[int]]
"""Forgets at most `PRUNE_ROWS` and says how many; fewer means that nothing is left."""


async def idempotency_keys(tx: asyncpg.Connection) -> int:
    """Forget the answers to idempotency keys that are past their time."""
    return await idempotency.prune(tx, limit=PRUNE_ROWS)


async def run(db: Database, *prunes: Prune, rest_seconds: float = REST_SECONDS) -> None:
    """Prune now and every hour, until cancelled; one process of the package at a time."""

    async def rounds() -> None:
        while True:
            for prune in prunes:
                while await db.transact(prune) >= PRUNE_ROWS:
                    pass
            await asyncio.sleep(rest_seconds)

    await singleton(db, "housekeeping", rounds)
