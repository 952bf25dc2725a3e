"""`orders` as what the journals amount to: drafted with the fold that every decision is held to, `journal.replay`; and
`seller_orders`, which follows from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import asyncpg

from mesh.projections import STATEMENT_SECONDS, Progress, Projection, Table
from svc_order.order import lines, rules
from svc_order.order.journal import replay
from svc_order.order.rules import Entry, Order
from svc_order.split.rules import sellers

ORDERS_PER_STEP = 200
"""Orders folded at once: their journals are in memory together, up to a thousand lines each."""

_GROWN = """
SELECT j.order_id FROM (SELECT order_id, max(version) AS version FROM order_events GROUP BY order_id) j
LEFT JOIN draft_orders d USING (order_id) WHERE d.version IS DISTINCT FROM j.version ORDER BY j.order_id
"""
_JOURNALS = """
SELECT order_id, version, type, payload, sealed, recorded_at, effective_at FROM order_events
WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, version
"""
_INSERT = """
INSERT INTO draft_orders (
    order_id, user_id, status, currency, total_minor, tax_minor, shipping_minor, refunded_minor, lines, allocations,
    returned, sealed, cart_id, cancel_reason, tracking_code, version, created_at, effective_at, updated_at)
SELECT order_id, user_id, status, currency, total_minor, tax_minor, shipping_minor, refunded_minor, lines::jsonb,
       allocations, returned, sealed, cart_id, cancel_reason, tracking_code, version, created_at, effective_at,
       updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::text[], $10::jsonb[], $11::jsonb[], $12::bytea[], $13::uuid[], $14::text[], $15::text[], $16::bigint[],
            $17::timestamptz[], $18::timestamptz[], $19::timestamptz[])
     AS o (order_id, user_id, status, currency, total_minor, tax_minor, shipping_minor, refunded_minor, lines,
           allocations, returned, sealed, cart_id, cancel_reason, tracking_code, version, created_at, effective_at,
           updated_at)
"""


async def draft(connection: asyncpg.Connection, progress: Progress) -> None:
    """Fold every journal that has grown beyond its draft.

    Raises:
        ValueError: A journal is broken.
    """
    grown = [row["order_id"] for row in await connection.fetch(_GROWN, timeout=STATEMENT_SECONDS)]
    for start in range(0, len(grown), ORDERS_PER_STEP):
        step = grown[start : start + ORDERS_PER_STEP]
        folded = list(_fold(await connection.fetch(_JOURNALS, step)))
        await connection.execute("DELETE FROM draft_orders WHERE order_id = ANY($1::uuid[])", step)
        await connection.execute("DELETE FROM draft_seller_orders WHERE order_id = ANY($1::uuid[])", step)
        await _save(connection, folded)
        progress(start + len(step), len(grown))


@dataclass(frozen=True, slots=True)
class _Folded:
    """An order, the personal data that its first entry sealed, and whether it was ever sold."""

    order: Order
    sealed: bytes
    sold: bool


def _fold(rows: Sequence[asyncpg.Record]) -> Iterator[_Folded]:
    """Yield each order of some journals."""
    for order_id, group in groupby(rows, key=lambda row: row["order_id"]):
        journal = list(group)
        entries = (Entry(r["version"], r["type"], r["payload"], r["recorded_at"], r["effective_at"]) for r in journal)
        sold = any(r["type"] == rules.CONFIRMED_ENTRY for r in journal)
        yield _Folded(replay(order_id, entries), journal[0]["sealed"], sold)


async def _save(connection: asyncpg.Connection, folded: Sequence[_Folded]) -> None:
    orders = [each.order for each in folded]
    await connection.execute(
        _INSERT,
        [o.order_id for o in orders],
        [o.user_id for o in orders],
        [o.status.value for o in orders],
        [o.currency for o in orders],
        [o.total_minor for o in orders],
        [o.tax_minor for o in orders],
        [o.shipping_minor for o in orders],
        [o.refunded_minor for o in orders],
        # As text: asyncpg would read a list of lists as an array of two dimensions.
        [json.dumps(lines.lines_to_json(o.lines)) for o in orders],
        [lines.allocations_to_json(o.allocations) if o.allocations else None for o in orders],
        [lines.units_to_json(o.returned) if o.returned else None for o in orders],
        [each.sealed for each in folded],
        [o.cart_id for o in orders],
        [o.cancel_reason for o in orders],
        [o.tracking_code for o in orders],
        [o.version for o in orders],
        [o.created_at for o in orders],
        [o.effective_at for o in orders],
        [o.updated_at for o in orders],
    )
    selling = [(seller_id, each.order.order_id) for each in folded if each.sold for seller_id in sellers(each.order)]
    await connection.execute(
        "INSERT INTO draft_seller_orders (seller_id, order_id) SELECT * FROM unnest($1::text[], $2::uuid[])",
        [seller_id for seller_id, _ in selling],
        [order_id for _, order_id in selling],
    )


ORDERS = Projection(
    name="orders",
    journal="SELECT count(*) FROM order_events",
    tables=(Table("orders", ("order_id",)), Table("seller_orders", ("seller_id", "order_id"))),
    draft=draft,
)
