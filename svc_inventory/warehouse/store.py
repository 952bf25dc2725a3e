"""All SQL of the warehouses. Their stock belongs to `inventory/store.py`."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from mesh import audit
from svc_inventory.errors import TooManyWarehouses, WarehouseExists

MAX_WAREHOUSES = 100


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A place that holds stock; orders draw from the lowest priority first."""

    warehouse_id: str
    title: str
    priority: int


async def save_warehouse(tx: asyncpg.Connection, wanted: Warehouse) -> Warehouse:
    """Add a warehouse, and return it; the same one again is returned as it is.

    Raises:
        WarehouseExists: The code stands for other content.
        TooManyWarehouses: There are a hundred already.
    """
    # Serializes whoever adds one, so that the count holds; readers are not kept waiting.
    await tx.execute("LOCK TABLE warehouses IN SHARE ROW EXCLUSIVE MODE")
    row = await tx.fetchrow(
        "SELECT warehouse_id, title, priority FROM warehouses WHERE warehouse_id = $1", wanted.warehouse_id
    )
    if row is not None:
        if Warehouse(*row) != wanted:
            raise WarehouseExists(
                f"{wanted.warehouse_id} is another warehouse already", warehouse_id=wanted.warehouse_id
            )
        return wanted
    if await tx.fetchval("SELECT count(*) FROM warehouses") >= MAX_WAREHOUSES:
        raise TooManyWarehouses(f"there are {MAX_WAREHOUSES} warehouses already")
    await tx.execute(
        "INSERT INTO warehouses (warehouse_id, title, priority) VALUES ($1, $2, $3)",
        wanted.warehouse_id,
        wanted.title,
        wanted.priority,
    )
    await audit.accept(tx, f"warehouses/{wanted.warehouse_id}")
    return wanted


async def list_warehouses(connection: asyncpg.Connection) -> list[Warehouse]:
    """Return every warehouse, at most a hundred, in the order in which orders draw from them."""
    rows = await connection.fetch(
        "SELECT warehouse_id, title, priority FROM warehouses ORDER BY priority, warehouse_id"
    )
    return [Warehouse(*row) for row in rows]
