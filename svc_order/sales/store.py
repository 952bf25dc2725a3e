"""What reports read of orders, some hundreds at a time; writes nothing.

A page looks at so many orders along the primary key, and sums those of them that belong to the report: however few
they are, no page takes long. Lines are summed where they lie, so that svc_order's process never unpacks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

MAX_SKUS = 4_000
"""Different ones of a page, unless one order has more: with the longest titles that is what a message may hold."""
MADE_BEFORE_EFFECTIVE = timedelta(days=1)
"""By how much a clock may be off: an order is made when it counts as placed, or, imported, later."""

_SCAN = """
SELECT order_id, user_id, effective_at, currency, total_minor, refunded_minor, sealed,
       (SELECT coalesce(sum((line->>5)::bigint), 0) FROM jsonb_array_elements(lines) AS line)::bigint AS units,
       status IN ('CONFIRMED', 'SHIPPED', 'DELIVERED', 'REFUNDED')
       AND ($2::timestamptz IS NULL OR effective_at >= $2) AND ($3::timestamptz IS NULL OR effective_at < $3) AS counts
FROM orders WHERE order_id > $1 ORDER BY order_id LIMIT $4
"""
_IMPORTED = """
SELECT o.order_id, o.status, o.currency, o.total_minor, o.cancel_reason, o.effective_at,
       CASE WHEN c.request_id LIKE 'forgotten:%' THEN '' ELSE c.request_id END AS request_id,
       o.effective_at < o.created_at
       AND ($2::timestamptz IS NULL OR o.effective_at >= $2) AND ($3::timestamptz IS NULL OR o.effective_at < $3)
       AS belongs
FROM orders o JOIN checkouts c USING (order_id) WHERE o.order_id > $1 ORDER BY o.order_id LIMIT $4
"""
_REFUNDS = """
SELECT order_id, payload->>'refund_id' AS refund_id, (payload->>'amount_minor')::bigint AS amount_minor, effective_at
FROM order_events WHERE order_id = ANY($1::uuid[]) AND type = 'OrderRefunded' ORDER BY order_id, version
"""
# The places in a line are those of `svc_order.order.lines.lines_to_json`.
_SKUS = """
SELECT line->>1 AS sku, o.currency, max(line->>3) AS title, sum((line->>5)::bigint)::bigint AS units,
       sum(coalesce((o.returned->>(line->>0))::bigint, 0))::bigint AS returned_units,
       sum((line->>7)::bigint)::bigint AS total_minor, count(DISTINCT o.order_id) AS orders
FROM orders o CROSS JOIN LATERAL jsonb_array_elements(o.lines) AS line
WHERE o.order_id = ANY($1::uuid[]) GROUP BY line->>1, o.currency LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Page:
    """The orders and SKUs of a page, and the last order that it looked at; None where there are no more."""

    sales: Sequence[asyncpg.Record]
    skus: Sequence[asyncpg.Record]
    last_seen: UUID | None


async def page_of_sales(
    connection: asyncpg.Connection, *, after: UUID | None, since: datetime | None, until: datetime | None, limit: int
) -> Page:
    """Look at `limit` orders made after one, and return those that count and belong to the time, and their SKUs.

    A page with very many different SKUs ends early.
    """
    found = await connection.fetch(_SCAN, after or first_id(since), since, until, limit)
    seen = found
    while True:
        sales = [row for row in seen if row["counts"]]
        skus = await connection.fetch(_SKUS, [row["order_id"] for row in sales], MAX_SKUS + 1) if sales else []
        if len(skus) <= MAX_SKUS or len(seen) == 1:
            more = len(seen) < len(found) or len(found) == limit
            return Page(sales, skus, seen[-1]["order_id"] if more else None)
        seen = seen[: len(seen) // 2]


@dataclass(frozen=True, slots=True)
class Imported:
    """The imported orders of a page, what went back of each, and the last order that was looked at; None on the last
    page."""

    orders: Sequence[asyncpg.Record]
    refunds: Mapping[UUID, Sequence[asyncpg.Record]]
    last_seen: UUID | None


async def page_of_imported(
    connection: asyncpg.Connection, *, after: UUID | None, since: datetime | None, until: datetime | None, limit: int
) -> Imported:
    """Look at `limit` orders made after one, and return those that an importer brought and that belong to the time."""
    found = await connection.fetch(_IMPORTED, after or first_id(since), since, until, limit)
    orders = [row for row in found if row["belongs"]]
    refunds: dict[UUID, list[asyncpg.Record]] = {}
    for row in await connection.fetch(_REFUNDS, [each["order_id"] for each in orders]) if orders else ():
        refunds.setdefault(row["order_id"], []).append(row)
    return Imported(orders, refunds, found[-1]["order_id"] if len(found) == limit else None)


def first_id(since: datetime | None) -> UUID:
    """Return an id before that of every order which counts as placed at or after a moment (RFC 9562, 5.7)."""
    if since is None:
        return UUID(int=0)
    milliseconds = int((since - MADE_BEFORE_EFFECTIVE).timestamp() * 1000)
    return UUID(int=max(0, milliseconds) << 80)
