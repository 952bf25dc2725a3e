"""What an error of the database means: run it again, or the server is away, or it is the caller's own.

Only here a driver's exception becomes the refusal `Unavailable`. It reads errors of asyncpg, also within those of
SQLAlchemy, which migrations raise, and talks to no server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import asyncpg

from mesh.pool import PoolExhausted
from mesh.refusals import Unavailable

_RETRIED = frozenset({"40001", "40P01"})
# Connection lost, too many connections and no resources, shutdown and start-up, and the timeouts of a server too busy.
_AWAY_CLASSES = ("08", "53")
_AWAY = frozenset({"57P01", "57P02", "57P03", "57014", "55P03", "25P03"})

_DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    PoolExhausted,
)


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
    if isinstance(error, PoolExhausted | asyncpg.InternalClientError):
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _AWAY or state.startswith(_AWAY_CLASSES)
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error)
    return isinstance(error, OSError)


@contextmanager
def translated(name: str, also: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError)) -> Iterator[None]:
    """Raise `Unavailable` for what says, inside the block, that the database of this name is away."""
    # The driver's own clock ends a statement with a bare TimeoutError, and nothing else in a block may take that long.
    try:
        yield
    except (*_DRIVER_ERRORS, *also) as error:
        if not is_away(error):
            raise
        raise Unavailable(f"the database {name} does not answer", retry_after_seconds=1) from error


def connecting(name: str) -> AbstractContextManager[None]:
    """Translate as `translated` does, around the making of a connection."""
    # Only here is any OSError the database's: inside a block it may belong to whatever else the caller does.
    return translated(name, also=(OSError,))
