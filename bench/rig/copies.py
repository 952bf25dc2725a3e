"""Many rows quickly: copies of what the mesh itself has stored, written by SQL in the packages' databases."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from bench.rig.result import Unmeasured

CHUNK = 50_000

Changes = Mapping[str, str]
"""Columns that differ from the template's, as SQL over `id`, a new UUID, and `n`, the number of the copy."""

_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
AND attidentity = '' AND attgenerated = '' ORDER BY attnum
"""
_FRESH = "INSERT INTO fresh SELECT n, uuidv7() FROM generate_series($1::bigint, $2::bigint) AS n"


async def count(connection: asyncpg.Connection, table: str) -> int:
    """Return how many rows a table has."""
    found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
    return found


async def grow(
    connection: asyncpg.Connection, total: int, *, key: str, template: object, tables: Mapping[str, Changes]
) -> None:
    """Copy the rows of `template` until the first table has `total` rows, and have all of it on the disk.

    Args:
        key: The column by which each table's rows of the template are found.
        tables: What differs in a copy, by table; those that are referred to come first.

    Raises:
        Unmeasured: There are more already.
    """
    first_table = next(iter(tables))
    stored = await count(connection, first_table)
    if stored > total:
        raise Unmeasured(f"{first_table} has {stored:,} rows already, more than the {total:,} that were wanted")
    await connection.execute("SET synchronous_commit = off")  # this session loads, and promises nothing
    await connection.execute("CREATE TEMP TABLE IF NOT EXISTS fresh (n bigint, id uuid)")
    for first in range(stored, total, CHUNK):
        async with connection.transaction():
            await connection.execute("TRUNCATE fresh")
            await connection.execute(_FRESH, first + 1, min(first + CHUNK, total))
            for table, changes in tables.items():
                columns = [row["attname"] for row in await connection.fetch(_COLUMNS, table)]
                values = ", ".join(changes.get(column, f"t.{column}") for column in columns)
                await connection.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"
                    f" FROM fresh, {table} AS t WHERE t.{key} = $1",
                    template,
                )
    for table in tables:
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.execute("CHECKPOINT")
