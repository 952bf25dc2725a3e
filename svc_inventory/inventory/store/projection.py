"""Stock as what the movements amount to: levels by SKU and warehouse, and the version of each SKU's journal."""

from __future__ import annotations

import asyncpg

from mesh.projections import STATEMENT_SECONDS, Progress, Projection, Table

_GAPS = """
SELECT sku FROM stock_movements GROUP BY sku HAVING count(*) <> max(version) ORDER BY sku LIMIT 1
"""
_DRAFT = (
    "TRUNCATE draft_skus, draft_stock",
    "INSERT INTO draft_skus (sku, version) SELECT sku, max(version) FROM stock_movements GROUP BY sku",
    """
    INSERT INTO draft_stock (sku, warehouse_id, on_hand, reserved)
    SELECT sku, warehouse_id, sum(on_hand_delta), sum(reserved_delta) FROM stock_movements GROUP BY sku, warehouse_id
    """,
)


async def draft(connection: asyncpg.Connection, progress: Progress) -> None:
    """Add up every movement.

    Raises:
        ValueError: The journal of a SKU has a gap.
    """
    broken = await connection.fetchval(_GAPS, timeout=STATEMENT_SECONDS)
    if broken is not None:
        raise ValueError(f"the journal of {broken} has a gap")
    for statement in _DRAFT:
        await connection.execute(statement, timeout=STATEMENT_SECONDS)
    progress(1, 1)


STOCK = Projection(
    name="stock",
    journal="SELECT count(*) FROM stock_movements",
    # A SKU that was never moved has no journal: its row only waits to be locked.
    tables=(Table("skus", ("sku",), where="version > 0"), Table("stock", ("sku", "warehouse_id"))),
    draft=draft,
)
