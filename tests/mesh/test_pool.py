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
    """Makes connections, numbered; while `refuses` it says no, and while it is not `free` it lets callers wait."""

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.knocks = 0
        self.turns = 1
        """How long a connection takes."""
        self.refuses = False
        self.free = asyncio.Event()
        self.free.set()

    async def connect(self) -> Any:
        self.knocks += 1
        await turns(self.turns)
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
    with pytest.raises(Away):
        await pool.take()
    pool.give_back(first, usable=True)
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


async def test_who_waits_for_a_knock_takes_what_is_given_back(server: Server):
    """A server that is slow to let somebody in holds up nobody for whom there is a connection: first who came first."""
    pool = Pool(server.connect, 3)
    first = await pool.take()
    server.free.clear()
    knocking, behind = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await turns()
    pool.give_back(first, usable=True)
    late = asyncio.create_task(pool.take())
    await turns()
    assert knocking.done() and knocking.result() is first and not behind.done() and not late.done()
    server.free.set()
    assert [1, 2] == [(await each).number for each in (behind, late)]
    assert 3 == server.knocks


async def test_a_knock_outlives_whoever_asked_for_it(server: Server):
    """What it hears is for those behind, and if nobody waits any more, for the next one."""
    pool = Pool(server.connect, 2)
    server.free.clear()
    knocking, behind = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await turns()
    knocking.cancel()
    await turns()
    assert knocking.cancelled() and 1 == server.knocks
    server.free.set()
    async with asyncio.timeout(1):
        pool.give_back(await behind, usable=True)
        server.free.clear()
        async with taken(pool):
            leaving = asyncio.create_task(pool.take())
            await turns()
            leaving.cancel()
            await turns()
            server.free.set()
            await turns()
            assert 1 == await number(pool)
    assert 2 == server.knocks


async def test_callers_with_less_time_than_a_connection_takes_are_served_once_there_is_one(server: Server):
    """As after a server hung: were each knock its caller's own, it would end with them, and none would be heard."""
    pool, server.turns = Pool(server.connect, 3), 40
    calls: list[asyncio.Task[int]] = []
    for _ in range(30):
        calls.append(asyncio.create_task(number(pool)))
        await turns(5)
        if len(calls) >= 3:
            calls[-3].cancel()
    served = [isinstance(each, int) for each in await asyncio.gather(*calls, return_exceptions=True)]
    assert [False] * 6 + [True] * 20 == served[:6] + served[10:]


async def test_what_comes_at_the_moment_of_giving_up_is_for_the_next_one(server: Server):
    """No connection is lost, and no place with it."""
    pool = Pool(server.connect, 2)
    first = await pool.take()
    server.free.clear()
    leaving = asyncio.create_task(pool.take())
    await turns()
    pool.give_back(first, usable=True)
    leaving.cancel()
    await turns()
    assert leaving.cancelled()
    async with asyncio.timeout(1), taken(pool) as again:
        assert again is first
        server.free.set()
        assert 1 == await number(pool)


async def test_whoever_waits_for_a_pool_that_is_closed_hears_so(server: Server):
    """Its knock is given up; the next one to ask gets a new connection."""
    pool = Pool(server.connect, 1)
    server.free.clear()
    waiting = asyncio.create_task(pool.take())
    await turns()
    await pool.close()
    async with asyncio.timeout(1):
        with pytest.raises(ConnectionAbortedError):
            await waiting
        server.free.set()
        assert 0 == await number(pool)


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
