"""A digest of all that the mesh keeps: rows of every table of every database, and what Redis holds.

It is taken before and after an attack; a difference is an attack that got through, whatever was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import redis.asyncio
from redis.asyncio.client import Pipeline

NEVER_CHANGED = b"0"
"""The version of a cart into which nothing was ever put: whoever looks leaves a note that there is none."""

BUCKETS = b"limits:"
"""How the keys begin of the buckets that all edges share: to be tried is what they count."""

Digest = Mapping[str, str]
"""By table, such as `svc_order.orders`."""

BOOKKEEPING = {
    "svc_auth.sign_in_attempts": "wrong passwords are counted",
    "svc_auth.link_requests": "letters that were asked for are counted",
    "svc_payment.blocks": "the sealer chains rows that stand already",
    "svc_payment.webhook_events": "a provider's notices are kept when they come; none of them moves money",
}
"""Tables that an attack may change, because somebody counts it, or that change by themselves."""

AUDIT_BLOCKS, AUDIT_ENTRIES = "audit_blocks", "audit_entries"
COUNTED_COMMANDS = ("HandleWebhook", "RequestPasswordReset", "RequestEmailVerification", "ExchangeToken")
"""Commands that are accepted, and so in the audit log, without a change of anything but what only counts or passes."""

ROWS = {
    AUDIT_ENTRIES: "outcome = 'ACCEPTED' AND method !~ '\\.(" + "|".join(COUNTED_COMMANDS) + ")$'",
}
"""What is looked at of a table. That an attack was refused has to stand in the audit log."""

PASSING_COLUMNS = {
    "outbox": ("published_at",),
    "carts": ("saved_at",),
}
"""What changes by itself in a table, after what it is about was done."""


class Digester:
    """Digests of one mesh."""

    def __init__(self, databases: Mapping[str, asyncpg.Connection], cache: redis.asyncio.Redis[Any]) -> None:
        self._databases = databases
        self._cache = cache
        self._statements: dict[str, str] = {}

    async def open(self) -> None:
        """Find out which tables there are."""
        for name, connection in self._databases.items():
            tables = await connection.fetch(
                "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY relname"
            )
            self._statements[name] = " UNION ALL ".join(
                _statement(row["relname"])
                for row in tables
                if row["relname"] != AUDIT_BLOCKS and f"{name}.{row['relname']}" not in BOOKKEEPING
            )

    async def take(self) -> Digest:
        """Return the digest of each table, and of Redis."""
        rows = await asyncio.gather(
            *(connection.fetch(self._statements[name]) for name, connection in self._databases.items())
        )
        digest = {
            f"{name}.{row['name']}": f"{row['rows']} {row['mark']}"
            for name, found in zip(self._databases, rows, strict=True)
            for row in found
        }
        return {**digest, "redis": await self._cached()}

    async def _cached(self) -> str:
        mark, kept = hashlib.sha256(), 0
        keys = sorted({key async for key in self._cache.scan_iter(count=1000) if not key.startswith(BUCKETS)})
        kinds = await self._of_each(keys, lambda pipe, key: pipe.type(key))
        hashes = [key for key, kind in zip(keys, kinds, strict=True) if kind == b"hash"]
        versions = dict(zip(hashes, await self._of_each(hashes, lambda pipe, key: pipe.hget(key, "v")), strict=True))
        dumps = await self._of_each(keys, lambda pipe, key: pipe.dump(key))
        for key, dump in zip(keys, dumps, strict=True):
            if versions.get(key) != NEVER_CHANGED:
                kept += 1
                mark.update(key + b"\0" + (dump or b""))
        return f"{kept} {mark.hexdigest()}"

    async def _of_each(self, keys: list[bytes], ask: Callable[[Pipeline, bytes], Any]) -> list[Any]:
        """Ask something of every key, in one go."""
        async with self._cache.pipeline(transaction=False) as pipe:
            for key in keys:
                ask(pipe, key)
            return list(await pipe.execute())


def changed(before: Digest, after: Digest) -> set[str]:
    """Return the tables that are not as they were. The audit log is told where nothing else of its package changed."""
    touched = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    packages = {name.partition(".")[0] for name in touched if not name.endswith(f".{AUDIT_ENTRIES}")}
    return touched - {f"{package}.{AUDIT_ENTRIES}" for package in packages}


def _statement(table: str) -> str:
    passing = ", ".join(f"'{name}'" for name in PASSING_COLUMNS.get(table, ()))
    row = f"(to_jsonb(t) - ARRAY[{passing}]::text[])::text"
    mark = f"coalesce(sum(('x' || left(md5({row}), 15))::bit(60)::bigint), 0)"
    where = ROWS.get(table, "true")
    return f"(SELECT '{table}' AS name, count(*) AS rows, {mark} AS mark FROM public.\"{table}\" t WHERE {where})"
