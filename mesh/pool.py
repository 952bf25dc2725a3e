"""A bounded set of connections, the one used last taken first, so that those that are rarely needed stay unopened.

It hands out asyncpg's own connections. Its caller says of each whether it may be used again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import asyncpg

POOL_TIMEOUT_SECONDS = 5.0
"""How long somebody waits for a connection that others use."""
CLOSE_TIMEOUT_SECONDS = 3.0
KNOCK_SECONDS = 0.1
"""For so long a server that said no is not asked again: each knock costs it a process, just when it tries to get up."""


class PoolExhausted(Exception):
    """Every connection was in use for too long."""


class Pool:
    """At most `size` connections, each made by `connect` when it is first needed.

    Whoever takes one has a place first, in the order of asking, and then whatever connection is idle: so nobody makes
    a new one beside one that nobody uses.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []
        self._news = asyncio.Event()
        self._knocking = False
        self._refused_at = -math.inf
        self._refusal: Exception | None = None

    async def take(self) -> asyncpg.Connection:
        """Return a connection that nobody else uses. The caller gives it back.

        Raises:
            PoolExhausted: There was none within `POOL_TIMEOUT_SECONDS`.
            Exception: Whatever making a connection raises.
        """
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()  # at once, and without the price of a timeout
        try:
            return self._find_idle() or await self._find_or_make()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: asyncpg.Connection, *, usable: bool) -> None:
        """Let others use a connection, or one that is made in its place."""
        if usable:
            self._idle.append(connection)
            if self._knocking:
                self._tell()
        else:
            connection.terminate()
        self._places.release()

    async def close(self) -> None:
        """Close the connections that nobody uses; the next one to ask gets a new one."""
        idle, self._idle = self._idle, []
        closing = (each.close(timeout=CLOSE_TIMEOUT_SECONDS) for each in idle)
        await asyncio.gather(*closing, return_exceptions=True)

    def _find_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _find_or_make(self) -> asyncpg.Connection:
        """One knocks at a time: what it hears counts for those behind it, who take what is given back meanwhile."""
        while (connection := self._find_idle()) is None:
            if not self._knocking:
                return await self._knock()
            await self._news.wait()
        return connection

    async def _knock(self) -> asyncpg.Connection:
        if self._refusal is not None and time.monotonic() - self._refused_at < KNOCK_SECONDS:
            raise self._refusal.with_traceback(None)
        self._knocking = True
        try:
            connection = await self._connect()
        except Exception as error:
            self._refusal, self._refused_at = error, time.monotonic()
            raise
        finally:
            self._knocking = False
            self._tell()
        self._refusal = None
        return connection

    def _tell(self) -> None:
        """Let those who wait behind a knock look again, in their order."""
        self._news.set()
        self._news.clear()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POOL_TIMEOUT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted("every connection is in use") from None
