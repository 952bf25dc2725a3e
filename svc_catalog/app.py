"""The table of services of the catalogue; the only place that constructs."""

from __future__ import annotations

from functools import partial

from mesh import housekeeping, relay
from mesh.consumer import Consumer
from mesh.runtime import Background, Hosted, Runtime
from svc_catalog import settings as catalog_settings
from svc_catalog.cache import Cache
from svc_catalog.category.rpc import CategoryServicer
from svc_catalog.price.consumer import GROUP, TOPICS, note
from svc_catalog.price.rpc import PriceServicer
from svc_catalog.product.rpc import ProductServicer
from svc_catalog.search.rpc import SearchServicer


async def build(runtime: Runtime) -> Hosted:
    """Return what this package hosts."""
    assert runtime.db is not None, "the topology gives svc_catalog a Postgres"
    settings = catalog_settings.read()
    cache = Cache(
        items=settings.cache_items, seconds=settings.cache_seconds, size_of=lambda answer: int(answer.ByteSize())
    )
    background: list[Background] = [
        partial(housekeeping.run, runtime.db, housekeeping.idempotency_keys),
        *relay.work_of(runtime),
    ]
    if runtime.settings.kafka:
        background.append(Consumer(runtime.settings.kafka, GROUP, TOPICS, runtime.db, note).run)
    return Hosted(
        servicers={
            "titan.catalog.v1.ProductService": ProductServicer(
                runtime.db, clock=runtime.clock, ids=runtime.ids, cache=cache, currencies=settings.currencies
            ),
            "titan.catalog.v1.CategoryService": CategoryServicer(runtime.db, runtime.ids, cache),
            "titan.catalog.v1.SearchService": SearchServicer(runtime.db, cache),
            "titan.catalog.v1.PriceService": PriceServicer(runtime.db),
        },
        background=background,
    )
