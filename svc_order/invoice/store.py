"""The only writer of invoices and of the sellers' series.

A number is taken in the transaction that issues its invoice, from a row that the transaction holds until it ends: one
that fails gives its number back, so a series has no gap. Invoices are issued when parcels leave, and never while orders
are placed: whoever waits for a seller's row is a warehouse, and no shopper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from svc_order.invoice import rules
from svc_order.order.rules import Order

_ISSUE = """
WITH sold AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
         AS s (seller_id, total_minor, tax_minor, shipping_minor)
), numbered AS (
    INSERT INTO invoice_series AS s (seller_id, last_number) SELECT seller_id, 1 FROM sold ORDER BY seller_id
    ON CONFLICT (seller_id) DO UPDATE SET last_number = s.last_number + 1
    RETURNING s.seller_id, s.last_number
)
INSERT INTO invoices (seller_id, number, order_id, user_id, currency, total_minor, tax_minor, shipping_minor, issued_at,
                      effective_at)
SELECT seller_id, last_number, $1, $6, $7, total_minor, tax_minor, shipping_minor, $8, $9
FROM numbered JOIN sold USING (seller_id)
"""
_COLUMNS = "seller_id, number, order_id, currency, total_minor, tax_minor, shipping_minor, issued_at, effective_at"


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as it was issued; money in minor units with tax."""

    seller_id: str
    number: int
    order_id: UUID
    currency: str
    total_minor: int
    tax_minor: int
    shipping_minor: int
    issued_at: datetime
    effective_at: datetime


async def issue(tx: asyncpg.Connection, order: Order, *, at: datetime, effective_at: datetime) -> None:
    """Issue the invoices of an order that the caller holds and that has just left, one a seller.

    Raises:
        asyncpg.UniqueViolationError: They were issued before; the caller decided wrongly.
    """
    sold = rules.shares(order)
    await tx.execute(
        _ISSUE,
        order.order_id,
        [share.seller_id for share in sold],
        [share.total_minor for share in sold],
        [share.tax_minor for share in sold],
        [share.shipping_minor for share in sold],
        order.user_id,
        order.currency,
        at,
        effective_at,
    )


async def list_of_order(connection: asyncpg.Connection, order_id: UUID) -> list[Invoice]:
    """Return the invoices of an order, by seller; at most as many as it has lines, and one."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM invoices WHERE order_id = $1 ORDER BY seller_id", order_id)
    return [Invoice(*row) for row in rows]


async def list_of_orders(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Invoice]:
    """Return the invoices of orders, by order and seller."""
    query = f"SELECT {_COLUMNS} FROM invoices WHERE order_id = ANY($1::uuid[]) ORDER BY order_id DESC, seller_id"
    return [Invoice(*row) for row in await connection.fetch(query, list(order_ids))]


async def list_newest(
    connection: asyncpg.Connection, seller_id: str, *, before: int | None, limit: int
) -> list[Invoice]:
    """Return at most `limit` invoices of a seller below a number, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM invoices WHERE seller_id = $1 AND ($2::bigint IS NULL OR number < $2)"
        " ORDER BY number DESC LIMIT $3",
        seller_id,
        before,
        limit,
    )
    return [Invoice(*row) for row in rows]
