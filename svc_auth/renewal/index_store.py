"""All SQL about the keys of the index: which are in use, and the rows whose hash is another one under the newest."""

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

    It waits for whoever stores something under the keys as they were (`hold`).
    """
    result: str = await tx.execute(
        "UPDATE sealing SET index_check = $2, index_check_before = index_check"
        " WHERE index_check = $1 AND index_check_before IS NULL",
        written.newest,
        check,
    )
    return result.endswith(" 1")


async def finish(tx: asyncpg.Connection, written: Written) -> bool:
    """Note that nothing is hashed with the key before any more; False where others are in use than were thought."""
    result: str = await tx.execute(
        "UPDATE sealing SET index_check_before = NULL WHERE index_check = $1 AND index_check_before = $2",
        written.newest,
        written.before,
    )
    return result.endswith(" 1")


async def list_users(connection: asyncpg.Connection, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
    """Return the next users after this one, at most `limit`, who are found by something."""
    return list(
        await connection.fetch(
            """
            SELECT user_id, email_index, sealed, importer_id, external_index, sealed_external_id FROM users
            WHERE (email_index IS NOT NULL OR external_index IS NOT NULL) AND ($1::uuid IS NULL OR user_id > $1)
            ORDER BY user_id LIMIT $2
            """,
            after,
            limit,
        )
    )


async def list_identities(connection: asyncpg.Connection, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
    """Return the next identities after this one, at most `limit`."""
    return list(
        await connection.fetch(
            """
            SELECT identity_id, user_id, issuer, subject_index, sealed_subject FROM identities
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
