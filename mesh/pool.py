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
    """At most `size` connections, each made by `connect` when it is first needed."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int) -> None:
        self._connect = connect
        self._places: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue(size)
        for _ in range(size):
            self._places.put_nowait(None)
        self._refused_at = -math.inf
        self._refusal: Exception | None = None

    async def take(self) -> asyncpg.Connection:
        """Return a connection that nobody else uses. The caller gives it back.

        Raises:
            PoolExhausted: There was none within `POOL_TIMEOUT_SECONDS`.
            Exception: Whatever making a connection raises.
        """
        connection = await self._place()
        if connection is not None and not connection.is_closed():
            return connection
        try:
            return await self._knock()
        except BaseException:
            self._places.put_nowait(None)
            raise

    def give_back(self, connection: asyncpg.Connection, *, usable: bool) -> None:
        """Let others use a connection, or one that is made in its place."""
        if not usable:
            connection.terminate()
        self._places.put_nowait(connection if usable else None)

    async def close(self) -> None:
        """Close the connections that nobody uses; the next one to ask gets a new one."""
        idle = [self._places.get_nowait() for _ in range(self._places.qsize())]
        for _ in idle:
            self._places.put_nowait(None)
        closing = (each.close(timeout=CLOSE_TIMEOUT_SECONDS) for each in idle if each is not None)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _knock(self) -> asyncpg.Connection:
        if self._refusal is not None and time.monotonic() - self._refused_at < KNOCK_SECONDS:
            raise self._refusal.with_traceback(None)
        try:
            connection = await self._connect()
        except Exception as error:
            self._refusal, self._refused_at = error, time.monotonic()
            raise
        self._refusal = None
        return connection

    async def _place(self) -> asyncpg.Connection | None:
        if not self._places.empty():
            return self._places.get_nowait()
        try:
            async with asyncio.timeout(POOL_TIMEOUT_SECONDS):
                return await self._places.get()
        except TimeoutError:
            raise PoolExhausted("every connection is in use") from None
