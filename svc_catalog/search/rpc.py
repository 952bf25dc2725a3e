"""SearchService on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from mesh import pages
from mesh.database import Database
from mesh.refusals import PageTokenInvalid
from mesh.seams import failpoint
from svc_catalog.cache import Cache
from svc_catalog.product import store as product_store
from svc_catalog.product.wire import to_wire
from svc_catalog.search import index, store
from svc_catalog.search.index import Language
from titan.catalog.v1 import search_service_pb2 as pb
from titan.catalog.v1 import search_service_pb2_grpc

SEARCH = "titan.catalog.v1.SearchService/SearchProducts"
REINDEX = "titan.catalog.v1.SearchService/ReindexProducts"
DIGEST = "titan.catalog.v1.SearchService/DigestSearch"
_LANGUAGES: dict[Any, Language] = {pb.SearchLanguage.Value(f"SEARCH_LANGUAGE_{each.name}"): each for each in Language}


class SearchServicer(search_service_pb2_grpc.SearchServiceServicer):
    """Serves SearchService from the catalogue's database."""

    def __init__(self, db: Database, cache: Cache) -> None:
        self._db = db
        self._cache = cache

    async def SearchProducts(self, request: pb.SearchProductsRequest, context: Any) -> pb.SearchProductsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        size = pages.page_size(request.page_size)
        query = request.query
        after = _place(pages.decode(request.page_token, SEARCH, query))

        async def load() -> pb.SearchProductsResponse:
            async with self._db.hot_read() as connection:
                found = await store.list_matches(connection, query, after=after, limit=size + 1)
                page = found[:size]
                products = await product_store.list_products(connection, [each.product_id for each in page])
            shown = pages.fitting([to_wire(each) for each in products])
            if len(shown) < len(products):
                behind = products[len(shown)].product_id
                page = list(takewhile(lambda match: match.product_id != behind, page))
            token = pages.encode(SEARCH, [page[-1].score, page[-1].seq], query) if len(found) > len(page) else ""
            return pb.SearchProductsResponse(products=shown, next_page_token=token)

        return await self._cache.get((SEARCH, query, after, size), load)

    async def ReindexProducts(self, request: pb.ReindexProductsRequest, context: Any) -> pb.ReindexProductsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        language, size = _LANGUAGES.get(request.language), pages.page_size(request.page_size)
        begin = pages.decode_number(request.page_token, REINDEX, language)
        if begin is None and language is not None:
            await self._db.transact(lambda tx: index.make_current(tx, language))
        made = await self._db.transact(lambda tx: index.reindex(tx, begin=begin or index.FIRST, limit=size))
        await failpoint("catalog.search.page_reindexed")
        then = made.next
        if then is None and await self._db.transact(index.retire_others):
            then = index.FIRST  # a row came in another language meanwhile: all once more, most is as it should be
        return pb.ReindexProductsResponse(
            products=made.products,
            rewritten=made.rewritten,
            next_page_token="" if then is None else pages.encode(REINDEX, [then], language),
        )

    async def DigestSearch(self, request: pb.DigestSearchRequest, context: Any) -> pb.DigestSearchResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        begin, size = pages.decode_number(request.page_token, DIGEST), pages.page_size(request.page_size)
        async with self._db.hot_read() as connection:
            found = await index.digest(connection, begin=begin or index.FIRST, limit=size)
        return pb.DigestSearchResponse(
            products=found.products,
            stored_digest=found.stored,
            expected_digest=found.expected,
            next_page_token="" if found.next is None else pages.encode(DIGEST, [found.next]),
        )


def _place(position: Sequence[str | int | None] | None) -> tuple[int, int] | None:
    if position is None:
        return None
    numbers = [each for each in position if isinstance(each, int) and 0 <= each < 2**63]
    if len(position) != 2 or len(numbers) != 2:
        raise PageTokenInvalid("the page token names no place among the matches")
    return numbers[0], numbers[1]
