"""CategoryService on the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg

from mesh import audit, pages
from mesh.database import Database
from mesh.seams import Ids
from svc_catalog.cache import Cache
from svc_catalog.category import rules, store
from svc_catalog.category.rules import Category
from titan.catalog.v1 import category_pb2, category_service_pb2_grpc
from titan.catalog.v1 import category_service_pb2 as pb

LIST = "titan.catalog.v1.CategoryService/ListCategories"


class CategoryServicer(category_service_pb2_grpc.CategoryServiceServicer):
    """Serves CategoryService from the catalogue's database."""

    def __init__(self, db: Database, ids: Ids, cache: Cache) -> None:
        self._db = db
        self._ids = ids
        self._cache = cache

    async def CreateCategory(self, request: pb.CreateCategoryRequest, context: Any) -> pb.CreateCategoryResponse:
        """Refuses with CATEGORY_NOT_FOUND, CATEGORY_EXISTS or CATEGORY_TOO_DEEP."""
        asked = request.category
        category_id = self._ids.new()

        async def save(tx: asyncpg.Connection) -> Category:
            above = await store.get_category(tx, UUID(asked.parent_category_id)) if asked.parent_category_id else None
            made = rules.below(above, category_id=category_id, title=asked.title)
            await store.save_category(tx, made)
            await audit.accept(tx, f"categories/{category_id}")
            return made

        made = await self._db.transact(save)
        self._cache.forget_all()
        return pb.CreateCategoryResponse(category=to_wire(made))

    async def GetCategory(self, request: pb.GetCategoryRequest, context: Any) -> pb.GetCategoryResponse:
        """Refuses with CATEGORY_NOT_FOUND."""
        async with self._db.hot_read() as connection:
            category = await store.get_category(connection, UUID(request.category_id))
        return pb.GetCategoryResponse(category=to_wire(category))

    async def ListCategories(self, request: pb.ListCategoriesRequest, context: Any) -> pb.ListCategoriesResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        size = pages.page_size(request.page_size)
        after = pages.decode_id(request.page_token, LIST)

        async def load() -> pb.ListCategoriesResponse:
            async with self._db.hot_read() as connection:
                found = await store.list_categories(connection, after=after, limit=size + 1)
            page = found[:size]
            token = pages.encode(LIST, [str(page[-1].category_id)]) if len(found) > size else ""
            return pb.ListCategoriesResponse(categories=[to_wire(each) for each in page], next_page_token=token)

        return await self._cache.get((LIST, after, size), load)


def to_wire(category: Category) -> category_pb2.Category:
    """Return a category as the contract writes it."""
    return category_pb2.Category(
        category_id=str(category.category_id),
        parent_category_id=str(category.parent_category_id or ""),
        title=category.titles[-1],
        path=category.path,
    )
