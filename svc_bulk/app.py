"""The table of services of the bulk domain; the only place that constructs."""

from __future__ import annotations

import os
from functools import partial

import asyncpg

from mesh import housekeeping
from mesh.database import Database
from mesh.runtime import Background, Hosted, Runtime
from svc_bulk import settings as bulk_settings
from svc_bulk.feed.fetching import FeedRules
from svc_bulk.file import store as file_store
from svc_bulk.file.rpc import FileServicer
from svc_bulk.jobs import prices, products, repricing, stock
from svc_bulk.jobs.feed import FeedSync
from svc_bulk.jobs.reconciliation import Reconciliation
from svc_bulk.jobs.repricing import Repricing
from svc_bulk.jobs.sales import SalesReport
from svc_bulk.jobs.search import SearchReindex
from svc_bulk.jobs.settlement import ProviderSettlement
from svc_bulk.jobs.table import Table
from svc_bulk.operation import store
from svc_bulk.operation.rpc import OperationServicer
from svc_bulk.operation.work import Job
from svc_bulk.operation.worker import Worker
from titan.catalog.v1 import product_service_pb2_grpc, search_service_pb2_grpc
from titan.inventory.v1 import inventory_service_pb2_grpc
from titan.order.v1 import sales_service_pb2_grpc
from titan.payment.v1 import settlement_service_pb2_grpc

NICENESS = 15
"""What shoppers wait for goes first wherever both want a processor."""
FILES_PER_PRUNE = 10
"""A file has up to 128 parts of half a megabyte: fewer in a transaction than of other things."""


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_bulk a Postgres"
    settings = bulk_settings.read()
    feeds = FeedRules(settings.feed_origins, settings.private_feed_origins)
    worker = Worker(runtime.db, runtime.ids, jobs_of(runtime, runtime.db, feeds))
    return Hosted(
        servicers={
            "titan.bulk.v1.OperationService": OperationServicer(runtime.db, runtime.ids, feeds, worker.wake),
            "titan.bulk.v1.FileService": FileServicer(runtime.db, runtime.ids),
        },
        background=[step_aside, worker.run, _housekeeping(runtime.db)],
    )


async def step_aside() -> None:
    """Let everybody else go first from now on; until a process serves, callers wait for it as for any other.

    Of the whole process group, because a priority is a thread's, and gRPC and the broker's client have their own.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
        os.setpriority(os.PRIO_PGRP, 0, NICENESS)


def jobs_of(runtime: Runtime, db: Database, feeds: FeedRules) -> dict[str, Job]:
    """Return who does which kind of work, by the names that the contract gives them."""
    catalogue = runtime.clients.get(product_service_pb2_grpc.ProductServiceStub)
    inventory = runtime.clients.get(inventory_service_pb2_grpc.InventoryServiceStub)
    sales = runtime.clients.get(sales_service_pb2_grpc.SalesServiceStub)
    puts = Table(db, products.read, products.Puts(catalogue))
    return {
        "product_import": products.ProductImport(puts),
        "product_export": products.ProductExport(catalogue),
        "stock_update": stock.StockUpdate(Table(db, stock.read, stock.Changes(inventory))),
        "price_update": prices.PriceUpdate(Table(db, prices.read, prices.Prices(catalogue))),
        "sales_report": SalesReport(sales),
        "feed_sync": FeedSync(db, runtime.ids, feeds, puts),
        "reconciliation": Reconciliation(db, sales),
        "search_reindex": SearchReindex(runtime.clients.get(search_service_pb2_grpc.SearchServiceStub)),
        "provider_settlement": ProviderSettlement(
            runtime.clients.get(settlement_service_pb2_grpc.SettlementServiceStub)
        ),
        "repricing": Repricing(db, catalogue, Table(db, repricing.read, prices.Prices(catalogue))),
    }


def _housekeeping(db: Database) -> Background:
    async def operations(tx: asyncpg.Connection) -> int:
        return await store.prune(tx, limit=housekeeping.PRUNE_ROWS)

    async def files(tx: asyncpg.Connection) -> int:
        forgotten = await file_store.prune(tx, limit=FILES_PER_PRUNE)
        return housekeeping.PRUNE_ROWS if forgotten == FILES_PER_PRUNE else 0

    return partial(housekeeping.run, db, housekeeping.idempotency_keys, operations, files)
