"""All SQL about what is plain: found, locked, sealed in place, emptied. Statements are put together from constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from svc_auth.user.rules import ADDRESS_FIELDS

_BLANK = ", ".join(f"{name} = ''" for name in ADDRESS_FIELDS)


@dataclass(frozen=True)
class Table:
    """Where rows may be plain: the key of a row, which rows are, and how a sealed one is stored.

    There is a partial index for each of these conditions.
    """

    name: str
    key: str
    plain: str
    save: str


USERS = Table(
    "users",
    "user_id",
    "(display_name <> ''"
    " OR (email IS NOT NULL AND email_index IS NULL) OR (external_id IS NOT NULL AND external_index IS NULL))",
    "UPDATE users SET sealed = $2, email_index = $3, external_index = $4, sealed_external_id = $5, display_name = ''"
    " WHERE user_id = $1",
)
ADDRESSES = Table(
    "addresses",
    "address_id",
    "sealed IS NULL",
    "UPDATE addresses SET sealed = $2 WHERE address_id = $1",
)
SESSIONS = Table(
    "sessions",
    "session_id",
    "client_name <> ''",
    "UPDATE sessions SET sealed_client_name = $2, client_name = '' WHERE session_id = $1",
)
PASSKEYS = Table(
    "passkeys",
    "passkey_id",
    "name <> ''",
    "UPDATE passkeys SET sealed_name = $2, name = '' WHERE passkey_id = $1",
)
IDENTITIES = Table(
    "identities",
    "identity_id",
    "subject IS NOT NULL AND subject_index IS NULL",
    "UPDATE identities SET subject_index = $2, sealed_subject = $3 WHERE identity_id = $1",
)

# What the release before looks users up by, and the addresses that it shows them; nobody changes one. In the order of
# indexes, which are how the rows are found.
_EMPTY = (
    """
    UPDATE users SET email = NULL WHERE user_id IN (
        SELECT user_id FROM users WHERE email IS NOT NULL AND email_index IS NOT NULL ORDER BY email LIMIT $1
    )
    """,
    """
    UPDATE users SET external_id = NULL WHERE user_id IN (
        SELECT user_id FROM users WHERE external_id IS NOT NULL AND external_index IS NOT NULL
        ORDER BY importer_id, external_id LIMIT $1
    )
    """,
    """
    UPDATE identities SET subject = NULL WHERE identity_id IN (
        SELECT identity_id FROM identities WHERE subject IS NOT NULL AND subject_index IS NOT NULL
        ORDER BY issuer, subject LIMIT $1
    )
    """,
    f"""
    UPDATE addresses SET {_BLANK} WHERE address_id IN (
        SELECT address_id FROM addresses WHERE country_code <> '' AND sealed IS NOT NULL ORDER BY address_id LIMIT $1
    )
    """,
)


async def get_plain_until(connection: asyncpg.Connection) -> datetime:
    """Return until when plain columns are written."""
    found: datetime = await connection.fetchval("SELECT plain_until FROM sealing")
    return found


async def find_plain(
    connection: asyncpg.Connection, table: Table, *, after: UUID | None, limit: int
) -> list[tuple[UUID, UUID]]:
    """Return the keys of the next plain rows after this one, at most so many, each with its user."""
    query = (
        f"SELECT {table.key} AS row_id, user_id FROM {table.name}"
        f" WHERE {table.plain} AND ($1::uuid IS NULL OR {table.key} > $1) ORDER BY 1 LIMIT $2"
    )
    return [(row["row_id"], row["user_id"]) for row in await connection.fetch(query, after, limit)]


async def lock_plain(tx: asyncpg.Connection, table: Table, row_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """Return those of the rows that are plain still, and hold them."""
    query = f"SELECT * FROM {table.name} WHERE {table.key} = ANY($1) AND {table.plain} ORDER BY {table.key} FOR UPDATE"
    return list(await tx.fetch(query, list(row_ids)))


async def save_sealed(tx: asyncpg.Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Store locked rows sealed: the key of each, and the values that the table's statement takes."""
    await tx.executemany(table.save, rows)


async def empty_some(tx: asyncpg.Connection, *, limit: int) -> int:
    """Empty at most so many rows of each column that stayed in plain, and say how many of the column with most."""
    return max([int((await tx.execute(statement, limit)).split()[-1]) for statement in _EMPTY])
