"""Search data that is made again, on a real Postgres, while searches go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from svc_catalog.search.index import Language
from tests.harness import as_service, reason_of
from titan.catalog.v1 import product_pb2
from titan.catalog.v1 import search_service_pb2 as pb

BULK = as_service("svc_bulk")
ENGLISH, GERMAN, SIMPLE = pb.SEARCH_LANGUAGE_ENGLISH, pb.SEARCH_LANGUAGE_GERMAN, pb.SEARCH_LANGUAGE_SIMPLE
BUILT_BY = "CREATE OR REPLACE FUNCTION search_document(language text, title text, description text) RETURNS tsvector"
BUILT_BY += " LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ {body} $$"


async def titles(shop: Any, query: str) -> list[str]:
    # The words are said in another way each time: nothing that is kept for shoppers answers.
    query = f"{query} -{uuid4().hex}"
    return [each.title for each in (await shop.search.SearchProducts(pb.SearchProductsRequest(query=query))).products]


async def page(shop: Any, language: Any = 0, token: str = "", size: int = 100) -> pb.ReindexProductsResponse:
    request = pb.ReindexProductsRequest(language=language, page_size=size, page_token=token)
    return await shop.search.ReindexProducts(request, metadata=BULK)


async def reindex(shop: Any, language: Any = 0, size: int = 2) -> tuple[int, int]:
    """Make all data again; returns how many products were looked at, and how many were written."""
    answer = await page(shop, language, size=size)
    looked, written = answer.products, answer.rewritten
    while answer.next_page_token:
        answer = await page(shop, language, answer.next_page_token, size)
        looked, written = looked + answer.products, written + answer.rewritten
    return looked, written


async def digests(shop: Any, size: int = 100) -> list[bool]:
    """Whether what is stored is what should be, page by page."""
    equal, request = [], pb.DigestSearchRequest(page_size=size)
    while True:
        answer = await shop.search.DigestSearch(request, metadata=BULK)
        equal.append(answer.stored_digest == answer.expected_digest)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return equal


async def languages(db: Any) -> list[tuple[str, bool]]:
    async with db.hot_read() as connection:
        rows = await connection.fetch("SELECT language, is_current FROM search_languages ORDER BY language")
    return [tuple(row) for row in rows]


@pytest.fixture
async def shelf(shop: Any, db: Any) -> AsyncIterator[int]:
    """Five products, in English; how many they are."""
    async with db.hot() as tx:
        await tx.execute("DELETE FROM category_products; DELETE FROM variants; DELETE FROM products")
    for title in ("Walnut bowls", "Häuser aus Holz", "Walnut board", "Blaue Kerzen", "Walnut"):
        await shop.create(title=title, description="")
    yield 5
    await reindex(shop, ENGLISH, 100)


async def test_another_language_finds_its_own_forms(shop: Any, db: Any, shelf: int):
    """Of the products that there are, of new ones, and of changed ones; and no longer those of the first language."""
    assert ([], ["Walnut bowls"]) == (await titles(shop, "haus"), await titles(shop, "bowl"))
    assert (5, 5) == await reindex(shop, GERMAN)
    made = await shop.create(title="Kleine Dosen")
    assert ["Häuser aus Holz"] == await titles(shop, "haus")
    assert ["Kleine Dosen"] == await titles(shop, "dose")
    await shop.update(product_pb2.Product(product_id=made.product_id, title="Große Schachteln"))
    assert ([], ["Große Schachteln"]) == (await titles(shop, "dose"), await titles(shop, "schachtel"))
    assert [("german", True)] == await languages(db)
    assert all(await digests(shop, 2))


async def test_searches_find_everything_while_half_of_it_is_made_again(shop: Any, db: Any, shelf: int):
    """After each page, in whichever language a row is; the best match still comes first."""
    everywhere = {"Walnut bowls", "Walnut board", "Walnut"}
    answer = await page(shop, SIMPLE, size=1)
    for _ in range(shelf):
        assert everywhere == set(await titles(shop, "walnut"))
        if answer.next_page_token:
            assert {("english", False), ("simple", True)} == set(await languages(db))
            answer = await page(shop, SIMPLE, answer.next_page_token, size=1)
    while answer.next_page_token:
        answer = await page(shop, SIMPLE, answer.next_page_token, size=1)
    assert everywhere == set(await titles(shop, "walnut")) and [] == await titles(shop, "bowl")
    assert [("simple", True)] == await languages(db)


async def test_data_that_is_as_it_should_be_is_not_written(shop: Any, db: Any, shelf: int):
    """Nor is the product touched: its version and its time stay. What was made by other rules is made again."""
    async with db.hot() as tx:
        whole = await tx.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'search_document'")
        await tx.execute(BUILT_BY.format(body="SELECT to_tsvector('pg_catalog.simple', $2)"))
    old = await shop.create(title="Seven old candles")
    async with db.hot() as tx:
        await tx.execute(BUILT_BY.format(body=whole))

    assert [] == await titles(shop, "candle") and not all(await digests(shop))
    assert (6, 1) == await reindex(shop)
    assert ["Seven old candles"] == await titles(shop, "candle") and all(await digests(shop))
    assert (6, 0) == await reindex(shop)
    again = await shop.get(old.product_id)
    assert (old.etag, old.update_time) == (again.etag, again.update_time)


async def test_a_product_that_comes_late_in_the_old_language_is_made_again_too(shop: Any, db: Any, shelf: int):
    """One that another transaction was just inserting: its language stays in use until the last row has left it."""
    first = await page(shop, GERMAN, size=3)
    async with db.hot() as tx:
        await tx.execute(
            "INSERT INTO products (product_id, version, title, description, category_ids, seller_id, created_at,"
            " updated_at, search_language) VALUES ($1, 1, 'Zwei Gläser', '', '{}', 'house', now(), now(), 'english')",
            uuid4(),
        )
        waiting = asyncio.ensure_future(page(shop, GERMAN, first.next_page_token, size=3))
        await until_somebody_waits(db)
        assert not waiting.done()
    last = await waiting
    assert last.next_page_token
    while last.next_page_token:
        last = await page(shop, GERMAN, last.next_page_token, size=3)

    assert [("german", True)] == await languages(db) and all(await digests(shop))
    async with db.hot() as tx:
        await tx.execute("DELETE FROM products WHERE title = 'Zwei Gläser'")


async def until_somebody_waits(db: Any) -> None:
    """Return when a lock is waited for."""
    async with asyncio.timeout(10), db.hot_read() as connection:
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)


async def test_two_who_name_languages_leave_one(shop: Any, db: Any, shelf: int):
    """Whoever comes last; neither stops the other."""
    await asyncio.gather(*(reindex(shop, language, 1) for language in (GERMAN, SIMPLE, ENGLISH)))
    await reindex(shop)
    assert 1 == len(await languages(db)) and all(await digests(shop))


async def test_a_place_of_another_walk_is_refused(shop: Any, shelf: int):
    """Or of the same in another language."""
    token = (await page(shop, ENGLISH, size=2)).next_page_token
    for call in (page(shop, GERMAN, token), page(shop, ENGLISH, "!")):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call
        assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await shop.search.DigestSearch(pb.DigestSearchRequest(page_token=token), metadata=BULK)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_every_language_of_the_contract_is_one_of_postgres(db: Any):
    """By its name."""
    named = {each.name for each in Language}
    assert {f"SEARCH_LANGUAGE_{name}" for name in named} == set(pb.SearchLanguage.keys()) - {
        "SEARCH_LANGUAGE_UNSPECIFIED"
    }
    async with db.hot_read() as connection:
        found = {row["cfgname"] for row in await connection.fetch("SELECT cfgname FROM pg_ts_config")}
    assert {each.value for each in Language} <= found
