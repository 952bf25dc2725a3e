"""All SQL about what the master keys of this package seal. Statements are put together from constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from svc_auth.sealing import FLOWS, LINKS, SECOND_FACTORS, SIGNING_KEYS


@dataclass(frozen=True)
class Sealed:
    """A sealed column: its purpose and table, the key of a row with its type, and the name that a row is sealed for."""

    purpose: bytes
    table: str
    key: str
    key_type: str
    column: str
    name: Callable[[Any], str] = str


COLUMNS = (
    Sealed(SIGNING_KEYS, "signing_keys", "kid", "text", "private_key"),
    Sealed(SECOND_FACTORS, "second_factors", "user_id", "uuid", "secret"),
    Sealed(LINKS, "links", "link_id", "uuid", "sealed_token"),
    Sealed(FLOWS, "sign_in_flows", "flow_hash", "bytea", "sealed_client_name", bytes.hex),
)


async def any_sealed(connection: asyncpg.Connection) -> bool:
    """Return whether a master key seals anything."""
    some = (f"EXISTS (SELECT FROM {each.table} WHERE {each.column} IS NOT NULL)" for each in COLUMNS)
    return bool(await connection.fetchval(f"SELECT {' OR '.join(some)}"))


async def list_sealed(
    connection: asyncpg.Connection, column: Sealed, *, after: Any, limit: int
) -> list[tuple[Any, bytes]]:
    """Return the next rows after this one, at most `limit`: the key of each, and what is sealed there."""
    rows = await connection.fetch(
        f"SELECT {column.key}, {column.column} FROM {column.table} WHERE {column.column} IS NOT NULL"
        f" AND ($1::{column.key_type} IS NULL OR {column.key} > $1) ORDER BY {column.key} LIMIT $2",
        after,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def save_renewed(tx: asyncpg.Connection, column: Sealed, changes: Sequence[tuple[Any, bytes, bytes]]) -> None:
    """Store what is sealed anew: key, before, now. A row that is gone or changed since stays as it is."""
    await tx.execute(
        f"UPDATE {column.table} t SET {column.column} = n.now"
        f" FROM unnest($1::{column.key_type}[], $2::bytea[], $3::bytea[]) AS n (row_key, before, now)"
        f" WHERE t.{column.key} = n.row_key AND t.{column.column} = n.before",
        [key for key, _, _ in changes],
        [before for _, before, _ in changes],
        [now for _, _, now in changes],
    )
