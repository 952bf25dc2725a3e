"""Background work that only one process of a package does at a time, held by an advisory lock of its database.

The lock saves double work and nothing else: a process that stalls may still be at it when the next one starts, so
whatever runs here is safe to run twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable

import asyncpg

from mesh.database import Database
from mesh.database_errors import is_away
from mesh.refusals import Unavailable
from mesh.telemetry import get_logger

log = get_logger("mesh.locks")

TURN_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 30.0


def lock_key(name: str) -> int:
    """Return the advisory lock of a name: 64 bits of its hash. Locks of two databases never meet."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


async def singleton(
    db: Database, name: str, fn: Callable[[], Awaitable[None]], *, turn_seconds: float = TURN_SECONDS
) -> None:
    """Run `fn` while this process holds the lock of that name; until cancelled.

    `fn` normally runs until it is cancelled, which happens when the connection that holds the lock is lost. One that
    returns or fails gives the lock back and is run again, by whoever is next, after a pause that grows with failures.
    """
    failures = 0
    while True:
        try:
            held = await _hold_and_run(db, name, fn)
        except Exception as error:
            if isinstance(error, Unavailable | OSError) or is_away(error):
                log.warning("background work waits for its database", worker=name)
            else:
                log.exception("background work failed", error, worker=name)
            failures += 1
            await asyncio.sleep(min(MAX_BACKOFF_SECONDS, turn_seconds * 2 ** min(failures, 8)) * random.uniform(0.5, 1))  # noqa: S311
        else:
            failures = 0 if held else failures
            await asyncio.sleep(turn_seconds)


async def _hold_and_run(db: Database, name: str, fn: Callable[[], Awaitable[None]]) -> bool:
    connection = await db.connect_alone(f"{db.name} {name}")
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock_key(name)):
            return False
        await run_while_connected(connection, fn)
        return True
    finally:
        await disconnect(connection)


async def run_while_connected(connection: asyncpg.Connection, fn: Callable[[], Awaitable[None]]) -> None:
    """Run `fn`, and cancel it when the connection is lost.

    Raises:
        ConnectionError: The connection was lost.
    """
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    if connection.is_closed():
        lost.set()
    work = asyncio.ensure_future(fn())
    watch = asyncio.ensure_future(lost.wait())
    try:
        await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)
    raise ConnectionError("the connection that held the lock was lost")


async def disconnect(connection: asyncpg.Connection) -> None:
    """Close a connection, or drop it where closing takes long; its locks end with it."""
    try:
        await connection.close(timeout=2)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise
