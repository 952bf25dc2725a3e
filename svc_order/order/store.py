"""All SQL of orders and their journal, written for sets: one order is a set of one.

The only writer of `orders`, `order_events` and `seller_orders`. Every function runs in the caller's transaction.
`orders` and `seller_orders` are projections: `order.projection` makes them again from the journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from mesh import outbox
from mesh.writes import Write, write
from svc_order.errors import OrderNotFound
from svc_order.order import events, lines, rules
from svc_order.order.rules import Change, Entry, Order, OrderStatus
from svc_order.order.view import Mark, View
from svc_order.split.rules import sellers

RESOURCE = "orders/"
"""What the name of an order begins with, in the audit log."""

_COLUMNS = (
    "o.order_id, o.user_id, o.status, o.currency, o.total_minor, o.tax_minor, o.shipping_minor, o.refunded_minor,"
    " o.lines, o.allocations, o.returned, o.sealed, o.cart_id, o.cancel_reason, o.tracking_code, o.version,"
    " o.created_at, o.effective_at, o.updated_at"
)
_VIEW = f"""
SELECT {_COLUMNS}, c.payment_status, c.action_url, c.action_expires_at
FROM orders o JOIN checkouts c USING (order_id)
"""
_MARKS = """
SELECT o.order_id, concat_ws('-', o.version, c.payment_status, c.action_url) AS mark,
       o.status IN ('CANCELLED', 'REFUNDED') AND c.finished_at IS NOT NULL AND NOT EXISTS (
           SELECT FROM order_effects e WHERE e.order_id = o.order_id AND e.finished_at IS NULL
       ) AS final
FROM orders o JOIN checkouts c USING (order_id) WHERE o.order_id = ANY($1::uuid[])
"""
_INSERT = """
INSERT INTO orders (order_id, user_id, status, currency, total_minor, tax_minor, shipping_minor, lines, sealed, cart_id,
                    version, created_at, effective_at, updated_at)
SELECT order_id, user_id, 'PENDING', currency, total_minor, tax_minor, shipping_minor, lines::jsonb, sealed, cart_id,
       1, created_at, effective_at, created_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bytea[],
            $9::uuid[], $10::timestamptz[], $11::timestamptz[])
     AS o (order_id, user_id, currency, total_minor, tax_minor, shipping_minor, lines, sealed, cart_id,
           created_at, effective_at)
WHERE order_id IN (SELECT order_id FROM {among})
ORDER BY cart_id, order_id
ON CONFLICT DO NOTHING
RETURNING order_id
"""
_SAVE = """
UPDATE orders o
SET status = n.status, refunded_minor = n.refunded_minor, allocations = n.allocations, returned = n.returned,
    cancel_reason = n.cancel_reason, tracking_code = n.tracking_code, version = n.version, updated_at = n.updated_at
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::text[], $7::text[], $8::bigint[],
            $9::timestamptz[])
     AS n (order_id, status, refunded_minor, allocations, returned, cancel_reason, tracking_code, version, updated_at)
WHERE o.order_id = n.order_id
"""
_INSERT_EVENTS = """
INSERT INTO order_events (order_id, version, type, payload, sealed, recorded_at, effective_at)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::bytea[], $6::timestamptz[],
                     $7::timestamptz[])
     AS e (order_id, version, type, payload, sealed, recorded_at, effective_at)
"""


def resource(order_id: UUID) -> str:
    """Return the name of an order in the audit log."""
    return f"{RESOURCE}{order_id}"


def placing(changes: Sequence[Change], sealed: Mapping[UUID, bytes], *, among: str) -> list[Write | None]:
    """Return the writes that record placed orders, of those ids that the part `among` returns.

    The part `placed` returns the recorded ones: the others' cart stands in a live order already.
    """
    orders = [change.order for change in changes]
    inserting = Write(
        _INSERT.format(among=among),
        (
            [o.order_id for o in orders],
            [o.user_id for o in orders],
            [o.currency for o in orders],
            [o.total_minor for o in orders],
            [o.tax_minor for o in orders],
            [o.shipping_minor for o in orders],
            # As text: asyncpg would read a list of lists as an array of two dimensions.
            [json.dumps(lines.lines_to_json(o.lines)) for o in orders],
            [sealed[o.order_id] for o in orders],
            [o.cart_id for o in orders],
            [o.created_at for o in orders],
            [o.effective_at for o in orders],
        ),
        name="placed",
    )
    return [
        inserting,
        *_appending(
            changes,
            sealed,
            orders_where="WHERE order_id IN (SELECT order_id FROM placed)",
            events_where="WHERE aggregate_id IN (SELECT order_id::text FROM placed)",
        ),
    ]


async def lock_orders(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, Order]:
    """Hold orders until the transaction ends, locked in the order of their ids; unknown ones are left out."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM orders o WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE",
        list(order_ids),
    )
    return {row["order_id"]: order_of(row) for row in rows}


async def lock_known(tx: asyncpg.Connection, known: Iterable[Order]) -> dict[UUID, Order]:
    """Hold orders that the caller has read before, as `lock_orders` does; only what has changed since is read again."""
    by_id = {order.order_id: order for order in known}
    rows = await tx.fetch(
        "SELECT order_id, version FROM orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE",
        list(by_id),
    )
    held = {row["order_id"]: by_id[row["order_id"]] for row in rows}
    changed = [row["order_id"] for row in rows if row["version"] != by_id[row["order_id"]].version]
    return held | await lock_orders(tx, changed) if changed else held


async def lock_order(tx: asyncpg.Connection, order_id: UUID, *, owner_id: UUID | None = None) -> Order:
    """Hold one order until the transaction ends.

    Raises:
        OrderNotFound: There is none, or it is not the owner's.
    """
    order = (await lock_orders(tx, [order_id])).get(order_id)
    if order is None or (owner_id is not None and order.user_id != owner_id):
        raise OrderNotFound("no such order")
    return order


async def save_changes(
    tx: asyncpg.Connection,
    changes: Sequence[Change],
    sealed: Mapping[UUID, bytes] | None = None,
    also: Sequence[Write | None] = (),
) -> None:
    """Store decisions on orders that the caller holds: rows, journal entries, public events, and whose an order is.

    `sealed` holds, by order, what somebody said to a decision; it goes into the journal alone. `also` is what the
    caller has to write beside it, elsewhere.
    """
    made = [change for change in changes if change.entry is not None]
    await write(tx, *also, _saving([change.order for change in made]), _selling(made), *_appending(made, sealed or {}))


def _selling(changes: Sequence[Change]) -> Write | None:
    """Return the write of who else than the house sells of orders that were just confirmed; mostly that is nobody."""
    sold = [
        (seller_id, change.order.order_id)
        for change in changes
        if change.entry is not None and change.entry.type == rules.CONFIRMED_ENTRY
        for seller_id in sellers(change.order)
    ]
    if not sold:
        return None
    insert = "INSERT INTO seller_orders (seller_id, order_id) SELECT * FROM unnest($1::text[], $2::uuid[])"
    return Write(insert, ([seller_id for seller_id, _ in sold], [order_id for _, order_id in sold]))


def _saving(orders: Sequence[Order]) -> Write | None:
    if not orders:
        return None
    return Write(
        _SAVE,
        (
            [o.order_id for o in orders],
            [o.status.value for o in orders],
            [o.refunded_minor for o in orders],
            [lines.allocations_to_json(o.allocations) if o.allocations else None for o in orders],
            [lines.units_to_json(o.returned) if o.returned else None for o in orders],
            [o.cancel_reason for o in orders],
            [o.tracking_code for o in orders],
            [o.version for o in orders],
            [o.updated_at for o in orders],
        ),
    )


def _appending(
    changes: Sequence[Change], sealed: Mapping[UUID, bytes], *, orders_where: str = "", events_where: str = ""
) -> list[Write | None]:
    pairs = [(change.order, change.entry) for change in changes if change.entry is not None]
    if not pairs:
        return []
    entering = Write(
        f"{_INSERT_EVENTS}{orders_where}",
        (
            [order.order_id for order, _ in pairs],
            [entry.version for _, entry in pairs],
            [entry.type for _, entry in pairs],
            [entry.payload for _, entry in pairs],
            [sealed.get(order.order_id) for order, _ in pairs],
            [entry.recorded_at for _, entry in pairs],
            [entry.effective_at for _, entry in pairs],
        ),
    )
    public = [event for order, entry in pairs for event in events.public_events(order, entry)]
    return [entering, outbox.appending(public, where=events_where)]


async def get_view(connection: asyncpg.Connection, order_id: UUID, *, owner_id: UUID | None = None) -> View:
    """Return one order.

    Raises:
        OrderNotFound: There is none, or it is not the owner's.
    """
    views = await list_views(connection, [order_id])
    if not views or (owner_id is not None and views[0].order.user_id != owner_id):
        raise OrderNotFound("no such order")
    return views[0]


async def list_views(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[View]:
    """Return orders in no order; unknown ones are left out."""
    rows = await connection.fetch(f"{_VIEW} WHERE o.order_id = ANY($1::uuid[])", list(order_ids))
    return [view_of(row) for row in rows]


async def list_marks(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, Mark]:
    """Return what changes whenever these orders change, as their owners see them; unknown ones are left out."""
    rows = await connection.fetch(_MARKS, list(order_ids))
    return {row["order_id"]: Mark(row["mark"], row["final"]) for row in rows}


async def list_of_user(connection: asyncpg.Connection, user_id: UUID, *, before: UUID | None, limit: int) -> list[View]:
    """Return a user's orders, the newest first, from the one after `before`, at most `limit`."""
    rows = await connection.fetch(
        f"{_VIEW} WHERE o.user_id = $1 AND ($2::uuid IS NULL OR o.order_id < $2) ORDER BY o.order_id DESC LIMIT $3",
        user_id,
        before,
        limit,
    )
    return [view_of(row) for row in rows]


async def list_of_seller(
    connection: asyncpg.Connection, seller_id: str, *, before: UUID | None, limit: int
) -> list[tuple[UUID, OrderStatus]]:
    """Return the orders that a seller other than the house sold lines of, and where each stands, the newest first, from
    the one after `before`, at most `limit`."""
    rows = await connection.fetch(
        "SELECT order_id, o.status FROM seller_orders s JOIN orders o USING (order_id)"
        " WHERE s.seller_id = $1 AND ($2::uuid IS NULL OR order_id < $2) ORDER BY order_id DESC LIMIT $3",
        seller_id,
        before,
        limit,
    )
    return [(row["order_id"], OrderStatus(row["status"])) for row in rows]


async def list_orders(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Order]:
    """Return orders, the newest first; unknown ones are left out."""
    query = f"SELECT {_COLUMNS} FROM orders o WHERE order_id = ANY($1::uuid[]) ORDER BY order_id DESC"
    return [order_of(row) for row in await connection.fetch(query, list(order_ids))]


async def list_entries(connection: asyncpg.Connection, order_id: UUID) -> list[Entry]:
    """Return the journal of an order, the oldest entry first, at most `rules.MAX_VERSION` entries."""
    rows = await connection.fetch(
        "SELECT version, type, payload, recorded_at, effective_at FROM order_events WHERE order_id = $1"
        " ORDER BY version LIMIT $2",
        order_id,
        rules.MAX_VERSION,
    )
    return [Entry(r["version"], r["type"], r["payload"], r["recorded_at"], r["effective_at"]) for r in rows]


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody said to a decision on an order, sealed for the order's owner."""

    order_id: UUID
    version: int
    type: str
    sealed: bytes
    recorded_at: datetime


async def list_words(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Words]:
    """Return what was said to decisions on orders, in the order of their journals; the first entry has the address."""
    rows = await connection.fetch(
        "SELECT order_id, version, type, sealed, recorded_at FROM order_events"
        " WHERE order_id = ANY($1::uuid[]) AND version > 1 AND sealed IS NOT NULL ORDER BY order_id DESC, version",
        list(order_ids),
    )
    return [Words(*row) for row in rows]


async def live_order_of_cart(tx: asyncpg.Connection, cart_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the live order of each cart that has one."""
    rows = await tx.fetch(
        "SELECT cart_id, order_id FROM orders WHERE cart_id = ANY($1::uuid[]) AND status <> 'CANCELLED'",
        list(cart_ids),
    )
    return {row["cart_id"]: row["order_id"] for row in rows}


def order_of(row: Mapping[str, Any]) -> Order:
    """Return the order of a row of `orders`."""
    return Order(
        order_id=row["order_id"],
        user_id=row["user_id"],
        status=OrderStatus(row["status"]),
        currency=row["currency"],
        total_minor=row["total_minor"],
        tax_minor=row["tax_minor"],
        shipping_minor=row["shipping_minor"],
        refunded_minor=row["refunded_minor"],
        lines=lines.lines_from_json(row["lines"]),
        allocations=lines.allocations_from_json(row["allocations"]),
        returned=lines.units_from_json(row["returned"]),
        cart_id=row["cart_id"],
        cancel_reason=row["cancel_reason"],
        tracking_code=row["tracking_code"],
        version=row["version"],
        created_at=row["created_at"],
        effective_at=row["effective_at"],
        updated_at=row["updated_at"],
    )


def view_of(row: Mapping[str, Any]) -> View:
    """Return the view of a joined row."""
    return View(
        order=order_of(row),
        sealed=row["sealed"],
        payment_status=row["payment_status"],
        action_url=row["action_url"],
        action_expires_at=row["action_expires_at"],
    )
