"""Processes of svc_cart over one Valkey and one Postgres, with a small catalogue of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from redis.asyncio import Redis

from control.servers.valkey import Valkey
from mesh.clients import Clients
from mesh.database import Database
from mesh.seams import SystemClock, SystemIds, failpoints
from svc_cart.cart import archive
from svc_cart.cart.carts import Carts
from svc_cart.cart.prices import Prices
from svc_cart.cart.rpc import CartServicer
from svc_cart.cart.store import LiveCarts
from svc_cart.settings import Settings
from tests.harness import Metadata, as_service, as_user, serve
from titan.cart.v1 import cart_pb2, cart_service_pb2_grpc
from titan.cart.v1 import cart_service_pb2 as pb
from titan.catalog.v1 import product_pb2, product_service_pb2, product_service_pb2_grpc
from titan.type.v1 import money_pb2


class Catalogue:
    """Stands where svc_catalog would: everything costs what is written here."""

    def __init__(self) -> None:
        self.prices = {f"SKU-{number}": 100 + number for number in range(200)}
        self.currencies: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def BatchGetVariants(self, request: Any, context: Any) -> Any:
        self.asked.append(list(request.skus))
        await self.open.wait()
        return product_service_pb2.BatchGetVariantsResponse(variants=[self._variant(sku) for sku in request.skus])

    def _variant(self, sku: str) -> product_pb2.SellableVariant:
        if sku not in self.prices:
            return product_pb2.SellableVariant(sku=sku)
        price = money_pb2.Money(currency_code=self.currencies.get(sku, "GBP"), minor_units=self.prices[sku])
        return product_pb2.SellableVariant(sku=sku, found=True, title=f"Title of {sku}", price=price)


@dataclass
class Shop:
    """One process of svc_cart without background work, a stub to it, and what lies under it."""

    carts: Carts
    live: LiveCarts
    db: Database
    redis: Redis
    catalogue: Catalogue
    stub: Any
    prices: Prices

    def forget_prices(self) -> None:
        """Let the time pass for which a price is shown without asking again."""
        self.prices._cache.clear()

    async def add(self, user: Metadata, sku: str = "SKU-1", quantity: int = 1, etag: str = "") -> Any:
        return (await self.stub.AddItem(pb.AddItemRequest(sku=sku, quantity=quantity, etag=etag), metadata=user)).cart

    async def update(self, user: Metadata, sku: str, quantity: int, etag: str = "") -> Any:
        return (
            await self.stub.UpdateItem(pb.UpdateItemRequest(sku=sku, quantity=quantity, etag=etag), metadata=user)
        ).cart

    async def remove(self, user: Metadata, sku: str, etag: str = "") -> Any:
        return (await self.stub.RemoveItem(pb.RemoveItemRequest(sku=sku, etag=etag), metadata=user)).cart

    async def get(self, user: Metadata) -> Any:
        return (await self.stub.GetCart(pb.GetCartRequest(), metadata=user)).cart

    async def contents(self, *user_ids: UUID) -> list[Any]:
        request = pb.BatchGetCartsRequest(user_ids=[str(user_id) for user_id in user_ids])
        return list((await self.stub.BatchGetCarts(request, metadata=as_service("svc_order"))).carts)

    async def close(self, *carts: tuple[UUID, str], **ordered: int) -> None:
        """Close carts, each with the ordered quantities by SKU, where a `_` stands for the dash."""
        lines = [cart_pb2.CartLine(sku=sku.replace("_", "-"), quantity=units) for sku, units in ordered.items()]
        request = pb.BatchCloseCartsRequest(
            carts=[pb.CartToClose(user_id=str(user_id), cart_id=cart_id, lines=lines) for user_id, cart_id in carts]
        )
        await self.stub.BatchCloseCarts(request, metadata=as_service("svc_order"))

    async def saved(self, user_id: UUID) -> Any:
        """Return a cart as Postgres has it, or None."""
        async with self.db.hot_read() as connection:
            return (await archive.list_carts(connection, [user_id])).get(user_id)

    async def unsaved(self, user_id: UUID) -> bool:
        """Return whether Redis says that a cart waits to be saved."""
        return await self.redis.zscore("cart:dirty", str(user_id)) is not None


def lines_of(cart: Any) -> dict[str, int]:
    """Return the quantities of a cart on the wire by SKU, in its order."""
    return {item.sku: item.quantity for item in cart.items}


@pytest.fixture(autouse=True)
def no_failpoints() -> Any:
    """What one test arms harms no other."""
    yield
    failpoints.reset()


@pytest.fixture(scope="module")
async def cart_db(fresh_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """A migrated database of svc_cart."""
    db = await Database.connect(await fresh_database("svc_cart"), pool_size=8, name="svc_cart")
    yield db
    await db.close()


@pytest.fixture(scope="module")
async def cart_redis(valkey_server: Valkey) -> AsyncIterator[Redis]:
    """A client of the Valkey of this test run, emptied."""
    redis = Redis.from_url(valkey_server.url)
    await redis.flushall()
    yield redis
    await redis.aclose()


@pytest.fixture
def catalogue() -> Catalogue:
    """What the shop sells."""
    return Catalogue()


class ShiftedClock(SystemClock):
    """The clock of a process that is wrong by a little, or of a later day."""

    def __init__(self, seconds: float = 0) -> None:
        self.ahead = timedelta(seconds=seconds)

    def now(self) -> Any:
        return super().now() + self.ahead


def new_carts(db: Database, redis: Redis, *, ahead_seconds: float = 0) -> Carts:
    """Return the carts of one process."""
    live = LiveCarts(redis, timeout_seconds=1.0)
    return Carts(db, live, ShiftedClock(ahead_seconds), Settings(orphan_seconds=0.05))


async def open_shop(stack: Any, db: Database, redis: Redis, catalogue: Catalogue, *, ahead_seconds: float = 0) -> Shop:
    """Serve one process of svc_cart."""
    products = {"titan.catalog.v1.ProductService": _whole(catalogue)}
    catalogue_channel = await stack.enter_async_context(serve(products))
    clients = Clients(catalogue_channel.target, metadata=as_service("svc_cart"))
    stack.push_async_callback(clients.close)
    carts = new_carts(db, redis, ahead_seconds=ahead_seconds)
    prices = Prices(clients.get(product_service_pb2_grpc.ProductServiceStub), seconds=5.0)
    servicer = CartServicer(carts, prices, SystemIds())
    channel = await stack.enter_async_context(serve({"titan.cart.v1.CartService": servicer}))
    return Shop(carts, carts._live, db, redis, catalogue, cart_service_pb2_grpc.CartServiceStub(channel), prices)


def _whole(catalogue: Catalogue) -> Any:
    """Return a servicer with every method of the service, of which the catalogue answers one."""

    class Products(product_service_pb2_grpc.ProductServiceServicer):
        BatchGetVariants = staticmethod(catalogue.BatchGetVariants)

    return Products()


@pytest.fixture
async def shop(cart_db: Database, cart_redis: Redis, catalogue: Catalogue) -> AsyncIterator[Shop]:
    """One process of svc_cart."""
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        yield await open_shop(stack, cart_db, cart_redis, catalogue)


@pytest.fixture
def ada() -> tuple[UUID, Metadata]:
    """A shopper: her id, and the metadata of her calls."""
    user_id = uuid4()
    return user_id, as_user(user_id)


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error that a call is answered with."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value
