"""The pool of a package's connections to Postgres: transactions, reads and retries.

It hands out asyncpg's connections: SQLAlchemy Core above them costs four times the CPU, and a third of what a process
takes to start. A server that is away becomes the refusal `Unavailable`; no caller sees a driver's exception for that.
This module owns no table and writes no SQL of a domain.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import asyncpg

from mesh import postgres
from mesh.database_errors import connecting, is_retriable, translated
from mesh.pool import Pool
from mesh.refusals import Unavailable
from mesh.secret_files import SecretFile

T = TypeVar("T")

CACHED_STATEMENTS = 256
"""For each connection."""

CLEANUP_TIMEOUT_SECONDS = 3.0
CANCEL_TIMEOUT_SECONDS = 0.5
"""How long the server may take to acknowledge that a statement was broken off; longer costs a new connection."""


class _Open:
    """One open transaction of the running task, and what to call once it has committed."""

    __slots__ = ("after_commit",)

    def __init__(self) -> None:
        self.after_commit: list[Callable[[], None]] = []


_open: ContextVar[_Open | None] = ContextVar("titan_open_transaction", default=None)


def in_transaction() -> bool:
    """Return whether the running task stands inside a database transaction. No RPC is made there."""
    return _open.get() is not None


def after_commit(call: Callable[[], None]) -> None:
    """Call this once the open transaction has committed, or now when none is open. It must not block or raise."""
    current = _open.get()
    if current is None:
        call()
    else:
        current.after_commit.append(call)


class Database:
    """One pool of connections to one database.

    A restarted server heals by itself: asyncpg notices a closed socket at once, and a connection found closed when it
    is taken from the pool is replaced, so no ping is paid for on each checkout.
    """

    def __init__(self, url: str, pool: Pool, name: str, password: SecretFile | None) -> None:
        self._url = url
        self._password = password
        self._pool = pool
        self.name = name

    @classmethod
    async def connect(
        cls, url: str, *, password: SecretFile | None = None, pool_size: int = 10, name: str = "titan"
    ) -> Database:
        """Open a pool and make the first connection.

        Every new connection reads the password's file again, where there is one, and is checked, so that a server that
        becomes unsafe later is refused as well.

        Raises:
            SecretUnusable: The password's file cannot be used.
            UnsafeDurability: fsync, full_page_writes or synchronous_commit is off.
            Unavailable: The server does not answer.
        """

        async def open_one() -> asyncpg.Connection:
            return await postgres.connect_alone(url, name, password=password, statement_cache_size=CACHED_STATEMENTS)

        database = cls(url, Pool(open_one, pool_size), name, password)
        try:
            async with database.hot_read() as connection:
                await connection.fetchval("SELECT 1")
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def url(self) -> str:
        """The address that it was opened with, for tests and tools."""
        return self._url

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a transaction: committed at the end of the block, rolled back by an exception.

        Raises:
            Unavailable: The server does not answer.
        """
        with translated(self.name), _opened() as opened:
            async with self._raw() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    yield connection
                except BaseException:
                    if not connection.is_closed():
                        await _surely(transaction.rollback())
                    raise
                await transaction.commit()
        _committed(opened)

    @asynccontextmanager
    async def hot_read(self) -> AsyncIterator[asyncpg.Connection]:
        """Take a connection outside a transaction, on which every statement stands alone, for reads.

        Raises:
            Unavailable: The server does not answer.
        """
        with translated(self.name):
            async with self._raw() as connection:
                yield connection

    async def transact(self, fn: Callable[[asyncpg.Connection], Awaitable[T]], *, attempts: int = 5) -> T:
        """Run a function in a transaction, again after a serialization failure or a deadlock.

        The function may run several times, so it changes nothing but the database.

        Raises:
            Unavailable: The server does not answer, or every attempt met the same conflict.
        """
        return await self._repeated(fn, self.hot, attempts)

    async def execute_alone(self, fn: Callable[[asyncpg.Connection], Awaitable[T]], *, attempts: int = 5) -> T:
        """Run a function that makes one writing statement, which is its own transaction, again as `transact` does.

        It saves the two messages that begin and end a transaction.

        Raises:
            Unavailable: The server does not answer, or every attempt met the same conflict.
        """
        return await self._repeated(fn, self.hot_read, attempts)

    async def _repeated(
        self,
        fn: Callable[[asyncpg.Connection], Awaitable[T]],
        opened: Callable[[], AbstractAsyncContextManager[asyncpg.Connection]],
        attempts: int,
    ) -> T:
        for attempt in range(1, attempts + 1):
            try:
                async with opened() as connection:
                    return await fn(connection)
            except Exception as error:
                if not is_retriable(error):
                    raise
                if attempt == attempts:
                    raise Unavailable("too many transactions in each other's way", retry_after_seconds=1) from error
            # Full jitter: two that met once must not meet again (AWS, "Exponential Backoff And Jitter").
            await asyncio.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311
        raise AssertionError("attempts must be positive")

    async def connect_alone(self, application_name: str) -> asyncpg.Connection:
        """Open a connection outside the pool, for a lock that is held for long. The caller closes it.

        Raises:
            Unavailable: The server does not answer.
        """
        with connecting(self.name):
            return await postgres.connect_alone(self._url, application_name, password=self._password)

    async def healthy(self, timeout_seconds: float = 1.0) -> bool:
        """Return whether the database answers now."""
        try:
            async with asyncio.timeout(timeout_seconds), self.hot_read() as connection:
                await connection.fetchval("SELECT 1")
        except (Unavailable, TimeoutError, postgres.UnsafeDurability):
            return False
        return True

    async def close(self) -> None:
        """Close every connection that is not in use."""
        await self._pool.close()

    @asynccontextmanager
    async def _raw(self) -> AsyncIterator[asyncpg.Connection]:
        with connecting(self.name):
            connection = await self._pool.take()
        broken = False
        try:
            yield connection
        except asyncpg.InternalClientError:
            broken = True
            raise
        except (asyncio.CancelledError, TimeoutError):
            # A statement may have been broken off. The next one waits until the server has let go of it, so what is
            # answered here is free again; what is not would hold up whoever takes it from the pool.
            broken = True
            if not connection.is_closed() and not connection.is_in_transaction():
                broken = not await _surely(connection.execute("SELECT 1"), CANCEL_TIMEOUT_SECONDS)
            raise
        finally:
            # Left in the middle (a commit was cancelled, a rollback failed), nobody may use this connection again.
            left = broken or connection.is_closed() or connection.is_in_transaction() or _believes(connection)
            self._pool.give_back(connection, usable=not left)


def _believes(connection: asyncpg.Connection) -> bool:
    """Return whether asyncpg takes a connection to be in a transaction, whatever the server says.

    It does for good where a BEGIN was broken off: all that begins later is a savepoint of what never began, and fails.
    """
    return connection._top_xact is not None


async def _surely(cleanup: Coroutine[Any, Any, object], seconds: float | None = None) -> bool:
    """Finish a rollback or a close even when the caller is cancelled meanwhile, and cancel the caller then.

    Returns whether it succeeded.

    A connection dropped in the middle of a statement would leave its session, and the locks it holds, to the server
    until that statement ends. What the cleanup itself meets is not told: the block has its own error to raise.
    """
    task = asyncio.ensure_future(asyncio.wait_for(cleanup, seconds or CLEANUP_TIMEOUT_SECONDS))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    failed = task.cancelled() or task.exception() is not None
    if cancelled is not None:
        raise cancelled
    return not failed


@contextmanager
def _opened() -> Iterator[_Open]:
    opened = _Open()
    token = _open.set(opened)
    try:
        yield opened
    finally:
        _open.reset(token)


def _committed(opened: _Open) -> None:
    for call in opened.after_commit:
        call()
