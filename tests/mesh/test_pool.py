"""Who gets which connection, and who makes one: the pool alone, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mesh import pool as pool_module
from mesh.pool import Pool, PoolExhausted


class Away(Exception):
    """The server says no."""


class Connection:
    """As much of asyncpg's as the pool uses."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's own
        self.closed = True


class Server:
    """Makes connections, numbered; while `refuses` it says no, and while `busy` it lets callers wait."""

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.knocks = 0
        self.refuses = False
        self.free = asyncio.Event()
        self.free.set()

    async def connect(self) -> Any:
        self.knocks += 1
        await asyncio.sleep(0)
        await self.free.wait()
        if self.refuses:
            raise Away
        self.made.append(Connection(len(self.made)))
        return self.made[-1]


@pytest.fixture
async def server() -> Server:
    return Server()


@asynccontextmanager
async def taken(pool: Pool, *, usable: bool = True) -> AsyncIterator[Any]:
    connection = await pool.take()
    try:
        yield connection
    finally:
        pool.give_back(connection, usable=usable)


async def number(pool: Pool) -> int:
    """Return which connection one gets who asks now."""
    async with taken(pool) as connection:
        return int(connection.number)


async def turns(count: int = 10) -> None:
    """Let everybody go on who can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lost_connection_does_not_hide_one_that_is_idle(server: Server):
    """Whoever comes next takes what is there, also while the server would take nobody new."""
    pool = Pool(server.connect, 3)
    async with taken(pool, usable=False), taken(pool):
        pass
    server.refuses = True
    assert [1] * 3 == [await number(pool) for _ in range(3)]
    assert 2 == server.knocks


async def test_a_knock_in_vain_does_not_hide_one_that_is_idle(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Nor does it take a place along."""
    monkeypatch.setattr(pool_module, "KNOCK_SECONDS", 0.0)
    pool = Pool(server.connect, 2)
    first = await pool.take()
    server.refuses = True
    server.free.clear()
    knocking = asyncio.create_task(pool.take())
    await turns()
    pool.give_back(first, usable=True)
    server.free.set()
    with pytest.raises(Away):
        await knocking
    async with taken(pool) as again:
        assert again is first
        with pytest.raises(Away):
            await pool.take()
    assert 0 == await number(pool)


async def test_connections_that_were_closed_meanwhile_are_passed_over(server: Server):
    """One that is open and idle is taken before any is made."""
    pool = Pool(server.connect, 3)
    async with taken(pool), taken(pool), taken(pool):
        pass
    for each in server.made[:2]:
        each.closed = True
    assert 2 == await number(pool)
    assert 3 == server.knocks


async def test_one_knocks_for_all(server: Server):
    """A server that died is asked once, however many want in, and again after a while."""
    pool = Pool(server.connect, 8)
    server.refuses = True
    answers = await asyncio.gather(*(pool.take() for _ in range(20)), return_exceptions=True)
    assert [Away] * 20 == [type(each) for each in answers]
    assert 1 == server.knocks
    server.refuses = False
    await asyncio.sleep(pool_module.KNOCK_SECONDS)
    await asyncio.gather(*(number(pool) for _ in range(20)))


async def test_who_waits_behind_a_knock_takes_what_is_given_back(server: Server):
    """A server that is slow to let somebody in holds up nobody for whom there is a connection."""
    pool = Pool(server.connect, 3)
    first = await pool.take()
    server.free.clear()
    knocking, behind = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await turns()
    pool.give_back(first, usable=True)
    await turns()
    assert behind.done() and behind.result() is first and not knocking.done()
    server.free.set()
    assert 1 == (await knocking).number
    assert 2 == server.knocks


async def test_a_knock_that_is_given_up_is_taken_over(server: Server):
    """By the first of those behind it."""
    pool = Pool(server.connect, 2)
    server.free.clear()
    knocking, behind = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await turns()
    knocking.cancel()
    await turns()
    assert knocking.cancelled() and 2 == server.knocks
    server.free.set()
    async with asyncio.timeout(1):
        pool.give_back(await behind, usable=True)
        await asyncio.gather(number(pool), number(pool))


async def test_first_come_first_served(server: Server):
    """Nobody who gives back and takes again at once, as busy batchers do, is before those who wait."""
    pool = Pool(server.connect, 2)
    served: list[str] = []

    async def busy(name: str) -> None:
        for _ in range(3):
            async with taken(pool):
                served.append(name)
                await asyncio.sleep(0)

    async def patient(name: str) -> None:
        async with taken(pool):
            served.append(name)

    tasks = [asyncio.create_task(busy("busy")) for _ in range(2)]
    tasks += [asyncio.create_task(patient(f"patient {number}")) for number in range(3)]
    await asyncio.gather(*tasks)
    assert ["busy", "busy", *(f"patient {number}" for number in range(3)), *["busy"] * 4] == served


async def test_there_are_never_more_than_its_size(server: Server, monkeypatch: pytest.MonkeyPatch):
    """In use and idle together, whoever leaves while they wait."""
    monkeypatch.setattr(pool_module, "POOL_TIMEOUT_SECONDS", 0.05)
    pool = Pool(server.connect, 2)
    async with taken(pool), taken(pool):
        leaving = [asyncio.create_task(pool.take()) for _ in range(3)]
        await turns()
        for each in leaving:
            each.cancel()
        with pytest.raises(PoolExhausted):
            await pool.take()
    await asyncio.gather(*(number(pool) for _ in range(9)))
    assert 2 == len(server.made)
    await pool.close()
    assert all(each.closed for each in server.made)
    assert 2 == await number(pool)
