"""Writes that travel as one statement."""

from __future__ import annotations

import asyncpg
import pytest

from mesh.writes import MAX_WRITES, Write, write


@pytest.fixture
async def tables(db):
    async with db.hot_read() as connection:
        await connection.execute("DROP TABLE IF EXISTS entries; DROP TABLE IF EXISTS accounts")
        await connection.execute(
            "CREATE TABLE accounts (name text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))"
        )
        await connection.execute("CREATE TABLE entries (name text REFERENCES accounts, amount int NOT NULL)")
    return db


def opened(*names: str) -> Write:
    return Write(
        "INSERT INTO accounts SELECT name, $2 FROM unnest($1::text[]) AS n (name)"
        " ON CONFLICT DO NOTHING RETURNING name",
        (list(names), 5),
        name="opened",
    )


async def state(db):
    async with db.hot_read() as connection:
        accounts = await connection.fetch("SELECT name, balance FROM accounts ORDER BY name")
        entries = await connection.fetch("SELECT name, amount FROM entries ORDER BY name")
    return [tuple(row) for row in accounts], [tuple(row) for row in entries]


async def test_parts_keep_their_own_arguments_and_read_what_earlier_ones_return(tables):
    """The second part takes only the rows that the first one made."""
    async with tables.hot() as tx:
        await write(tx, opened("old"))
    entered = Write(
        "INSERT INTO entries SELECT name, $2 FROM unnest($1::text[]) AS n (name)"
        " WHERE name IN (SELECT name FROM opened)",
        (["old", "new"], 7),
    )
    async with tables.hot() as tx:
        rows = await write(tx, opened("old", "new"), None, entered, returning="SELECT name FROM opened")
    assert ["new"] == [row["name"] for row in rows]
    assert ([("new", 5), ("old", 5)], [("new", 7)]) == await state(tables)


async def test_all_parts_or_none(tables):
    """A constraint that one part breaks undoes its neighbours."""
    with pytest.raises(asyncpg.CheckViolationError):
        async with tables.hot() as tx:
            await write(tx, opened("a"), Write("INSERT INTO accounts VALUES ($1, $2)", ("b", -1)))
    assert ([], []) == await state(tables)


async def test_the_same_shape_is_one_prepared_statement(tables):
    """The text depends on the shape alone, so that the server plans it once."""
    async with tables.hot() as tx:
        for name in ("a", "b", "c"):
            await write(tx, opened(name), Write("UPDATE accounts SET balance = 1 WHERE name = $1", ("none",)))
        prepared = await tx.fetch("SELECT 1 FROM pg_prepared_statements WHERE statement LIKE 'WITH%SET balance = 1%'")
    assert 1 == len(prepared)


async def test_nothing_to_write_asks_nobody(tables):
    """No part, no statement; a loop of parts is refused."""
    async with tables.hot() as tx:
        assert [] == await write(tx, None, None)
        with pytest.raises(ValueError, match="at most"):
            await write(tx, *[opened("a")] * (MAX_WRITES + 1))
