"""All SQL about carts: the copy that is at most a second old, and the ids of carts that were ordered.

A save never replaces a newer version and never brings a closed cart back. Both are decided on the locked row, so it
does not matter which process saves what, or how late.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from svc_cart.cart.rules import Cart

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

# A cart that is not the saved one leaves the saved one alone: its next version must stay free for whoever changed it.
_CLOSE = """
WITH closing AS (
    INSERT INTO closed_carts (cart_id, user_id, closed_at)
    SELECT n.cart_id, n.user_id, $3 FROM unnest($1::uuid[], $2::uuid[]) AS n (user_id, cart_id)
    ORDER BY n.cart_id
    ON CONFLICT (cart_id) DO NOTHING
    RETURNING user_id, cart_id
)
INSERT INTO carts AS c (user_id, cart_id, version, lines, last_closed_cart_id, saved_at)
SELECT user_id, NULL, 0, '[]'::jsonb, cart_id, $3 FROM closing ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET last_closed_cart_id = excluded.last_closed_cart_id,
    cart_id = CASE WHEN c.cart_id = excluded.last_closed_cart_id THEN NULL ELSE c.cart_id END,
    lines = CASE WHEN c.cart_id = excluded.last_closed_cart_id THEN '[]'::jsonb ELSE c.lines END,
    version = CASE WHEN c.cart_id = excluded.last_closed_cart_id THEN c.version + 1 ELSE c.version END,
    saved_at = excluded.saved_at
"""


async def save_carts(tx: asyncpg.Connection, carts: Sequence[Cart]) -> set[UUID]:
    """Save carts, one per user, where none is older than what is saved and none was closed.

    Returns the users whose cart was written.
    """
    rows = await tx.fetch(
        _SAVE,
        [cart.user_id for cart in carts],
        [cart.cart_id for cart in carts],
        [cart.version for cart in carts],
        [encode_lines(cart) for cart in carts],
        [datetime.fromtimestamp(cart.updated_microseconds / 1e6, UTC) for cart in carts],
    )
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


async def list_closed(connection: asyncpg.Connection, cart_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of these carts that were closed."""
    rows = await connection.fetch("SELECT cart_id FROM closed_carts WHERE cart_id = ANY($1)", list(cart_ids))
    return {row["cart_id"] for row in rows}


async def save_closed(tx: asyncpg.Connection, carts: Mapping[UUID, UUID], *, at: datetime) -> None:
    """Close carts, one per user: remembered for good, and emptied where they are the saved ones."""
    await tx.execute(_CLOSE, list(carts), list(carts.values()), at)


def _cart(row: asyncpg.Record) -> Cart:
    updated = row["updated_at"]
    return Cart(
        row["user_id"],
        row["cart_id"],
        row["version"],
        {sku: quantity for sku, quantity in row["lines"]},
        0 if updated is None else round(updated.timestamp() * 1e6),
    )
