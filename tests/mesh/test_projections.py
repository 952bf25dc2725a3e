"""Tables that are dropped and made again from a journal: whole, beside those who write, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from mesh import projections
from mesh.projections import Progress, Projection, Table


async def draft(connection: asyncpg.Connection, progress: Progress) -> None:
    """Sum a journal of units by SKU; a row of none at all breaks it."""
    if await connection.fetchval("SELECT count(*) FROM moved WHERE units = 0"):
        raise ValueError("nothing was moved")
    await connection.execute("TRUNCATE draft_stock")
    await connection.execute("INSERT INTO draft_stock (sku, on_hand) SELECT sku, sum(units) FROM moved GROUP BY sku")
    progress(1, 1)


STOCK = Projection("stock", "SELECT count(*) FROM moved", (Table("stock", ("sku",)),), draft)


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Who writes the journal and its projection."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS moved (sku text, units int); TRUNCATE moved, stock")
    for sku, units in (("mug", 5), ("tea", 2), ("mug", -1)):
        await move(connection, sku, units)
    yield connection
    await connection.close()


@pytest.fixture
async def keeper(db) -> AsyncIterator[asyncpg.Connection]:
    """Who compares and rebuilds."""
    connection = await db.connect_alone("rebuild")
    yield connection
    await connection.close()


async def move(connection: asyncpg.Connection, sku: str, units: int) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO moved VALUES ($1, $2)", sku, units)
        await connection.execute(
            "INSERT INTO stock (sku, on_hand) VALUES ($1, greatest($2, 0))"
            " ON CONFLICT (sku) DO UPDATE SET on_hand = stock.on_hand + $2",
            sku,
            units,
        )


async def stock(connection: asyncpg.Connection) -> dict[str, int]:
    return dict(await connection.fetch("SELECT sku, on_hand FROM stock ORDER BY sku"))


async def test_what_a_journal_amounts_to_has_one_digest_however_often_it_is_made(writer, keeper):
    """Nothing is left of a draft, so the same connection may do it again."""
    compared = await projections.compare(keeper, STOCK)
    rebuilt = [await projections.rebuild(keeper, STOCK) for _ in range(2)]
    assert [(3, 2, True, ())] * 3 == [(o.entries, o.rows, o.same, o.differences) for o in (compared, *rebuilt)]
    assert 1 == len({o.found for o in (compared, *rebuilt)})
    assert {"mug": 4, "tea": 2} == await stock(writer)


async def test_what_differs_is_named_by_key_and_column_and_mended(writer, keeper):
    """Never what stands there, which may be somebody's."""
    await writer.execute("UPDATE stock SET on_hand = 99, note = '{}' WHERE sku = 'mug'")
    await writer.execute("DELETE FROM stock WHERE sku = 'tea'")
    await writer.execute("INSERT INTO stock (sku, on_hand) VALUES ('forged', 1)")
    wrong = (
        "stock forged: is in no journal",
        "stock mug: note, on_hand differ from the journal",
        "stock tea: is missing",
    )
    found = await projections.compare(keeper, STOCK)
    assert (False, wrong) == (found.same, found.differences)
    assert 99 == (await stock(writer))["mug"]
    found = await projections.rebuild(keeper, STOCK)
    assert (False, wrong) == (found.same, found.differences)
    assert {"mug": 4, "tea": 2} == await stock(writer)
    assert (await projections.compare(keeper, STOCK)).same


async def test_nobody_waits_for_a_comparison_and_it_is_of_one_moment(writer, keeper):
    """Units that are moved while it drafts are in neither side of it."""

    async def busy(connection: asyncpg.Connection, progress: Progress) -> None:
        await draft(connection, progress)
        await asyncio.wait_for(move(writer, "mug", 7), timeout=2)

    found = await projections.compare(keeper, Projection("stock", STOCK.journal, STOCK.tables, busy))
    assert (True, 3) == (found.same, found.entries)
    assert 11 == (await stock(writer))["mug"]


async def test_what_is_moved_while_a_draft_is_made_is_not_lost(writer, keeper):
    """Before the lock it is added under it; behind the lock it waits for the new table."""
    drafted, late = 0, []

    async def busy(connection: asyncpg.Connection, progress: Progress) -> None:
        nonlocal drafted
        drafted += 1
        await draft(connection, progress)
        if drafted == 1:
            await move(writer, "mug", 7)
        else:
            late.append(asyncio.create_task(move(writer, "tea", 3)))
            await asyncio.sleep(0)

    found = await projections.rebuild(keeper, Projection("stock", STOCK.journal, STOCK.tables, busy))
    await asyncio.gather(*late)
    assert (2, True, 4) == (drafted, found.same, found.entries)
    assert {"mug": 11, "tea": 5} == await stock(writer)
    assert (await projections.compare(keeper, STOCK)).same


async def test_a_broken_journal_changes_nothing(writer, keeper):
    """Also one that breaks while the table is locked."""
    calls = 0

    async def breaking(connection: asyncpg.Connection, progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await connection.execute("UPDATE stock SET on_hand = 0")
            raise ValueError("nothing was moved")
        await draft(connection, progress)

    with pytest.raises(ValueError, match="nothing was moved"):
        await projections.rebuild(keeper, Projection("stock", STOCK.journal, STOCK.tables, breaking))
    await writer.execute("INSERT INTO moved VALUES ('mug', 0)")
    with pytest.raises(ValueError, match="nothing was moved"):
        await projections.rebuild(keeper, STOCK)
    assert {"mug": 4, "tea": 2} == await stock(writer)


async def test_who_holds_the_table_for_too_long_keeps_it(writer, keeper, monkeypatch):
    monkeypatch.setattr(projections, "LOCK_MS", 20)
    async with writer.transaction():
        await writer.execute("UPDATE stock SET on_hand = 9")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await projections.rebuild(keeper, STOCK)
    assert (await projections.rebuild(keeper, STOCK)).rows == 2
