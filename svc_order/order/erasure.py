"""What erasing a user means here: their key goes, once none of their orders needs it any more."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from mesh.vault import store as keys
from svc_order.checkout import store as checkouts
from svc_order.errors import OrdersUnderWay

# An order needs its address until the parcel is there; its saga and its effects need what it sealed until they end.
_UNDER_WAY = """
SELECT o.order_id FROM orders o JOIN checkouts c USING (order_id)
WHERE o.user_id = $1 AND (
    o.status IN ('PENDING', 'CONFIRMED', 'SHIPPED')
    OR c.finished_at IS NULL
    OR EXISTS (SELECT FROM order_effects e WHERE e.order_id = o.order_id AND e.finished_at IS NULL)
)
ORDER BY o.order_id DESC LIMIT 1
"""


async def check(connection: asyncpg.Connection, user_id: UUID) -> None:
    """Let a user pass all of whose orders have come to their end.

    Raises:
        OrdersUnderWay: One has not; the metadata names the newest.
    """
    order_id = await connection.fetchval(_UNDER_WAY, user_id)
    if order_id is not None:
        raise OrdersUnderWay("an order is under way: cancel it, or wait until it has arrived", order_id=str(order_id))


async def erase(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Destroy the key of a user, who has one: an order that is being recorded holds it, and is under way after that.

    Raises:
        OrdersUnderWay: An order still needs it.
    """
    await keys.lock_key(tx, user_id)
    await check(tx, user_id)
    await keys.destroy_key(tx, user_id)
    await checkouts.forget_fingerprints(tx, user_id)
