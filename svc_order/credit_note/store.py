"""The only writer of credit notes and of the sellers' series of them.

A number is taken as an invoice's is: in the transaction that decides the refund, from a row that the transaction holds
until it ends, so a series has no gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from svc_order.order.rules import Order
from svc_order.split.rules import Credit

# A seller without an invoice of the order, which left before there were any, has nothing to correct.
_ISSUE = """
WITH corrected AS (
    SELECT c.seller_id, c.total_minor, c.tax_minor, i.number AS invoice_number
    FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS c (seller_id, total_minor, tax_minor)
    JOIN invoices i ON i.order_id = $1 AND i.seller_id = c.seller_id
), numbered AS (
    INSERT INTO credit_note_series AS s (seller_id, last_number)
    SELECT seller_id, 1 FROM corrected ORDER BY seller_id
    ON CONFLICT (seller_id) DO UPDATE SET last_number = s.last_number + 1
    RETURNING s.seller_id, s.last_number
)
INSERT INTO credit_notes (seller_id, number, invoice_number, order_id, refund_id, currency, total_minor, tax_minor,
                          issued_at, effective_at)
SELECT seller_id, last_number, invoice_number, $1, $5, $6, total_minor, tax_minor, $7, $8
FROM numbered JOIN corrected USING (seller_id)
"""
_COLUMNS = (
    "seller_id, number, invoice_number, order_id, refund_id, currency, total_minor, tax_minor, issued_at, effective_at"
)


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit note as it was issued; money in minor units with tax."""

    seller_id: str
    number: int
    invoice_number: int
    order_id: UUID
    refund_id: UUID
    currency: str
    total_minor: int
    tax_minor: int
    issued_at: datetime
    effective_at: datetime


async def issue(
    tx: asyncpg.Connection,
    order: Order,
    refund_id: UUID,
    credits: Sequence[Credit],
    *,
    at: datetime,
    effective_at: datetime,
) -> None:
    """Issue the credit notes of a refund of an order that the caller holds, one for each seller that bears some of it.

    Raises:
        asyncpg.UniqueViolationError: They were issued before; the caller decided wrongly.
    """
    await tx.execute(
        _ISSUE,
        order.order_id,
        [credit.seller_id for credit in credits],
        [credit.total_minor for credit in credits],
        [credit.tax_minor for credit in credits],
        refund_id,
        order.currency,
        at,
        effective_at,
    )


async def list_of_order(
    connection: asyncpg.Connection, order_id: UUID, *, after: tuple[str, int] | None, limit: int
) -> list[CreditNote]:
    """Return at most `limit` credit notes of an order behind a position, by seller and number."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM credit_notes WHERE order_id = $1"
        " AND ($2::text IS NULL OR (seller_id, number) > ($2, $3::bigint)) ORDER BY seller_id, number LIMIT $4",
        order_id,
        *(after or (None, None)),
        limit,
    )
    return [CreditNote(*row) for row in rows]


async def list_of_orders(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[CreditNote]:
    """Return the credit notes of orders, by order, seller and number."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM credit_notes WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, seller_id, number",
        list(order_ids),
    )
    return [CreditNote(*row) for row in rows]


async def list_newest(
    connection: asyncpg.Connection, seller_id: str, *, before: int | None, limit: int
) -> list[CreditNote]:
    """Return at most `limit` credit notes of a seller below a number, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM credit_notes WHERE seller_id = $1 AND ($2::bigint IS NULL OR number < $2)"
        " ORDER BY number DESC LIMIT $3",
        seller_id,
        before,
        limit,
    )
    return [CreditNote(*row) for row in rows]
