"""The table of services of the inventory; the only place that constructs."""

from __future__ import annotations

from functools import partial

from mesh import housekeeping
from mesh.relay import Relay
from mesh.runtime import Background, Hosted, Runtime
from svc_inventory.inventory.rpc import InventoryServicer
from svc_inventory.warehouse.rpc import WarehouseServicer


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_inventory a Postgres"
    inventory = InventoryServicer(runtime.db)
    background: list[Background] = [partial(housekeeping.run, runtime.db, housekeeping.idempotency_keys)]
    if runtime.settings.kafka:
        background.append(Relay(runtime.settings.database_url, runtime.settings.kafka, runtime.package).run)
    return Hosted(
        servicers={
            "titan.inventory.v1.InventoryService": inventory,
            "titan.inventory.v1.WarehouseService": WarehouseServicer(runtime.db),
        },
        background=background,
        on_stop=[inventory.close],
    )
