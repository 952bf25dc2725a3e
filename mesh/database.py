"""The connection to a package's Postgres: transactions, reads, retries, and the refusal of an unsafe server.

One pool serves both ways of working: SQLAlchemy Core (`begin`, `read`) and the raw asyncpg connection under it (`hot`,
`hot_read`, `transact`), which costs a quarter of the CPU. A server that is away becomes the refusal `Unavailable`; no
caller sees a driver's exception for that. This module owns no table and writes no SQL of a domain.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import asyncpg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from mesh.refusals import Unavailable

T = TypeVar("T")

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000
COMMAND_TIMEOUT_SECONDS = 12.0
"""Ends a statement whose server says nothing at all any more; one that still answers ended it before, and says why."""

POOL_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5.0
CLEANUP_TIMEOUT_SECONDS = 3.0
CANCEL_TIMEOUT_SECONDS = 0.5
"""How long the server may take to acknowledge that a statement was broken off; longer costs a new connection."""


_RETRIED = frozenset({"40001", "40P01"})
# Connection lost, too many connections and no resources, shutdown and start-up, and the timeouts of a server too busy.
_AWAY_CLASSES = ("08", "53")
_AWAY = frozenset({"57P01", "57P02", "57P03", "57014", "55P03", "25P03"})


_DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlalchemy.exc.SQLAlchemyError,
)


class UnsafeDurability(RuntimeError):
    """The server may lose a transaction that it has acknowledged, so Titan does not run on it."""


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


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE inside an error of asyncpg or of SQLAlchemy, if there is one."""
    seen = 0
    while error is not None and seen < 5:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if isinstance(state, str):
            return state
        error, seen = getattr(error, "orig", None) or error.__cause__, seen + 1
    return None


def is_retriable(error: BaseException) -> bool:
    """Return whether the same transaction, run again, may well succeed: serialization, deadlock, outdated plan."""
    return sqlstate_of(error) in _RETRIED or isinstance(
        error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError
    )


def is_away(error: BaseException) -> bool:
    """Return whether an error means that the database cannot be reached or cannot answer in time."""
    if is_retriable(error):
        return False
    # asyncpg meets a session that was just ended by the server with an error about its own state.
    if isinstance(error, sqlalchemy.exc.TimeoutError | asyncpg.InternalClientError):
        return True
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _AWAY or state.startswith(_AWAY_CLASSES)
    original = getattr(error, "orig", None) or error
    if isinstance(original, asyncpg.InterfaceError) or isinstance(error, sqlalchemy.exc.InterfaceError):
        return "clos" in str(original)
    return isinstance(original, OSError)


@contextmanager
def _translated(name: str, also: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError)) -> Iterator[None]:
    # The driver's own clock ends a statement with a bare TimeoutError, and nothing else in a block may take that long.
    try:
        yield
    except (*_DRIVER_ERRORS, *also) as error:
        if not is_away(error):
            raise
        raise Unavailable(f"the database {name} does not answer", retry_after_seconds=1) from error


def _connecting(name: str) -> AbstractContextManager[None]:
    # Only here is any OSError the database's: inside a block it may belong to whatever else the caller does.
    return _translated(name, also=(OSError,))


class Database:
    """One pool of connections to one database.

    A restarted server heals by itself: asyncpg notices a closed socket at once, and a connection found closed when it
    is taken from the pool is replaced, so no ping is paid for on each checkout.
    """

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.name = name

    @classmethod
    async def connect(cls, url: str, *, pool_size: int = 10, name: str = "titan") -> Database:
        """Open a pool and make the first connection.

        Every new connection is checked, so that a server that becomes unsafe later is refused as well.

        Raises:
            UnsafeDurability: fsync, full_page_writes or synchronous_commit is off.
            Unavailable: The server does not answer.
        """
        engine = create_async_engine(
            sqlalchemy.make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            json_serializer=_as_it_is,
            json_deserializer=json.loads,
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "command_timeout": COMMAND_TIMEOUT_SECONDS,
                "statement_cache_size": 256,
                "prepared_statement_cache_size": 256,
                "server_settings": _session(name),
            },
        )
        sqlalchemy.event.listen(engine.sync_engine, "connect", _on_connect)
        sqlalchemy.event.listen(engine.sync_engine, "checkout", _on_checkout)
        database = cls(engine, name)
        try:
            async with database.hot_read() as connection:
                await connection.fetchval("SELECT 1")
        except BaseException:
            await engine.dispose()
            raise
        return database

    @property
    def engine(self) -> AsyncEngine:
        """The engine under this database, for tests and tools."""
        return self._engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction for SQLAlchemy Core: committed at the end of the block, rolled back by an exception.

        Raises:
            Unavailable: The server does not answer.
        """
        with _translated(self.name), _opened() as opened:
            async with self._core(self._engine) as connection:
                transaction = await connection.begin()
                try:
                    yield connection
                except BaseException:
                    await _surely(transaction.rollback())
                    raise
                await transaction.commit()
        _committed(opened)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Take a connection on which every statement stands alone (autocommit), for reads.

        Raises:
            Unavailable: The server does not answer.
        """
        with _translated(self.name):
            async with self._core(self._reads) as connection:
                yield connection

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a transaction on the raw asyncpg connection: the way of working for the hot path.

        Raises:
            Unavailable: The server does not answer.
        """
        with _translated(self.name), _opened() as opened:
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
        """Take a raw asyncpg connection outside a transaction, for reads.

        Raises:
            Unavailable: The server does not answer.
        """
        with _translated(self.name):
            async with self._raw() as connection:
                yield connection

    async def transact(self, fn: Callable[[asyncpg.Connection], Awaitable[T]], *, attempts: int = 5) -> T:
        """Run a function in a transaction, again after a serialization failure or a deadlock.

        The function may run several times, so it changes nothing but the database.

        Raises:
            Unavailable: The server does not answer, or every attempt met the same conflict.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with self.hot() as connection:
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
        with _connecting(self.name):
            return await connect_alone(self._engine.url.render_as_string(hide_password=False), application_name)

    async def healthy(self, timeout_seconds: float = 1.0) -> bool:
        """Return whether the database answers now."""
        try:
            async with asyncio.timeout(timeout_seconds), self.hot_read() as connection:
                await connection.fetchval("SELECT 1")
        except (Unavailable, TimeoutError, UnsafeDurability):
            return False
        return True

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _core(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        connection = engine.connect()
        with _connecting(self.name):
            await connection.start()
        try:
            yield connection
        except TimeoutError:
            # A cancelled statement makes SQLAlchemy drop the connection; of the driver's own clock it knows nothing.
            await _surely(connection.invalidate())
            raise
        finally:
            await _surely(connection.close())

    @asynccontextmanager
    async def _raw(self) -> AsyncIterator[asyncpg.Connection]:
        with _connecting(self.name):
            fairy = await greenlet_spawn(self._engine.sync_engine.raw_connection)
        connection = cast(asyncpg.Connection, fairy.driver_connection)
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
            if broken or connection.is_closed() or connection.is_in_transaction():
                # Left in the middle (a commit was cancelled, a rollback failed): nobody may use this connection again.
                connection.terminate()
                fairy.invalidate()
            else:
                fairy.close()


async def connect_alone(url: str, application_name: str) -> asyncpg.Connection:
    """Open one checked connection outside any pool."""
    connection = await asyncpg.connect(
        sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings=_session(application_name),
    )
    try:
        await _prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _session(application_name: str) -> dict[str, str]:
    return {
        "application_name": application_name,
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
        "jit": "off",
        "timezone": "UTC",
    }


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


def _as_it_is(value: Any) -> Any:
    return value


def _on_connect(dbapi_connection: Any, record: object) -> None:
    dbapi_connection.run_async(_prepare)


def _on_checkout(dbapi_connection: Any, record: object, proxy: object) -> None:
    if dbapi_connection.driver_connection.is_closed():
        raise sqlalchemy.exc.DisconnectionError("closed while it waited in the pool")


async def _prepare(connection: asyncpg.Connection) -> None:
    await refuse_unsafe(connection)
    await use_json(connection)


async def use_json(connection: asyncpg.Connection) -> None:
    """Let json and jsonb columns take and give Python values on this connection."""
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def refuse_unsafe(connection: asyncpg.Connection) -> None:
    """Check that this server keeps what it acknowledges to this session.

    Raises:
        UnsafeDurability: It does not, and the message says by which setting.
    """
    row = await connection.fetchrow(
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,"
        " current_setting('synchronous_commit') AS synchronous_commit"
    )
    safe = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "remote_apply")}
    unsafe = [f"{name} = {row[name]}" for name, values in safe.items() if row[name] not in values]
    if unsafe:
        raise UnsafeDurability(
            f"Postgres runs with {', '.join(unsafe)}: a crash would lose acknowledged orders. "
            "Set fsync, full_page_writes and synchronous_commit to on."
        )
