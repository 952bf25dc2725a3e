"""Old answers are forgotten, young ones kept; on a real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from mesh import housekeeping
from mesh.database import Database


async def test_old_answers_go_and_young_ones_stay(fresh_database: Any) -> None:
    """More rows than one transaction takes are all gone after one round."""
    db = await Database.connect(await fresh_database("svc_inventory"), name="housekeeping")
    async with db.hot() as tx:
        await tx.execute(
            "INSERT INTO idempotency (user_id, method, request_id, fingerprint, created_at)"
            " SELECT $1, 'm', n::text, '', now() - interval '31 days' FROM generate_series(1, 2500) n",
            uuid4(),
        )
        await tx.execute(
            "INSERT INTO idempotency (user_id, method, request_id, fingerprint) VALUES ($1, 'm', 'y', '')", uuid4()
        )
    work = asyncio.create_task(housekeeping.run(db, housekeeping.idempotency_keys))

    async def left() -> int:
        async with db.hot_read() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM idempotency"))

    async with asyncio.timeout(10):
        while await left() > 1:
            await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert await left() == 1
    await db.close()
