"""All SQL about the keys of the index: which are in use, and the rows whose hash is another one under the newest.

Statements are put together from constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg


class KeysMoved(Exception):
    """The keys of the index are others than when something was hashed: read them and hash it again."""


@dataclass(frozen=True)
class Written:
    """Which keys are in use, each by what tells it from any other: the one of all that is new, and the one before it
    while there may be rows of its."""

    newest: bytes
    before: bytes | None

    @property
    def checks(self) -> tuple[bytes, ...]:
        """The keys in use, the newest first."""
        return (self.newest,) if self.before is None else (self.newest, self.before)


@dataclass(frozen=True)
class Column:
    """A column of hashes."""

    table: str
    key: str
    name: str


EMAIL = Column("users", "user_id", "email_index")
CUSTOMER = Column("users", "user_id", "external_index")
SUBJECT = Column("identities", "identity_id", "subject_index")


@dataclass(frozen=True)
class Moved:
    """What a row of a column is found by: before, and with the newest key."""

    column: Column
    row_id: UUID
    before: bytes
    newest: bytes


_ALL = "LEFT JOIN (SELECT NULL::uuid AS row_id, NULL::text[] AS names) l"
_LEFT = "JOIN (SELECT row_id, array_agg(name) AS names FROM index_left GROUP BY row_id) l"
_WRITTEN = "SELECT index_check, index_check_before FROM sealing"


async def begin(connection: asyncpg.Connection, check: bytes) -> Written:
    """Return the keys in use; the first process of all notes its own."""
    await connection.execute("UPDATE sealing SET index_check = $1 WHERE index_check IS NULL", check)
    return await get_written(connection)


async def get_written(connection: asyncpg.Connection) -> Written:
    """Return the keys in use."""
    return Written(*await connection.fetchrow(_WRITTEN))


async def hold(tx: asyncpg.Connection, written: Written) -> None:
    """Keep the keys in use as they are until the end of the transaction.

    Raises:
        KeysMoved: They are others by now.
    """
    if Written(*await tx.fetchrow(f"{_WRITTEN} FOR SHARE")) != written:
        raise KeysMoved


async def take_up(tx: asyncpg.Connection, written: Written, check: bytes) -> bool:
    """Have everything new hashed with another key from now on; False where others are in use than were thought.

    It waits for whoever stores something under the keys as they were (`hold`). What was noted of the replacement before
    goes.
    """
    result: str = await tx.execute(
        "UPDATE sealing SET index_check = $2, index_check_before = index_check"
        " WHERE index_check = $1 AND index_check_before IS NULL",
        written.newest,
        check,
    )
    if not result.endswith(" 1"):
        return False
    await tx.execute("DELETE FROM index_left")
    await tx.execute("DELETE FROM index_renewals")
    return True


async def finish(tx: asyncpg.Connection, written: Written) -> bool:
    """Note that nothing is hashed with the key before any more; False where others are in use than were thought."""
    result: str = await tx.execute(
        "UPDATE sealing SET index_check_before = NULL WHERE index_check = $1 AND index_check_before = $2",
        written.newest,
        written.before,
    )
    return result.endswith(" 1")


async def claim(connection: asyncpg.Connection, written: Written, holder_id: UUID, *, seconds: float) -> bool | None:
    """Take the work of hashing everything anew for so long: whether all was looked through, and None where another
    process has the work."""
    scanned: bool | None = await connection.fetchval(
        """
        INSERT INTO index_renewals AS r (newest, claimed_by, claimed_until)
        VALUES ($1, $2, now() + make_interval(secs => $3))
        ON CONFLICT (newest) DO UPDATE SET claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until
        WHERE r.claimed_by = excluded.claimed_by OR r.claimed_until < now()
        RETURNING scanned
        """,
        written.newest,
        holder_id,
        seconds,
    )
    return scanned


async def save_scanned(tx: asyncpg.Connection, written: Written) -> None:
    """Note that all was looked through, and that only what is noted as left is hashed with the key before. Call it
    after `hold`."""
    await tx.execute("UPDATE index_renewals SET scanned = true WHERE newest = $1", written.newest)


async def save_left(tx: asyncpg.Connection, left: Sequence[tuple[Column, UUID]]) -> None:
    """Note what could not be hashed anew. Call it after `hold`."""
    await tx.execute(
        "INSERT INTO index_left (row_id, name) SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING",
        [row_id for _, row_id in left],
        [column.name for column, _ in left],
    )


async def save_known(tx: asyncpg.Connection, column: Column, row_ids: Sequence[UUID]) -> None:
    """Note that rows are hashed with the newest key: whoever came was found by it, or is from now on."""
    await tx.execute("DELETE FROM index_left WHERE row_id = ANY($1) AND name = $2", list(row_ids), column.name)


async def list_users(
    connection: asyncpg.Connection, *, only_left: bool, after: UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Return the next users after this one, at most `limit`, who are found by something; of all, or of those left, each
    with the `names` of the columns where they are."""
    return list(
        await connection.fetch(
            f"""
            SELECT user_id, email_index, sealed, importer_id, external_index, sealed_external_id, names FROM users
            {_LEFT if only_left else _ALL} ON row_id = user_id
            WHERE (email_index IS NOT NULL OR external_index IS NOT NULL) AND ($1::uuid IS NULL OR user_id > $1)
            ORDER BY user_id LIMIT $2
            """,
            after,
            limit,
        )
    )


async def list_identities(
    connection: asyncpg.Connection, *, only_left: bool, after: UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Return the next identities after this one, at most `limit`; of all, or of those left."""
    return list(
        await connection.fetch(
            f"""
            SELECT identity_id, user_id, issuer, subject_index, sealed_subject, names FROM identities
            {_LEFT if only_left else _ALL} ON row_id = identity_id
            WHERE subject_index IS NOT NULL AND ($1::uuid IS NULL OR identity_id > $1)
            ORDER BY identity_id LIMIT $2
            """,
            after,
            limit,
        )
    )


async def save_moved(tx: asyncpg.Connection, moved: Sequence[Moved]) -> None:
    """Store hashes anew, all of one column; what is gone or changed since stays as it is. Call it after `hold`."""
    if not moved:
        return
    column = moved[0].column
    await tx.execute(
        f"UPDATE {column.table} t SET {column.name} = n.newest"
        " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (row_id, before, newest)"
        f" WHERE t.{column.key} = n.row_id AND t.{column.name} = n.before",
        [each.row_id for each in moved],
        [each.before for each in moved],
        [each.newest for each in moved],
    )
