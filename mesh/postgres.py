"""One connection to Postgres: its limits, its codecs, and the refusal of a server that may lose what it acknowledged.

Whoever opens a connection, the pool or a holder of a lock, opens it with `session` and makes it ready with `prepare`.
Its password comes from a file, which is read for each connection: a password is replaced under a running process.
"""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from mesh.secret_files import SecretFile

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000
COMMAND_TIMEOUT_SECONDS = 12.0
"""Ends a statement whose server says nothing at all any more; one that still answers ended it before, and says why."""
CONNECT_TIMEOUT_SECONDS = 5.0
SIGN_IN_ATTEMPTS = 3
"""The password that goes, the one that comes, and one that replaced both meanwhile."""


class UnsafeDurability(RuntimeError):
    """The server may lose a transaction that it has acknowledged, so Titan does not run on it."""


async def connect_alone(
    url: str, application_name: str, *, password: SecretFile | None = None, **options: Any
) -> asyncpg.Connection:
    """Open one checked connection. The caller closes it; `options` are more arguments of asyncpg.

    Raises:
        SecretUnusable: The password's file cannot be used.
        UnsafeDurability: fsync, full_page_writes or synchronous_commit is off.
    """
    connection = await sign_in(url, password, **session(application_name), **options)
    try:
        await prepare(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def sign_in(url: str, password: SecretFile | None, **options: Any) -> asyncpg.Connection:
    """Open a connection with the password of a file, or with what the address says where there is no file.

    A role has one password, and for a moment the server may know another one than the file has first. So whoever is
    refused tries the next one of the file as it is then, each once.

    Raises:
        SecretUnusable: The file cannot be used.
        asyncpg.InvalidPasswordError: The server takes none of its passwords.
    """
    if password is None:
        return await asyncpg.connect(url, **options)
    refusals: dict[str, asyncpg.InvalidPasswordError] = {}
    while len(refusals) < SIGN_IN_ATTEMPTS:
        untried = next((each for each in password.read_all() if each not in refusals), None)
        if untried is None:
            break
        try:
            return await asyncpg.connect(url, password=untried, **options)
        except asyncpg.InvalidPasswordError as refusal:
            refusals[untried] = refusal
    raise list(refusals.values())[-1]


def session(application_name: str) -> dict[str, Any]:
    """Return what every connection is opened with, as arguments of asyncpg: its limits, and who it is for."""
    return {
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "command_timeout": COMMAND_TIMEOUT_SECONDS,
        "server_settings": {
            "application_name": application_name,
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "jit": "off",
            "timezone": "UTC",
        },
    }


async def prepare(connection: asyncpg.Connection) -> None:
    """Make a new connection ready.

    Raises:
        UnsafeDurability: fsync, full_page_writes or synchronous_commit is off.
    """
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
