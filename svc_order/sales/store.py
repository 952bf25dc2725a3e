"""What reports read of orders, some hundreds at a time; writes nothing.

A page looks at so many orders along the primary key, and sums those of them that belong to the report: however few
they are, no page takes long. Lines are summed where they lie, so that svc_order's process never unpacks them.
"""

from __future__ import annotations

from collections.abc import Sequence
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
# The places in a line are those of `svc_order.order.rules.lines_to_json`.
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


def first_id(since: datetime | None) -> UUID:
    """Return an id before that of every order which counts as placed at or after a moment (RFC 9562, 5.7)."""
    if since is None:
        return UUID(int=0)
    milliseconds = int((since - MADE_BEFORE_EFFECTIVE).timestamp() * 1000)
    return UUID(int=max(0, milliseconds) << 80)
