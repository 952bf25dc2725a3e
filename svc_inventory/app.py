"""The table of services of the inventory; the only place that constructs."""

from __future__ import annotations

from functools import partial

from mesh import housekeeping, relay
from mesh.runtime import Hosted, Runtime
from svc_inventory.inventory.rpc import InventoryServicer
from svc_inventory.warehouse.rpc import WarehouseServicer


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_inventory a Postgres"
    inventory = InventoryServicer(runtime.db)
    return Hosted(
        servicers={
            "titan.inventory.v1.InventoryService": inventory,
            "titan.inventory.v1.WarehouseService": WarehouseServicer(runtime.db),
        },
        background=[
            partial(housekeeping.run, runtime.db, housekeeping.idempotency_keys),
            *relay.work_of(runtime),
        ],
        on_stop=[inventory.close],
    )
