"""ProductService on the wire: decodes, calls the store, encodes. Public reads are kept for a few seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from mesh import pages
from mesh.database import Database
from mesh.refusals import InvalidInput, Refusal
from mesh.seams import Clock, Ids
from svc_catalog.cache import Cache
from svc_catalog.category import store as category_store
from svc_catalog.errors import SkuTaken
from svc_catalog.product import store
from svc_catalog.product.rules import Draft, Product
from svc_catalog.product.wire import draft_of, to_wire
from svc_catalog.put.rpc import Puts
from titan.catalog.v1 import product_pb2, product_service_pb2_grpc
from titan.catalog.v1 import product_service_pb2 as pb
from titan.type.v1 import money_pb2

T = TypeVar("T")
LIST = "titan.catalog.v1.ProductService/ListProducts"
ATTEMPTS = 3
"""How often a write is tried that another one takes a SKU from; the next try sees whose it is."""


class ProductServicer(product_service_pb2_grpc.ProductServiceServicer):
    """Serves ProductService from the catalogue's database."""

    def __init__(
        self, db: Database, *, clock: Clock, ids: Ids, cache: Cache, currencies: Collection[str] = ("GBP",)
    ) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._cache = cache
        self._currencies = currencies
        self._puts = Puts(db, clock=clock, ids=ids, currencies=frozenset(currencies))

    async def CreateProduct(self, request: pb.CreateProductRequest, context: Any) -> pb.CreateProductResponse:
        """Refuses with SKU_TAKEN, CATEGORY_NOT_FOUND or PRICE_INVALID."""
        [made] = await self._create([draft_of(request.product)], reuse=False)
        if isinstance(made, Refusal):
            raise made
        assert isinstance(made, Product), "a product that was just made is at hand"
        return pb.CreateProductResponse(product=to_wire(made))

    async def BatchCreateProducts(
        self, request: pb.BatchCreateProductsRequest, context: Any
    ) -> pb.BatchCreateProductsResponse:
        """Results carry SKU_TAKEN, CATEGORY_NOT_FOUND, PRICE_INVALID or INVALID_INPUT."""
        made = await self._create([draft_of(each) for each in request.products], reuse=True)
        return _created(made)

    async def UpdateProduct(self, request: pb.UpdateProductRequest, context: Any) -> pb.UpdateProductResponse:
        """Refuses with PRODUCT_NOT_FOUND, PRODUCT_CHANGED, SKU_TAKEN, CATEGORY_NOT_FOUND or PRICE_INVALID."""
        wanted, mask = draft_of(request.product), list(request.update_mask.paths)
        try:
            product_id = UUID(request.product.product_id)
        except ValueError:
            raise InvalidInput.of("product.product_id", "must be a UUID") from None

        async def save(tx: asyncpg.Connection) -> Product:
            return await store.save_changed(
                tx,
                product_id,
                wanted,
                mask,
                etag=request.product.etag,
                currencies=self._currencies,
                at=self._clock.now(),
            )

        changed = await self._write(save)
        return pb.UpdateProductResponse(product=to_wire(changed))

    async def GetProduct(self, request: pb.GetProductRequest, context: Any) -> pb.GetProductResponse:
        """Refuses with PRODUCT_NOT_FOUND."""
        product_id = UUID(request.product_id)

        async def load() -> pb.GetProductResponse:
            async with self._db.hot_read() as connection:
                return pb.GetProductResponse(product=to_wire(await store.get_product(connection, product_id)))

        return await self._cache.get(product_id, load)

    async def ListProducts(self, request: pb.ListProductsRequest, context: Any) -> pb.ListProductsResponse:
        """Refuses with PAGE_TOKEN_INVALID or CATEGORY_NOT_FOUND."""
        size = pages.page_size(request.page_size)
        category_id = UUID(request.category_id) if request.category_id else None
        before = pages.decode_number(request.page_token, LIST, category_id)

        async def load() -> pb.ListProductsResponse:
            async with self._db.hot_read() as connection:
                if category_id is not None:
                    await category_store.get_category(connection, category_id)
                found = await store.list_newest(connection, category_id=category_id, before=before, limit=size + 1)
            shown = pages.fitting([to_wire(each) for each in found[:size]])
            token = pages.encode(LIST, [found[len(shown) - 1].seq], category_id) if len(found) > len(shown) else ""
            return pb.ListProductsResponse(products=shown, next_page_token=token)

        return await self._cache.get((LIST, category_id, before, size), load)

    async def BatchGetProducts(self, request: pb.BatchGetProductsRequest, context: Any) -> pb.BatchGetProductsResponse:
        """Has no refusals of its own."""
        wanted = [UUID(each) for each in request.product_ids]
        async with self._db.hot_read() as connection:
            found = await store.list_products(connection, wanted)
        shown = pages.fitting([to_wire(each) for each in found])
        left = wanted[wanted.index(found[len(shown)].product_id, len(shown)) :] if len(found) > len(shown) else []
        return pb.BatchGetProductsResponse(products=shown, remaining_product_ids=map(str, left))

    async def BatchGetVariants(self, request: pb.BatchGetVariantsRequest, context: Any) -> pb.BatchGetVariantsResponse:
        """Has no refusals of its own; read from the database each time, for a price is a promise."""
        async with self._db.hot_read() as connection:
            found = await store.find_sellable(connection, request.skus)
        return pb.BatchGetVariantsResponse(variants=[_sellable(sku, found.get(sku)) for sku in request.skus])

    async def BatchPutProducts(self, request: pb.BatchPutProductsRequest, context: Any) -> pb.BatchPutProductsResponse:
        """Results carry SKU_TAKEN, CATEGORY_NOT_FOUND, PRICE_INVALID or INVALID_INPUT."""
        return await self._repeated(lambda: self._puts.put(request))

    async def BatchSetPrices(self, request: pb.BatchSetPricesRequest, context: Any) -> pb.BatchSetPricesResponse:
        """Results carry PRODUCT_NOT_FOUND or PRICE_INVALID."""
        return await self._repeated(lambda: self._puts.set_prices(request))

    async def ListAllProducts(self, request: pb.ListAllProductsRequest, context: Any) -> pb.ListAllProductsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        return await self._puts.list_all(request)

    async def _create(self, drafts: Sequence[Draft], *, reuse: bool) -> list[Product | UUID | Refusal]:
        with_ids = [(self._ids.new(), draft) for draft in drafts]

        async def save(tx: asyncpg.Connection) -> list[Product | UUID | Refusal]:
            return await store.save_created(
                tx, with_ids, currencies=self._currencies, reuse=reuse, at=self._clock.now()
            )

        return await self._write(save)

    async def _write(self, save: Any) -> Any:
        return await self._repeated(lambda: self._db.transact(save))

    async def _repeated(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, again where another write took a SKU in the meantime, and forget what was kept."""
        try:
            for _ in range(ATTEMPTS):
                try:
                    return await write()
                except asyncpg.UniqueViolationError as error:
                    if error.constraint_name != "variants_pkey":
                        raise
            raise SkuTaken("another product is taking one of the SKUs at this moment")
        finally:
            self._cache.forget_all()


def _created(made: Sequence[Product | UUID | Refusal]) -> pb.BatchCreateProductsResponse:
    """Return a result per product; those that the answer has no room for have their ids alone."""
    answer, size = pb.BatchCreateProductsResponse(), 0
    remaining: dict[str, None] = {}
    for each in made:
        if isinstance(each, Refusal):
            answer.results.append(pb.CreateProductResult(error=each.to_status()))
            continue
        result = pb.CreateProductResult()
        if isinstance(each, Product):
            result.product.CopyFrom(to_wire(each))
            size += result.ByteSize()
        if isinstance(each, UUID) or size > pages.MAX_BYTES:
            product_id = str(each if isinstance(each, UUID) else each.product_id)
            result = pb.CreateProductResult(product=product_pb2.Product(product_id=product_id))
            remaining[product_id] = None
        answer.results.append(result)
    answer.remaining_product_ids.extend(remaining)
    return answer


def _sellable(sku: str, found: store.Sellable | None) -> product_pb2.SellableVariant:
    if found is None:
        return product_pb2.SellableVariant(sku=sku)
    return product_pb2.SellableVariant(
        sku=sku,
        found=True,
        product_id=str(found.product_id),
        title=found.title,
        price=money_pb2.Money(currency_code=found.currency_code, minor_units=found.price_minor),
        tax_rate_basis_points=found.tax_rate_basis_points,
        seller_id=found.seller_id,
    )
