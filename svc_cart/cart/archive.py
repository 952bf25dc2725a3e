"""All SQL about carts: the copy that is at most a second old, and the ids of carts that were ordered lately.

A save never replaces a newer version and never brings a closed cart back. Both are decided on the locked row, so it
does not matter which process saves what, or how late.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import asyncpg

from svc_cart.cart.rules import Cart, after_close

CLOSED_KEPT_DAYS = 30
"""How long a closed cart is remembered: four times as long as Redis may hold a copy of it (`store.KEPT_SECONDS`)."""

# Statements of one kind lock rows in the order of users, so two of them never wait for each other in a circle.
_SAVE = """
INSERT INTO carts AS c (user_id, cart_id, version, lines, updated_at, saved_at)
SELECT n.user_id, n.cart_id, n.version, n.lines::jsonb, n.updated_at, clock_timestamp()
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[])
     AS n (user_id, cart_id, version, lines, updated_at)
WHERE NOT EXISTS (SELECT 1 FROM closed_carts k WHERE k.cart_id = n.cart_id)
ORDER BY n.user_id
ON CONFLICT (user_id) DO UPDATE
SET cart_id = excluded.cart_id, version = excluded.version, lines = excluded.lines,
    updated_at = excluded.updated_at, saved_at = excluded.saved_at
WHERE c.version < excluded.version AND c.last_closed_cart_id IS DISTINCT FROM excluded.cart_id
RETURNING c.user_id
"""

# The row is locked, and made where there is none, before anything is decided on it: a save of the same cart waits here.
_BEGIN_CLOSE = """
WITH closing AS (
    INSERT INTO closed_carts (cart_id, user_id, closed_at, ordered)
    SELECT n.cart_id, n.user_id, $4, n.ordered::jsonb
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS n (user_id, cart_id, ordered)
    ORDER BY n.cart_id
    ON CONFLICT (cart_id) DO NOTHING
    RETURNING user_id
)
INSERT INTO carts AS c (user_id, cart_id, version, lines, saved_at)
SELECT user_id, NULL, 0, '[]'::jsonb, $4 FROM closing ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE SET saved_at = excluded.saved_at
RETURNING c.user_id, c.cart_id, c.version, c.lines, c.updated_at
"""

_END_CLOSE = """
UPDATE carts c
SET cart_id = n.cart_id, version = n.version, lines = n.lines::jsonb, updated_at = n.updated_at,
    last_closed_cart_id = n.closed_cart_id
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::uuid[])
     AS n (user_id, cart_id, version, lines, updated_at, closed_cart_id)
WHERE c.user_id = n.user_id
"""

# Locks are taken in no order here, but rows that are a month old wait for nobody.
_PRUNE_CLOSED = """
DELETE FROM closed_carts WHERE cart_id IN (
    SELECT cart_id FROM closed_carts WHERE closed_at < $1 ORDER BY closed_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""


async def save_carts(tx: asyncpg.Connection, carts: Sequence[Cart]) -> set[UUID]:
    """Save carts, one per user, where none is older than what is saved and none was closed.

    Returns the users whose cart was written.
    """
    rows = await tx.fetch(_SAVE, *_columns(carts))
    return {row["user_id"] for row in rows}


def encode_lines(cart: Cart) -> str:
    """Return the lines as a JSON list of pairs, which keeps their order in Redis and in jsonb alike."""
    return json.dumps([[sku, quantity] for sku, quantity in cart.lines.items()], separators=(",", ":"))


async def list_carts(connection: asyncpg.Connection, user_ids: Iterable[UUID]) -> dict[UUID, Cart]:
    """Return the saved carts of these users; whoever has none is left out."""
    rows = await connection.fetch(
        "SELECT user_id, cart_id, version, lines, updated_at FROM carts WHERE user_id = ANY($1)", list(user_ids)
    )
    return {row["user_id"]: _cart(row) for row in rows}


async def list_closed(connection: asyncpg.Connection, cart_ids: Iterable[UUID]) -> dict[UUID, Mapping[str, int] | None]:
    """Return those of these carts that were closed, with what was ordered by SKU; None where everything was."""
    rows = await connection.fetch("SELECT cart_id, ordered FROM closed_carts WHERE cart_id = ANY($1)", list(cart_ids))
    return {row["cart_id"]: None if row["ordered"] is None else dict(row["ordered"]) for row in rows}


async def save_closed(
    tx: asyncpg.Connection,
    carts: Mapping[UUID, UUID],
    *,
    at: datetime,
    ordered: Mapping[UUID, Mapping[str, int]] = MappingProxyType({}),
    live: Mapping[UUID, Cart] = MappingProxyType({}),
) -> dict[UUID, Cart]:
    """Close carts, one per user, and put what was not ordered of them in their place.

    `ordered` has the quantities by SKU of the carts (by id) of which not everything was. `live` has what is known of
    carts (by user) that may be newer than what is saved. A cart that is not the user's newest leaves that one alone:
    its next version must stay free for whoever changed it.

    Returns the saved carts of the users whose cart was not closed before.
    """
    lines = [json.dumps(list(ordered[cart_id].items())) if cart_id in ordered else None for cart_id in carts.values()]
    saved = {}
    for row in await tx.fetch(_BEGIN_CLOSE, list(carts), list(carts.values()), lines, at):
        newest = _cart(row)
        seen = live.get(newest.user_id)
        if seen is not None and seen.cart_id == carts[newest.user_id] and seen.version > newest.version:
            newest = seen
        if newest.cart_id is not None and newest.cart_id == carts[newest.user_id]:
            newest = after_close(newest, ordered.get(newest.cart_id))
        saved[newest.user_id] = newest
    await tx.execute(_END_CLOSE, *_columns(saved.values()), [carts[user_id] for user_id in saved])
    return saved


async def prune_closed(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most so many carts that were closed long ago, and say how many."""
    deleted = await tx.execute(_PRUNE_CLOSED, at - timedelta(days=CLOSED_KEPT_DAYS), limit)
    return int(deleted.split()[-1])


def _columns(carts: Collection[Cart]) -> tuple[list[Any], ...]:
    return (
        [cart.user_id for cart in carts],
        [cart.cart_id for cart in carts],
        [cart.version for cart in carts],
        [encode_lines(cart) for cart in carts],
        [
            datetime.fromtimestamp(cart.updated_microseconds / 1e6, UTC) if cart.updated_microseconds else None
            for cart in carts
        ],
    )


def _cart(row: asyncpg.Record) -> Cart:
    updated = row["updated_at"]
    return Cart(
        row["user_id"],
        row["cart_id"],
        row["version"],
        {sku: quantity for sku, quantity in row["lines"]},
        0 if updated is None else round(updated.timestamp() * 1e6),
    )
