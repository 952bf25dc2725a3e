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
    a new one beside one that nobody uses. Where none is, they wait in that order for what is given back or made. One is
    made at a time, and for the pool: a connection takes what it takes, however soon those who wait for it give up.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []
        self._waiting: list[asyncio.Future[asyncpg.Connection]] = []  # they have a place, and no connection yet
        self._knocking: asyncio.Task[None] | None = None
        self._refused_at = -math.inf
        self._refusal: Exception | None = None

    async def take(self) -> asyncpg.Connection:
        """Return a connection that nobody else uses. The caller gives it back.

        Raises:
            PoolExhausted: There was none within `POOL_TIMEOUT_SECONDS`.
            Exception: Whatever making a connection raises.
        """
        if self._places.locked():
            await self._wait_for_a_place()
        else:
            await self._places.acquire()  # at once, and without the price of a timeout
        try:
            return self._find_idle() or await self._wait_for_one()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: asyncpg.Connection, *, usable: bool) -> None:
        """Let others use a connection, or one that is made in its place."""
        if usable:
            self._hand_over(connection)
        else:
            connection.terminate()
        self._places.release()

    async def close(self) -> None:
        """Close the connections that nobody uses; the next one to ask gets a new one."""
        knocking = self._knocking
        if knocking is not None and not knocking.done():
            knocking.cancel()
            await asyncio.wait([knocking])
        idle, self._idle = self._idle, []
        closing = (each.close(timeout=CLOSE_TIMEOUT_SECONDS) for each in idle)
        await asyncio.gather(*closing, return_exceptions=True)

    def _find_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _wait_for_one(self) -> asyncpg.Connection:
        if self._refusal is not None and time.monotonic() - self._refused_at < KNOCK_SECONDS:
            raise self._refusal.with_traceback(None)
        if self._knocking is None or self._knocking.done():
            self._knocking = asyncio.create_task(self._knock(), name="making connections")
            self._knocking.add_done_callback(self._tell_end)
        turn: asyncio.Future[asyncpg.Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._hand_over(turn.result())  # it came at the moment of giving up
            raise
        finally:
            self._waiting.remove(turn)

    async def _knock(self) -> None:
        """Make one connection after the other for as long as somebody waits for one; a refusal is for all of them."""
        try:
            while any(not turn.done() for turn in self._waiting):
                connection = await self._connect()
                self._refusal = None
                self._hand_over(connection)
        except Exception as error:
            self._refusal, self._refused_at = error, time.monotonic()
            self._refuse(error)

    def _tell_end(self, knock: asyncio.Task[None]) -> None:
        if knock.cancelled():
            self._refuse(ConnectionAbortedError("the pool was closed"))

    def _hand_over(self, connection: asyncpg.Connection) -> None:
        """Give a connection to the first who waits for one, or keep it."""
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(connection)
                return
        self._idle.append(connection)

    def _refuse(self, error: Exception) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(error)

    async def _wait_for_a_place(self) -> None:
        try:
            async with asyncio.timeout(POOL_TIMEOUT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted("every connection is in use") from None
