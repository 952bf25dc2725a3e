"""The inventory behind the real chain of interceptors, on a database of its own per test module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from svc_inventory.inventory.rpc import InventoryServicer
from svc_inventory.warehouse.rpc import WarehouseServicer
from tests.harness import as_service, as_user, serve
from titan.inventory.v1 import (
    inventory_service_pb2 as pb,
)
from titan.inventory.v1 import (
    inventory_service_pb2_grpc,
    warehouse_service_pb2_grpc,
)

ADMIN = UUID(int=7)
INVENTORY = "titan.inventory.v1.InventoryService"
WAREHOUSE = "titan.inventory.v1.WarehouseService"


@pytest.fixture(scope="module")
async def mesh(db) -> AsyncIterator[SimpleNamespace]:
    """The stubs of both services: `inventory` and `warehouses`."""
    inventory = InventoryServicer(db)
    callers = {INVENTORY: frozenset({"svc_order", "svc_bulk", "edge_http"}), WAREHOUSE: frozenset({"edge_http"})}
    async with serve({INVENTORY: inventory, WAREHOUSE: WarehouseServicer(db)}, callers=callers) as channel:
        yield SimpleNamespace(
            inventory=inventory_service_pb2_grpc.InventoryServiceStub(channel),
            warehouses=warehouse_service_pb2_grpc.WarehouseServiceStub(channel),
        )
    await inventory.close()


class Shop:
    """What a test says to the inventory, as the caller that may say it."""

    def __init__(self, stubs: SimpleNamespace) -> None:
        self.inventory = stubs.inventory
        self.warehouses = stubs.warehouses
        self.admin = as_user(ADMIN, roles=("admin",))
        self.order = as_service("svc_order")
        self.bulk = as_service("svc_bulk")

    async def given(self, units: int, warehouse_id: str = "") -> str:
        """Return a new SKU with that many units."""
        sku = f"sku {uuid4().hex[:12]}"
        await self.adjust(sku, units, warehouse_id=warehouse_id)
        return sku

    async def adjust(self, sku: str, delta: int, *, request_id: str = "", warehouse_id: str = "", reason: str = ""):
        request = pb.AdjustStockRequest(
            sku=sku, delta=delta, request_id=request_id or uuid4().hex, warehouse_id=warehouse_id, reason=reason
        )
        return (await self.inventory.AdjustStock(request, metadata=self.admin)).stock

    async def stock(self, sku: str) -> tuple[int, int, int]:
        """Return on hand, reserved and available."""
        stock = (await self.inventory.GetStock(pb.GetStockRequest(sku=sku), metadata=self.admin)).stock
        return stock.on_hand, stock.reserved, stock.available

    async def set_stock(
        self, *changes: pb.StockChange, operation_id: str = "", request_id: str = "0", dry: bool = False
    ):
        """Change stock as a long job does, and return the results."""
        request = pb.BatchSetStockRequest(
            operation_id=operation_id or str(uuid4()), request_id=request_id, changes=changes, validate_only=dry
        )
        return (await self.inventory.BatchSetStock(request, metadata=self.bulk)).results

    async def reserve(self, *orders: tuple[str, list[tuple[str, int]]]):
        """Reserve (order id, [(sku, quantity), ...]) and return the results."""
        request = pb.BatchReserveRequest(reservations=[reservation(order_id, lines) for order_id, lines in orders])
        return (await self.inventory.BatchReserve(request, metadata=self.order)).results

    async def release(self, *order_ids: str):
        request = pb.BatchReleaseRequest(order_ids=order_ids)
        return (await self.inventory.BatchRelease(request, metadata=self.order)).results

    async def ship(self, *order_ids: str):
        return (await self.inventory.BatchShip(pb.BatchShipRequest(order_ids=order_ids), metadata=self.order)).results

    async def restock(self, *restocks: pb.Restock):
        request = pb.BatchRestockRequest(restocks=restocks)
        return (await self.inventory.BatchRestock(request, metadata=self.order)).results


def reservation(order_id: str, lines: list[tuple[str, int]]) -> pb.Reservation:
    return pb.Reservation(
        order_id=order_id,
        lines=[pb.ReservationLine(line_number=n, sku=sku, quantity=units) for n, (sku, units) in enumerate(lines, 1)],
    )


@pytest.fixture(scope="module")
def shop(mesh) -> Shop:
    """The inventory, as an admin and as svc_order see it."""
    return Shop(mesh)


@pytest.fixture
def order_id() -> str:
    """An order that nobody has seen."""
    return str(uuid4())
