"""What svc_cart is made of: the only place that constructs."""

from __future__ import annotations

from functools import partial

from mesh import housekeeping
from mesh.runtime import Hosted, Runtime
from svc_cart.cart.carts import Carts
from svc_cart.cart.prices import Prices
from svc_cart.cart.rpc import CartServicer
from svc_cart.cart.store import LiveCarts
from svc_cart.settings import Settings
from titan.catalog.v1 import product_service_pb2_grpc


async def build(runtime: Runtime) -> Hosted:
    """Return the services of this package, over its own Redis and database."""
    assert runtime.db is not None and runtime.redis is not None, "svc_cart needs Postgres and Redis"
    settings = Settings()
    live = LiveCarts(runtime.redis, timeout_seconds=settings.redis_timeout_seconds)
    carts = Carts(runtime.db, live, runtime.clock, settings)
    products = runtime.clients.get(product_service_pb2_grpc.ProductServiceStub)
    prices = Prices(products, seconds=settings.price_seconds)
    return Hosted(
        servicers={"titan.cart.v1.CartService": CartServicer(carts, prices, runtime.ids)},
        background=[carts.save, carts.sweep, partial(housekeeping.run, runtime.db, carts.prune_closed)],
        on_stop=[prices.batcher.close, carts.flush],
    )
