"""SearchService through the real chain, on a real Postgres."""

from __future__ import annotations

import grpc
import pytest

from tests.harness import reason_of
from tests.svc_catalog.conftest import a_huge_product
from titan.catalog.v1 import product_pb2
from titan.catalog.v1 import search_service_pb2 as pb


async def found(shop, query: str, **page):
    return await shop.search.SearchProducts(pb.SearchProductsRequest(query=query, **page))


async def titles(shop, query: str) -> list[str]:
    return [each.title for each in (await found(shop, query)).products]


@pytest.fixture(scope="module")
async def shelf(shop) -> None:
    """A few products with words of their own."""
    await shop.create(title="Walnut bowl", description="Turned by hand from one piece of wood.")
    await shop.create(title="Oak board", description="For bread; goes with the walnut bowls.")
    await shop.create(title="Walnut oil", description="Cold pressed.")
    await shop.create(title="Candle", description="Beeswax, burns for thirty hours.")


async def test_search_finds_words_in_all_their_forms(shop, shelf):
    """A match in the title counts for more than one in the description."""
    assert ["Walnut bowl", "Oak board"] == await titles(shop, "bowls")
    assert ["Candle"] == await titles(shop, "burning candles")


async def test_search_understands_quotes_and_minus(shop, shelf):
    """As web search does."""
    assert ["Walnut oil"] == await titles(shop, '"walnut oil"')
    assert {"Walnut oil"} == set(await titles(shop, "walnut -bowl"))
    assert {"Candle", "Walnut oil"} == set(await titles(shop, "candle or oil"))


@pytest.mark.parametrize("query", ["nothing of the kind", "the", "-", '"', "'; DROP TABLE products; --", "((("])
async def test_search_takes_any_words(shop, shelf, query):
    """What matches nothing finds nothing."""
    assert [] == await titles(shop, query)


async def test_search_sees_a_change_at_once(shop):
    """The index is part of the row."""
    made = await shop.create(title="Umbrella")
    assert ["Umbrella"] == await titles(shop, "umbrella")
    await shop.update(product_pb2.Product(product_id=made.product_id, title="Parasol"))
    assert ([], ["Parasol"]) == (await titles(shop, "umbrella"), await titles(shop, "parasol"))


async def test_search_pages_show_each_match_once(shop):
    """Best first, the newer of two equal ones first, stable between pages."""
    for number in range(7):
        await shop.create(title=f"Quill {number}", description="quill " * (number % 3))
    seen: list[str] = []
    token = ""
    while True:
        page = await found(shop, "quill", page_size=2, page_token=token)
        seen += [each.title for each in page.products]
        token = page.next_page_token
        if not token:
            break
    assert 7 == len(set(seen)) == len(seen)
    assert seen == [each.title for each in (await found(shop, "quill", page_size=100)).products]


@pytest.mark.parametrize("wrong", [{"query": ""}, {"query": "x" * 201}, {"query": "a\x00"}])
async def test_search_refuses_input_outside_the_contract(shop, wrong):
    """An empty search is not a list of everything."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await found(shop, **wrong)
    assert "INVALID_INPUT" == reason_of(refusal.value)


async def test_search_refuses_the_token_of_another_query(shop, shelf):
    """A page belongs to its words."""
    token = (await found(shop, "walnut", page_size=1)).next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await found(shop, "oak", page_token=token)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_a_page_of_huge_matches_ends_early(shop):
    """Five of them are more than one page holds; nothing is lost between the pages."""
    made = [(await shop.create(a_huge_product(title="Encyclopedia"))).product_id for _ in range(5)]
    pages, token = [], ""
    while not pages or token:
        answer = await found(shop, "encyclopedia", page_token=token)
        pages.append([each.product_id for each in answer.products])
        token = answer.next_page_token
    assert [made[:0:-1], made[:1]] == pages
