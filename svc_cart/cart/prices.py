"""What the shop sells and for how much, as svc_catalog tells: asked in sets, shown for a few seconds.

A quote never reads from here: the order path asks svc_catalog itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mesh.batcher import Batcher
from titan.catalog.v1 import product_pb2, product_service_pb2

MAX_CACHED_SKUS = 50_000
TIMEOUT_SECONDS = 2.0

Variants = Mapping[str, product_pb2.SellableVariant]


class Prices:
    """Looks up SKUs; lookups that come together share a call. What is not sold is asked for anew every time."""

    def __init__(self, products: Any, *, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._products = products
        self._seconds = seconds
        self._now = now
        self._cache: dict[str, tuple[float, product_pb2.SellableVariant]] = {}
        self.batcher: Batcher[tuple[str, ...], Variants] = Batcher(
            self._ask, name="cart.prices", weight=len, timeout_seconds=TIMEOUT_SECONDS
        )

    async def of(self, skus: Collection[str]) -> Variants:
        """Return what is sold under these SKUs; one that is not sold is left out.

        Raises:
            Unavailable: The catalogue does not answer.
        """
        now = self._now()
        found, missing = {}, []
        for sku in skus:
            cached = self._cache.get(sku)
            if cached is not None and cached[0] > now:
                found[sku] = cached[1]
            else:
                missing.append(sku)
        if missing:
            found.update(await self.batcher.submit(tuple(missing)))
        return found

    async def _ask(self, wanted: list[tuple[str, ...]]) -> Sequence[Variants]:
        skus = sorted({sku for each in wanted for sku in each})
        request = product_service_pb2.BatchGetVariantsRequest(skus=skus)
        response = await self._products.BatchGetVariants(request, timeout=TIMEOUT_SECONDS)
        sold = {variant.sku: variant for variant in response.variants if variant.found}
        if len(self._cache) + len(sold) > MAX_CACHED_SKUS:
            self._cache.clear()
        until = self._now() + self._seconds
        self._cache.update((sku, (until, variant)) for sku, variant in sold.items())
        return [{sku: sold[sku] for sku in each if sku in sold} for each in wanted]
