"""WarehouseService on the wire."""

from __future__ import annotations

from typing import Any

from mesh.database import Database
from svc_inventory.warehouse import store
from svc_inventory.warehouse.store import Warehouse
from titan.inventory.v1 import warehouse_pb2, warehouse_service_pb2_grpc
from titan.inventory.v1 import warehouse_service_pb2 as pb


class WarehouseServicer(warehouse_service_pb2_grpc.WarehouseServiceServicer):
    """Serves WarehouseService from the inventory's database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def CreateWarehouse(self, request: pb.CreateWarehouseRequest, context: Any) -> pb.CreateWarehouseResponse:
        """Refuses with WAREHOUSE_EXISTS or TOO_MANY_WAREHOUSES."""
        asked = request.warehouse
        wanted = Warehouse(asked.warehouse_id, asked.title, asked.priority)
        made = await self._db.transact(lambda tx: store.save_warehouse(tx, wanted))
        return pb.CreateWarehouseResponse(warehouse=to_wire(made))

    async def ListWarehouses(self, request: pb.ListWarehousesRequest, context: Any) -> pb.ListWarehousesResponse:
        """Has no refusals of its own."""
        async with self._db.hot_read() as connection:
            found = await store.list_warehouses(connection)
        return pb.ListWarehousesResponse(warehouses=[to_wire(each) for each in found])


def to_wire(warehouse: Warehouse) -> warehouse_pb2.Warehouse:
    """Return a warehouse as the contract writes it."""
    return warehouse_pb2.Warehouse(
        warehouse_id=warehouse.warehouse_id, title=warehouse.title, priority=warehouse.priority
    )
