"""All packages in one loop, built as their processes build them, each calling the others as the topology lets it.

Every servicer stands behind the real chain and admits the callers of the topology. No Envoy, no broker, no background
work but AuthService's own: what a caller relies on must hold without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from redis.asyncio import Redis

from control.atomic_file import replace_text
from mesh import settings as mesh_settings
from mesh import topology
from mesh.clients import Clients
from mesh.database import Database
from mesh.interceptors.audit import Accesses
from mesh.runtime import Hosted, Runtime
from mesh.seams import SystemClock, SystemIds
from svc_order.order.rules import Line, Order, OrderStatus
from tests.contracts.reading import ROOT
from tests.harness import as_service, as_user, serve, titan_contract, told_of
from titan.catalog.v1 import product_pb2, product_service_pb2, product_service_pb2_grpc
from titan.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from titan.payment.v1 import wallet_service_pb2, wallet_service_pb2_grpc
from titan.type.v1 import money_pb2

TOPOLOGY = topology.load(ROOT / "deploy" / "topology.toml")
PROVIDERS_FIRST = (
    "svc_auth",
    "svc_catalog",
    "svc_inventory",
    "svc_payment",
    "svc_cart",
    "svc_order",
    "svc_notify",
    "svc_bulk",
    "svc_limits",
)
"""Whoever is called stands before whoever calls."""

PRICE_MINOR = 1250


@dataclass
class World:
    """The packages, and what a test wants of the outside: products, stock, money."""

    targets: dict[str, str] = field(default_factory=dict)
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)
    hosted: dict[str, Hosted] = field(default_factory=dict)
    secrets: Path = Path()

    def clients(self, caller: str) -> Clients:
        """Return the clients of a package, known to every callee as its Envoy would say it."""
        return Clients("unix:/nobody/is/here", targets=dict(self.targets), metadata=as_service(caller))

    def stub(self, stub_class: Callable[[grpc.aio.Channel], Any], service: str) -> Any:
        """Return a bare stub, for what people do."""
        return stub_class(self.channels[service])

    async def product(self, *, stock: int = 100, price_minor: int = PRICE_MINOR, sku: str = "") -> str:
        """Put a product on the shelf and return its SKU."""
        sku = sku or f"C-{uuid4().hex[:12]}"
        products = self.stub(product_service_pb2_grpc.ProductServiceStub, "titan.catalog.v1.ProductService")
        wanted = product_pb2.Product(
            title=f"Title of {sku}", variants=[product_pb2.Variant(sku=sku, price=gbp(price_minor))]
        )
        admin = as_user(roles=("admin",))
        await products.CreateProduct(product_service_pb2.CreateProductRequest(product=wanted), metadata=admin)
        if stock:
            inventory = self.stub(
                inventory_service_pb2_grpc.InventoryServiceStub, "titan.inventory.v1.InventoryService"
            )
            asked = inventory_service_pb2.AdjustStockRequest(
                sku=sku, delta=stock, reason="contract test", request_id=str(uuid4())
            )
            await inventory.AdjustStock(asked, metadata=admin)
        return sku

    async def rich(self, amount_minor: int = 1_000_000) -> UUID:
        """Return a user whose wallet holds so much."""
        user_id = uuid4()
        wallets = self.stub(wallet_service_pb2_grpc.WalletServiceStub, "titan.payment.v1.WalletService")
        credit = wallet_service_pb2.WalletCredit(user_id=str(user_id), amount=gbp(amount_minor))
        asked = wallet_service_pb2.BatchCreditWalletsRequest(request_id=str(uuid4()), credits=[credit])
        answer = await wallets.BatchCreditWallets(asked, metadata=as_user(roles=("importer",)))
        assert not answer.results[0].HasField("error")
        return user_id


def gbp(minor: int) -> money_pb2.Money:
    """Return an amount."""
    return money_pb2.Money(currency_code="GBP", minor_units=minor)


def order(*skus: str, user_id: UUID | None = None, quantity: int = 2, cart_id: UUID | None = None) -> Order:
    """Return an order as svc_order records it, one line a SKU."""
    now = datetime.now(UTC)
    lines = tuple(
        Line(
            number=number,
            sku=sku,
            product_id=str(uuid4()),
            title=f"Title of {sku}",
            seller_id="house",
            quantity=quantity,
            unit_price_minor=PRICE_MINOR,
            line_total_minor=PRICE_MINOR * quantity,
            tax_minor=0,
            tax_rate_basis_points=2000,
        )
        for number, sku in enumerate(skus, start=1)
    )
    return Order(
        order_id=SystemIds().new(),
        user_id=user_id or uuid4(),
        status=OrderStatus.PENDING,
        currency="GBP",
        total_minor=sum(line.line_total_minor for line in lines) or PRICE_MINOR,
        tax_minor=0,
        shipping_minor=0,
        lines=lines,
        cart_id=cart_id,
        created_at=now,
        effective_at=now,
        updated_at=now,
    )


@asynccontextmanager
async def open_world(
    fresh_database: Callable[[str], Awaitable[str]], redis_url: str, home: Path
) -> AsyncIterator[World]:
    """Build and serve every package, and take them down again."""
    world = World(secrets=home / "secrets")
    world.secrets.mkdir(mode=0o700)
    for secret in ("psp_api_key", "psp_webhook_secret", "admin_password", "importer_password"):
        replace_text(world.secrets / secret, "a secret of the contract tests\n")
    async with AsyncExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("TITAN_SECRETS_DIR", str(world.secrets))
        environment.setenv("TITAN_AUTH_HOUSE_ACCOUNTS", "importer")
        for package in PROVIDERS_FIRST:
            url = await fresh_database(package) if "postgres" in TOPOLOGY.packages[package].needs else ""
            await _join(stack, world, package, url, redis_url, home)
        yield world


async def _join(stack: AsyncExitStack, world: World, package: str, url: str, redis_url: str, home: Path) -> None:
    db = redis = None
    if url:
        world.databases[package] = db = await Database.connect(url, pool_size=4, name=package)
        stack.push_async_callback(db.close)
    if "redis" in TOPOLOGY.packages[package].needs:
        redis = Redis.from_url(redis_url)
        stack.push_async_callback(redis.aclose)
    settings = mesh_settings.read(
        package,
        {
            "TITAN_HOME": str(home),
            **told_of("DATABASE", url, home),
            "TITAN_SECRETS_DIR": str(world.secrets),
            "TITAN_TOPOLOGY": str(ROOT / "deploy" / "topology.toml"),
        },
    )
    clients = world.clients(package)
    clients._targets = world.targets  # whoever joins later is found too: svc_auth asks those who stand after it
    stack.push_async_callback(clients.close)
    runtime = Runtime(package, settings, db, redis, clients, SystemClock(), SystemIds(), titan_contract(), TOPOLOGY)
    hosted = await import_module(f"{package}.app").build(runtime)
    world.hosted[package] = hosted
    for ending in hosted.on_stop:
        stack.push_async_callback(ending)
    if package == "svc_auth":
        for work in hosted.background:
            if "follow" in getattr(work, "__qualname__", ""):
                stack.push_async_callback(_ended, asyncio.create_task(work()))
    callers = {service: frozenset(TOPOLOGY.callers_of(service)) for service in hosted.servicers}
    channel = await stack.enter_async_context(serve(hosted.servicers, callers=callers, accesses=Accesses(db)))
    for service in hosted.servicers:
        world.targets[service], world.channels[service] = channel.target, channel


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
