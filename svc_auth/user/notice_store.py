"""All SQL about the letters of `notices`: when each was asked for, for as long as it counts.

By the database's own clock, as sessions end by it: nothing but these rows is compared with these rows.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg

_INSERT = """
INSERT INTO sign_in_notices (notice_id, user_id)
SELECT $1, $2
WHERE $4 > (SELECT count(*) FROM sign_in_notices WHERE user_id = $2 AND told_at > now() - make_interval(secs => $3))
"""
_PRUNE = """
DELETE FROM sign_in_notices WHERE notice_id IN (
    SELECT notice_id FROM sign_in_notices WHERE told_at < now() - make_interval(secs => $1) LIMIT $2
)
"""


async def insert_notice(
    tx: asyncpg.Connection, notice_id: UUID, user_id: UUID, *, within_seconds: float, at_most: int
) -> bool:
    """Store that a locked user is told something; False where they were told as much lately."""
    result: str = await tx.execute(_INSERT, notice_id, user_id, within_seconds, at_most)
    return result.endswith(" 1")


async def remove_notices(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget when a user was told anything."""
    await tx.execute("DELETE FROM sign_in_notices WHERE user_id = $1", user_id)


async def prune(tx: asyncpg.Connection, *, older_than_seconds: float, limit: int) -> int:
    """Forget at most so many notices that count no more, and say how many."""
    deleted: str = await tx.execute(_PRUNE, older_than_seconds, limit)
    return int(deleted.split()[-1])
