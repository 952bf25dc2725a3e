"""Shelves: what there is of a SKU in each warehouse, read alone or locked before a decision. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import asyncpg

from svc_inventory.inventory.rules import Level, Shelf


async def lock_shelves(tx: asyncpg.Connection, skus: Iterable[str]) -> dict[str, Shelf]:
    """Lock SKUs in key order and return their shelves; a SKU that never had stock is left out.

    The levels are read by a second statement: a statement that waited for a lock still sees the levels of before.
    """
    # Only printable ASCII can have stock, and some of the rest (NUL) Postgres does not even take.
    wanted = [sku for sku in skus if sku.isascii() and sku.isprintable()]
    if not wanted:
        return {}
    rows = await tx.fetch("SELECT sku, version FROM skus WHERE sku = ANY($1::text[]) ORDER BY sku FOR UPDATE", wanted)
    versions: dict[str, int] = {row["sku"]: row["version"] for row in rows}
    return await _read_shelves(tx, versions)


async def find_shelf(connection: asyncpg.Connection, sku: str) -> Shelf:
    """Return the shelf of a SKU, empty where it never had stock."""
    rows = await connection.fetch(
        "SELECT k.version, s.warehouse_id, s.on_hand, s.reserved FROM skus k LEFT JOIN stock s USING (sku)"
        " LEFT JOIN warehouses w USING (warehouse_id) WHERE k.sku = $1 ORDER BY w.priority, w.warehouse_id",
        sku,
    )
    levels = tuple(Level(*row[1:]) for row in rows if row["warehouse_id"] is not None)
    return Shelf(sku, rows[0]["version"] if rows else 0, levels)


async def list_warehouse_ids(connection: asyncpg.Connection) -> list[str]:
    """Return the codes of the warehouses in the order in which orders draw from them."""
    rows = await connection.fetch("SELECT warehouse_id FROM warehouses ORDER BY priority, warehouse_id")
    return [row["warehouse_id"] for row in rows]


async def _read_shelves(tx: asyncpg.Connection, versions: Mapping[str, int]) -> dict[str, Shelf]:
    levels: dict[str, list[Level]] = {sku: [] for sku in versions}
    rows = await tx.fetch(
        "SELECT s.sku, s.warehouse_id, s.on_hand, s.reserved FROM stock s JOIN warehouses w USING (warehouse_id)"
        " WHERE s.sku = ANY($1::text[]) ORDER BY w.priority, w.warehouse_id",
        list(versions),
    )
    for sku, *rest in rows:
        levels[sku].append(Level(*rest))
    return {sku: Shelf(sku, version, tuple(levels[sku])) for sku, version in versions.items()}
