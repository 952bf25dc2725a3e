"""The bulk domain on a real Postgres, with the real catalogue and inventory behind the real chain.

A test makes a file, starts an operation as an administrator does, and has a worker of its own do it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.api import httpbody_pb2

from mesh.clients import Clients
from mesh.database import Database
from mesh.seams import SystemClock, SystemIds, failpoints
from svc_bulk.app import jobs_of
from svc_bulk.feed.fetching import FeedRules
from svc_bulk.file.rpc import FileServicer
from svc_bulk.operation.rpc import OperationServicer
from svc_bulk.operation.worker import Worker
from svc_catalog.cache import Cache
from svc_catalog.product.rpc import ProductServicer
from svc_catalog.search.rpc import SearchServicer
from svc_inventory.inventory.rpc import InventoryServicer
from tests.harness import as_service, as_user, serve
from titan.bulk.v1 import (
    file_pb2,
    file_service_pb2,
    file_service_pb2_grpc,
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
)
from titan.catalog.v1 import product_service_pb2, product_service_pb2_grpc
from titan.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from titan.order.v1 import sales_service_pb2, sales_service_pb2_grpc

PRODUCT, INVENTORY = "titan.catalog.v1.ProductService", "titan.inventory.v1.InventoryService"
SALES, SEARCH = "titan.order.v1.SalesService", "titan.catalog.v1.SearchService"
CSV, NDJSON = file_pb2.FILE_FORMAT_CSV, file_pb2.FILE_FORMAT_NDJSON
State = operation_pb2.OperationState


class Sold(sales_service_pb2_grpc.SalesServiceServicer):
    """A SalesService that answers the pages that a test has put here, and then the last one again."""

    def __init__(self) -> None:
        self.pages: list[sales_service_pb2.SumSalesResponse] = []
        self.asked: list[sales_service_pb2.SumSalesRequest] = []
        self.imported: list[sales_service_pb2.ImportedOrder] = []
        self.imported_asked: list[sales_service_pb2.ListImportedOrdersRequest] = []

    async def ListImportedOrders(self, request: Any, context: Any) -> sales_service_pb2.ListImportedOrdersResponse:
        """One order of the time a page."""
        self.imported_asked.append(request)
        since, until = request.from_time.ToDatetime(), request.to_time.ToDatetime()
        found = [
            each
            for each in self.imported
            if since <= each.effective_time.ToDatetime()
            and (each.effective_time.ToDatetime() < until or not request.HasField("to_time"))
        ]
        here = int(request.page_token or 0)
        more = str(here + 1) if here + 1 < len(found) else ""
        return sales_service_pb2.ListImportedOrdersResponse(orders=found[here : here + 1], next_page_token=more)

    async def SumSales(self, request: Any, context: Any) -> sales_service_pb2.SumSalesResponse:
        self.asked.append(request)
        return self.pages[int(request.page_token or 0)]


@dataclass
class Bulk:
    """What a test says to svc_bulk, and to the services that it calls."""

    db: Database
    target: str
    clients: Clients
    operations: Any
    files: Any
    products: Any
    inventory: Any
    sold: Sold
    feeds: FeedRules

    admin = as_user(roles=("admin",))

    async def file(self, content: str | bytes, format: int = CSV, name: str = "rows") -> str:
        """Make a file and return its id."""
        data = content.encode() if isinstance(content, str) else content
        request = file_service_pb2.CreateFileRequest(name=name, format=format, part=httpbody_pb2.HttpBody(data=data))
        made = await self.files.CreateFile(request, metadata=self.admin)
        return str(made.file.file_id)

    async def start(self, request_id: str = "", **work: Any) -> operation_pb2.Operation:
        """Start an operation: `start(stock_update={"file_id": ...})`."""
        request = operation_service_pb2.StartOperationRequest(
            job=operation_pb2.Job(**work), request_id=request_id or str(uuid4())
        )
        return (await self.operations.StartOperation(request, metadata=self.admin)).operation

    async def get(self, operation_id: str) -> operation_pb2.Operation:
        request = operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        return (await self.operations.GetOperation(request, metadata=self.admin)).operation

    async def cancel(self, operation_id: str) -> operation_pb2.Operation:
        request = operation_service_pb2.CancelOperationRequest(operation_id=operation_id)
        return (await self.operations.CancelOperation(request, metadata=self.admin)).operation

    async def problems(self, operation_id: str) -> list[tuple[int, str]]:
        """The refused rows of an operation, each with its reason."""
        request = operation_service_pb2.ListOperationProblemsRequest(operation_id=operation_id, page_size=100)
        answer = await self.operations.ListOperationProblems(request, metadata=self.admin)
        return [(each.row_number, each.reason) for each in answer.problems]

    async def read(self, file: file_pb2.File) -> str:
        """The content of a small file."""
        request = file_service_pb2.ReadFileRequest(file_id=file.file_id)
        return str((await self.files.ReadFile(request, metadata=self.admin)).body.data.decode())

    def worker(self, **settings: Any) -> Worker:
        """A worker that rests little, with the real jobs or those of a test."""
        runtime: Any = SimpleNamespace(clients=self.clients, ids=SystemIds())
        jobs = settings.pop("jobs", None) or jobs_of(runtime, self.db, self.feeds)
        return Worker(self.db, SystemIds(), jobs, **{"rest_share": 0.0, "jitter": lambda: 0.0, **settings})

    async def do(self, **work: Any) -> operation_pb2.Operation:
        """Start an operation, and have it done."""
        started = await self.start(**work)
        worker = self.worker()
        await worker.take_due()
        await worker.settle()
        return await self.get(started.operation_id)

    async def variants(self, *skus: str) -> dict[str, tuple[str, int]]:
        """The title and price of those SKUs that the shop sells."""
        request = product_service_pb2.BatchGetVariantsRequest(skus=skus)
        answer = await self.products.BatchGetVariants(request, metadata=as_service("svc_order"))
        return {each.sku: (each.title, each.price.minor_units) for each in answer.variants if each.found}

    async def stock(self, sku: str) -> tuple[int, int]:
        """The units on hand of a SKU, and how often they were moved."""
        request = inventory_service_pb2.GetStockRequest(sku=sku)
        stock = (await self.inventory.GetStock(request, metadata=self.admin)).stock
        return stock.on_hand, int(stock.etag)

    async def overdue(self) -> None:
        """Let every lease and every pause be over."""
        async with self.db.hot() as tx:
            await tx.execute("UPDATE operations SET due_at = now() WHERE ended_at IS NULL")


@pytest.fixture(scope="module")
async def opened_bulk(db: Database, fresh_database: Callable[[str], Any]) -> AsyncIterator[Bulk]:
    """svc_bulk and what it calls."""
    async with neighbours(fresh_database) as (channel, sold):
        clients = Clients(channel.target, metadata=as_service("svc_bulk"))
        feeds = FeedRules(frozenset({"https://feeds.example.com"}), frozenset({"http://127.0.0.1:1"}))
        services = {
            "titan.bulk.v1.OperationService": OperationServicer(db, SystemIds(), feeds, lambda: None),
            "titan.bulk.v1.FileService": FileServicer(db, SystemIds()),
        }
        async with serve(services) as mine:
            yield Bulk(
                db,
                channel.target,
                clients,
                operation_service_pb2_grpc.OperationServiceStub(mine),
                file_service_pb2_grpc.FileServiceStub(mine),
                product_service_pb2_grpc.ProductServiceStub(channel),
                inventory_service_pb2_grpc.InventoryServiceStub(channel),
                sold,
                feeds,
            )
        await clients.close()


@asynccontextmanager
async def neighbours(fresh_database: Callable[[str], Any]) -> AsyncIterator[tuple[Any, Sold]]:
    """Serve the catalogue and the inventory on databases of their own, and sales that a test makes up."""
    catalog = await Database.connect(await fresh_database("svc_catalog"), pool_size=2, name="catalog")
    inventory = await Database.connect(await fresh_database("svc_inventory"), pool_size=2, name="inventory")
    sold = Sold()
    services = {
        PRODUCT: ProductServicer(catalog, clock=SystemClock(), ids=SystemIds(), cache=Cache(items=10, seconds=0)),
        SEARCH: SearchServicer(catalog, Cache(items=10, seconds=0)),
        INVENTORY: InventoryServicer(inventory),
        SALES: sold,
    }
    async with serve(services, callers={name: frozenset({"svc_bulk", "svc_order"}) for name in services}) as channel:
        yield channel, sold
    await catalog.close()
    await inventory.close()


@pytest.fixture
async def bulk(opened_bulk: Bulk) -> AsyncIterator[Bulk]:
    """The same, where no operation of another test waits; no failpoint stays armed."""
    async with opened_bulk.db.hot() as tx:
        # Not TRUNCATE, which makes every table and index anew, on the disk.
        await tx.execute("DELETE FROM operations; DELETE FROM files; DELETE FROM feeds; DELETE FROM idempotency")
    yield opened_bulk
    failpoints.reset()


def csv(*rows: Sequence[object]) -> str:
    """Rows as a CSV file; nothing in them needs quotes."""
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def new_sku() -> str:
    return f"B-{uuid4().hex[:12]}"


def uuid_of(operation: operation_pb2.Operation) -> UUID:
    return UUID(operation.operation_id)
