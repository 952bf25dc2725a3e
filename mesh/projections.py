"""Projections: tables that hold what journals amount to, so that they can be dropped and made again from them.

A projection is drafted first, from its journal alone, into temporary tables of the same shape. `compare` holds the
draft against the table as both stood at one moment, and stops nobody. `rebuild` empties the table and fills it from the
draft: what the journal gained while it was drafted is added under the lock, which is therefore held for a moment only.
Every row counts whole, as its text: a column that a draft forgets is a difference. This module knows no table.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

MAX_DIFFERENCES = 20
"""How many rows of each table are named that differ."""
STATEMENT_SECONDS = 120.0
"""Longer than what a request may take: one statement reads a whole journal."""
LOCK_MS = 10_000

Progress = Callable[[int, int], object]
"""Told how many of how many aggregates are drafted."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a projection, its key, and the condition of the rows that a journal can know of."""

    name: str
    key: tuple[str, ...]
    where: str = "true"

    @property
    def draft(self) -> str:
        """The name of its draft."""
        return f"draft_{self.name}"


@dataclass(frozen=True, slots=True)
class Projection:
    """Tables that a journal amounts to, in the order in which they are filled.

    `draft` brings the drafts up to the journal, whatever stands in them: it is called again under the lock.
    `journal` is a query for how many entries there are.
    """

    name: str
    journal: str
    tables: tuple[Table, ...]
    draft: Callable[[asyncpg.Connection, Progress], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A projection beside what its journal amounts to; `held_seconds` is how long its tables were locked."""

    name: str
    entries: int
    rows: int
    found: str
    drafted: str
    differences: tuple[str, ...]
    seconds: float
    held_seconds: float = 0.0

    @property
    def same(self) -> bool:
        """Whether the tables were what the journal amounts to."""
        return self.found == self.drafted


async def compare(
    connection: asyncpg.Connection, projection: Projection, progress: Progress = lambda done, of: None
) -> Outcome:
    """Hold a projection against its journal, as both stand at one moment. Changes nothing, and nobody waits for it.

    Raises:
        ValueError: The journal is broken.
    """
    began = time.monotonic()
    async with _drafts(connection, projection), connection.transaction(isolation="repeatable_read"):
        await projection.draft(connection, progress)
        return await _outcome(connection, projection, began)


async def rebuild(
    connection: asyncpg.Connection, projection: Projection, progress: Progress = lambda done, of: None
) -> Outcome:
    """Drop what a projection holds and make it again from its journal, all in one transaction or not at all.

    Returns how it stood against its journal before. Who writes to its tables meanwhile waits while they are locked.

    Raises:
        ValueError: The journal is broken; the tables stay as they are.
        asyncpg.LockNotAvailableError: Somebody held a table for longer than `LOCK_MS`.
    """
    began = time.monotonic()
    names = ", ".join(table.name for table in projection.tables)
    async with _drafts(connection, projection):
        async with connection.transaction(isolation="repeatable_read"):
            await projection.draft(connection, progress)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
            await connection.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
            held = time.monotonic()
            await projection.draft(connection, progress)
            outcome = await _outcome(connection, projection, began)
            await connection.execute(f"TRUNCATE {names}")
            for table in projection.tables:
                await _run(connection.execute, f"INSERT INTO {table.name} SELECT * FROM {table.draft}")
            made = [await _digest(connection, table, table.name) for table in projection.tables]
            assert outcome.drafted == _together(made), "a table takes its draft as it is"
        now = time.monotonic()
        await _run(connection.execute, f"ANALYZE {names}")
        return Outcome(
            outcome.name,
            outcome.entries,
            outcome.rows,
            outcome.found,
            outcome.drafted,
            outcome.differences,
            now - began,
            now - held,
        )


@asynccontextmanager
async def _drafts(connection: asyncpg.Connection, projection: Projection) -> AsyncIterator[None]:
    await connection.execute(f"SET statement_timeout = {int(STATEMENT_SECONDS * 1000)}")
    for table in projection.tables:
        await connection.execute(f"CREATE TEMPORARY TABLE {table.draft} (LIKE {table.name} INCLUDING DEFAULTS)")
    try:
        yield
    finally:
        if not connection.is_closed():
            for table in projection.tables:
                await connection.execute(f"DROP TABLE {table.draft}")
            await connection.execute("RESET statement_timeout")


async def _outcome(connection: asyncpg.Connection, projection: Projection, began: float) -> Outcome:
    found = [await _digest(connection, table, table.name) for table in projection.tables]
    drafted = [await _digest(connection, table, table.draft) for table in projection.tables]
    differences: list[str] = []
    for table, is_, should in zip(projection.tables, found, drafted, strict=True):
        if is_ != should:
            differences += await _differences(connection, table)
    return Outcome(
        name=projection.name,
        entries=await _run(connection.fetchval, projection.journal),
        rows=sum(count for count, _ in drafted),
        found=_together(found),
        drafted=_together(drafted),
        differences=tuple(differences),
        seconds=time.monotonic() - began,
    )


async def _digest(connection: asyncpg.Connection, table: Table, name: str) -> tuple[int, str]:
    """Return how many rows a table or its draft has, and a digest of all that stands in them."""
    row = await _run(
        connection.fetchrow,
        "SELECT count(*) AS count, encode(sha256(COALESCE(string_agg("
        f"sha256(convert_to(t::text, 'UTF8')), ''::bytea ORDER BY {', '.join(table.key)}), '')), 'hex') AS digest"
        f" FROM {name} t WHERE {table.where}",
    )
    return row["count"], row["digest"]


def _together(digests: list[tuple[int, str]]) -> str:
    return hashlib.sha256(" ".join(digest for _, digest in digests).encode()).hexdigest()


async def _differences(connection: asyncpg.Connection, table: Table) -> list[str]:
    """Name rows that differ by their keys and columns, never by what stands in them."""
    key = ", ".join(table.key)
    label = " || '/' || ".join(f"{column}::text" for column in table.key)
    rows = await _run(
        connection.fetch,
        f"WITH l AS (SELECT {key}, {label} AS label, t::text AS whole, to_jsonb(t) AS fields FROM {table.name} t"
        f" WHERE {table.where}), d AS (SELECT {key}, {label} AS label, t::text AS whole, to_jsonb(t) AS fields"
        f" FROM {table.draft} t WHERE {table.where})"
        " SELECT COALESCE(l.label, d.label) AS label, l.label IS NULL AS missing, d.label IS NULL AS unknown,"
        " (SELECT string_agg(a.key, ', ' ORDER BY a.key) FROM jsonb_each(l.fields) a JOIN jsonb_each(d.fields) b"
        "  USING (key) WHERE a.value IS DISTINCT FROM b.value) AS columns"
        f" FROM l FULL JOIN d USING ({key}) WHERE l.whole IS DISTINCT FROM d.whole"
        f" ORDER BY label LIMIT {MAX_DIFFERENCES}",
    )
    return [f"{table.name} {row['label']}: {_how(row)}" for row in rows]


def _how(row: asyncpg.Record) -> str:
    if row["missing"]:
        return "is missing"
    return "is in no journal" if row["unknown"] else f"{row['columns']} differ from the journal"


async def _run(call: Callable[..., Awaitable[Any]], sql: str) -> Any:
    return await call(sql, timeout=STATEMENT_SECONDS)
