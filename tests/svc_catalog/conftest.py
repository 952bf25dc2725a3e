"""The catalogue behind the real chain of interceptors, on a database of its own per test module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import uuid4

import pytest

from mesh.seams import SystemClock, SystemIds
from svc_catalog.cache import Cache
from svc_catalog.category.rpc import CategoryServicer
from svc_catalog.price.rpc import PriceServicer
from svc_catalog.product.rpc import ProductServicer
from svc_catalog.search.rpc import SearchServicer
from tests.harness import as_service, as_user, serve
from titan.catalog.v1 import (
    category_pb2,
    category_service_pb2,
    category_service_pb2_grpc,
    price_service_pb2_grpc,
    product_pb2,
    product_service_pb2,
    product_service_pb2_grpc,
    search_service_pb2_grpc,
)
from titan.type.v1 import money_pb2

PRODUCT = "titan.catalog.v1.ProductService"
CATEGORY = "titan.catalog.v1.CategoryService"
SEARCH = "titan.catalog.v1.SearchService"
PRICES = "titan.catalog.v1.PriceService"


@pytest.fixture(scope="module")
def cache() -> Cache:
    """What the three services keep; as long as in the real thing."""
    return Cache(items=100, seconds=5.0)


@pytest.fixture(scope="module")
async def mesh(db, cache) -> AsyncIterator[SimpleNamespace]:
    """The stubs: `products`, `categories` and `search`."""
    ids = SystemIds()
    services = {
        PRODUCT: ProductServicer(db, clock=SystemClock(), ids=ids, cache=cache),
        CATEGORY: CategoryServicer(db, ids, cache),
        SEARCH: SearchServicer(db, cache),
        PRICES: PriceServicer(db),
    }
    callers = {name: frozenset({"edge_http", "svc_order", "svc_bulk"}) for name in services}
    async with serve(services, callers=callers) as channel:
        yield SimpleNamespace(
            products=product_service_pb2_grpc.ProductServiceStub(channel),
            categories=category_service_pb2_grpc.CategoryServiceStub(channel),
            search=search_service_pb2_grpc.SearchServiceStub(channel),
            prices=price_service_pb2_grpc.PriceServiceStub(channel),
        )


class Shop:
    """What a test says to the catalogue, as the caller that may say it."""

    def __init__(self, stubs: SimpleNamespace) -> None:
        self.products, self.categories, self.search = stubs.products, stubs.categories, stubs.search
        self.prices = stubs.prices
        self.admin = as_user(roles=("admin",))
        self.order = as_service("svc_order")

    async def create(self, product: product_pb2.Product | None = None, **fields) -> product_pb2.Product:
        request = product_service_pb2.CreateProductRequest(product=product or a_product(**fields))
        return (await self.products.CreateProduct(request, metadata=self.admin)).product

    async def create_many(self, *products: product_pb2.Product):
        request = product_service_pb2.BatchCreateProductsRequest(products=products)
        return (await self.products.BatchCreateProducts(request, metadata=self.admin)).results

    async def update(self, product: product_pb2.Product, *mask: str) -> product_pb2.Product:
        request = product_service_pb2.UpdateProductRequest(product=product)
        request.update_mask.paths.extend(mask)
        return (await self.products.UpdateProduct(request, metadata=self.admin)).product

    async def get(self, product_id: str) -> product_pb2.Product:
        return (await self.products.GetProduct(product_service_pb2.GetProductRequest(product_id=product_id))).product

    async def list(self, **request):
        return await self.products.ListProducts(product_service_pb2.ListProductsRequest(**request))

    async def category(self, title: str, parent: str = "") -> category_pb2.Category:
        category = category_pb2.Category(title=title, parent_category_id=parent)
        request = category_service_pb2.CreateCategoryRequest(category=category)
        return (await self.categories.CreateCategory(request, metadata=self.admin)).category


def new_sku() -> str:
    return f"sku-{uuid4().hex[:12]}"


def a_variant(sku: str = "", price: int = 999, currency: str = "GBP", **more) -> product_pb2.Variant:
    money = money_pb2.Money(currency_code=currency, minor_units=price)
    return product_pb2.Variant(sku=sku or new_sku(), price=money, **more)


def a_product(**fields) -> product_pb2.Product:
    fields = {"title": "Teapot", "description": "Brown, for two.", **fields}
    fields.setdefault("variants", [a_variant()])
    return product_pb2.Product(**fields)


def a_huge_product(**fields) -> product_pb2.Product:
    """Almost as large as the rules allow: five of them are more than a page holds."""
    attributes = {f"{number}": "\U0001f375" * 60 for number in range(20)}
    return a_product(variants=[a_variant(attributes=attributes) for _ in range(100)], **fields)


@pytest.fixture(scope="module")
def shop(mesh) -> Shop:
    """The catalogue as an admin, a shopper and svc_order see it."""
    return Shop(mesh)
