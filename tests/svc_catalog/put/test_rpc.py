"""Puts behind the real chain, on a real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest

from mesh.refusals import Refusal
from tests.harness import as_service, reason_of
from tests.svc_catalog.conftest import Shop, a_product, a_variant, new_sku
from titan.catalog.v1 import product_pb2
from titan.catalog.v1 import product_service_pb2 as pb
from titan.type.v1 import money_pb2

BULK = as_service("svc_bulk")
CREATED, UPDATED, UNCHANGED = pb.PUT_OUTCOME_CREATED, pb.PUT_OUTCOME_UPDATED, pb.PUT_OUTCOME_UNCHANGED


async def put(shop: Shop, *products: product_pb2.Product, **more: Any) -> list[pb.PutResult]:
    request = pb.BatchPutProductsRequest(
        operation_id=more.pop("operation", "") or str(uuid4()),
        request_id=more.pop("key", "0"),
        products=products,
        **more,
    )
    return list((await shop.products.BatchPutProducts(request, metadata=BULK)).results)


async def events_of(db, product_id: str) -> list[tuple[str, int]]:
    async with db.hot_read() as connection:
        query = "SELECT type, version FROM outbox WHERE aggregate_id = $1 ORDER BY version"
        rows = await connection.fetch(query, product_id)
    return [(row["type"].rpartition(".")[2], row["version"]) for row in rows]


async def test_products_are_made_and_changed_with_their_events(shop: Shop, db):
    """One event for each version, however often a product is named in one request."""
    one, two = new_sku(), new_sku()
    made = await put(shop, a_product(title="One", variants=[a_variant(one)]))
    again = await put(
        shop,
        a_product(title="Uno", variants=[a_variant(one)]),
        a_product(title="Ein", variants=[a_variant(one), a_variant(two, 5)]),
        a_product(title="Ein", variants=[a_variant(two, 5)]),
    )

    assert [CREATED] == [each.outcome for each in made]
    assert [UPDATED, UPDATED, UNCHANGED] == [each.outcome for each in again]
    assert {made[0].product_id} == {each.product_id for each in again}
    stored = await shop.get(made[0].product_id)
    assert ("Ein", "2", [one, two]) == (stored.title, stored.etag, [each.sku for each in stored.variants])
    assert [("ProductCreated", 1), ("ProductUpdated", 2)] == await events_of(db, made[0].product_id)


async def test_a_product_keeps_its_shelves_and_moves_between_them(shop: Shop):
    """Only where categories are named."""
    old, new = await shop.category(f"Old {uuid4()}"), await shop.category(f"New {uuid4()}")
    sku = new_sku()
    [made] = await put(shop, a_product(variants=[a_variant(sku)], category_ids=[old.category_id]))
    await put(shop, a_product(title="Still here", variants=[a_variant(sku)]))
    assert [made.product_id] == [each.product_id for each in (await shop.list(category_id=old.category_id)).products]

    await put(shop, a_product(variants=[a_variant(sku)], category_ids=[new.category_id]))
    assert [made.product_id] == [each.product_id for each in (await shop.list(category_id=new.category_id)).products]
    assert 0 == len((await shop.list(category_id=old.category_id)).products)


async def test_each_refusal_stands_in_its_place(shop: Shop):
    """And its neighbours are put."""
    owned = await shop.create()
    other = await shop.create()
    both = [a_variant(owned.variants[0].sku), a_variant(other.variants[0].sku)]
    results = await put(
        shop,
        a_product(variants=both),
        a_product(title="", variants=[a_variant()]),
        a_product(variants=[a_variant(currency="USD")]),
        a_product(category_ids=[str(uuid4())]),
        a_product(),
    )

    reasons = [reason_of_status(each) for each in results]
    assert ["SKU_TAKEN", "INVALID_INPUT", "PRICE_INVALID", "CATEGORY_NOT_FOUND", ""] == reasons
    assert CREATED == results[-1].outcome


def reason_of_status(result: pb.PutResult) -> str:
    return Refusal.from_status(result.error).reason if result.HasField("error") else ""


async def test_a_request_id_of_an_operation_puts_once(shop: Shop, db):
    """Asked again it gives the same answer, also where somebody has changed the product since; another content is
    refused, and another operation has keys of its own."""
    operation, sku = str(uuid4()), new_sku()
    wanted = a_product(title="As imported", variants=[a_variant(sku)])
    first = await put(shop, wanted, operation=operation, key="40")
    changed = await shop.get(first[0].product_id)
    changed.title = "Changed by hand"
    await shop.update(changed, "title")

    assert first == await put(shop, wanted, operation=operation, key="40")
    assert "Changed by hand" == (await shop.get(first[0].product_id)).title
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await put(shop, a_product(variants=[a_variant(sku, 1)]), operation=operation, key="40")
    assert "IDEMPOTENCY_KEY_REUSED" == reason_of(refusal.value)
    assert [UPDATED] == [each.outcome for each in await put(shop, wanted, key="40")]
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await put(shop, wanted, key="")
    assert "IDEMPOTENCY_KEY_REQUIRED" == reason_of(missing.value)


async def test_what_is_only_validated_changes_nothing_and_burns_no_key(shop: Shop):
    """The same key then puts."""
    operation, sku = str(uuid4()), new_sku()
    wanted = a_product(variants=[a_variant(sku)])
    for validate_only in (True, True, False):
        [result] = await put(shop, wanted, operation=operation, key="0", validate_only=validate_only)
        assert CREATED == result.outcome


async def test_puts_of_the_same_products_at_once_all_come_through(shop: Shop, db):
    """They wait for each other; whoever made a product, the others change it, version by version."""
    sku = new_sku()
    answers = await asyncio.gather(
        *(put(shop, a_product(title=f"Title {number}", variants=[a_variant(sku)])) for number in range(6))
    )

    outcomes = sorted(each.outcome for [each] in answers)
    assert [CREATED] + [UPDATED] * 5 == outcomes
    events = await events_of(db, answers[0][0].product_id)
    assert list(range(1, 7)) == [version for _, version in events]


async def test_prices_are_set_and_seen_at_once(shop: Shop):
    """Nobody is shown the old one from what is kept."""
    product = await shop.create(variants=[a_variant(price=100), a_variant(price=100)])
    await shop.get(product.product_id)
    prices = [
        pb.SkuPrice(sku=product.variants[0].sku, price=money_pb2.Money(currency_code="GBP", minor_units=90)),
        pb.SkuPrice(sku=new_sku(), price=money_pb2.Money(currency_code="GBP", minor_units=90)),
        pb.SkuPrice(sku=product.variants[1].sku, price=money_pb2.Money(currency_code="USD", minor_units=90)),
    ]
    request = pb.BatchSetPricesRequest(operation_id=str(uuid4()), request_id="0", prices=prices)
    first = await shop.products.BatchSetPrices(request, metadata=BULK)

    assert first == await shop.products.BatchSetPrices(request, metadata=BULK)
    assert [UPDATED, 0, 0] == [each.outcome for each in first.results]
    assert ["", "PRODUCT_NOT_FOUND", "PRICE_INVALID"] == [reason_of_status(each) for each in first.results]
    assert [90, 100] == [each.price.minor_units for each in (await shop.get(product.product_id)).variants]


async def test_a_price_is_changed_from_what_is_expected_and_from_nothing_else(shop: Shop):
    """Whoever reckons from a price hears when it is another by then; what costs as it should is no problem."""
    product = await shop.create(variants=[a_variant(), a_variant()])

    async def priced(*pairs: tuple[int, int]) -> list[str]:
        prices = [
            pb.SkuPrice(sku=each.sku, price=gbp(price), expected_price=gbp(expected))
            for each, (expected, price) in zip(product.variants, pairs, strict=True)
        ]
        request = pb.BatchSetPricesRequest(operation_id=str(uuid4()), request_id="0", prices=prices)
        results = (await shop.products.BatchSetPrices(request, metadata=BULK)).results
        return [reason_of_status(each) or pb.PutOutcome.Name(each.outcome) for each in results]

    now = product.variants[0].price.minor_units
    assert ["PUT_OUTCOME_UPDATED", "PRODUCT_CHANGED"] == await priced((now, 77), (now + 1, 77))
    assert ["PUT_OUTCOME_UNCHANGED", "PUT_OUTCOME_UPDATED"] == await priced((now, 77), (now, 78))
    assert [77, 78] == [each.price.minor_units for each in (await shop.get(product.product_id)).variants]


def gbp(minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="GBP", minor_units=minor)


async def test_products_that_are_named_are_listed(shop: Shop):
    """By a category and what lies below it, by their ids, by a SKU of theirs; each more narrows the page."""
    shelf = await shop.category(f"Shelf {uuid4()}")
    below = await shop.category("Below", parent=shelf.category_id)
    one, two = new_sku(), new_sku()
    [first, second, third] = await put(
        shop,
        a_product(variants=[a_variant(one), a_variant()], category_ids=[below.category_id]),
        a_product(variants=[a_variant(two)], category_ids=[shelf.category_id]),
        a_product(),
    )

    async def listed(**named: Any) -> list[str]:
        found, request = [], pb.ListAllProductsRequest(page_size=1, **named)
        while True:
            page = await shop.products.ListAllProducts(request, metadata=BULK)
            found += [each.product_id for each in page.products]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    assert [first.product_id, second.product_id] == await listed(category_id=shelf.category_id)
    assert [second.product_id, third.product_id] == await listed(product_ids=[third.product_id, second.product_id])
    assert [first.product_id, second.product_id] == await listed(skus=[two, one, new_sku()])
    assert [second.product_id] == await listed(skus=[two, one], product_ids=[second.product_id, third.product_id])
    assert [] == await listed(category_id=str(uuid4()))
    page = await shop.products.ListAllProducts(pb.ListAllProductsRequest(page_size=1, skus=[one, two]), metadata=BULK)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        again = pb.ListAllProductsRequest(skus=[one], page_token=page.next_page_token)
        await shop.products.ListAllProducts(again, metadata=BULK)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_what_a_job_says_of_a_price_is_in_its_history(shop: Shop, db):
    """Of new products and of changed ones, as for everybody else."""
    sku = new_sku()

    async def latest() -> int:
        async with db.hot_read() as connection:
            query = "SELECT price_minor FROM price_history WHERE sku = $1 ORDER BY minute DESC LIMIT 1"
            return await connection.fetchval(query, sku)

    await put(shop, a_product(variants=[a_variant(sku, 100)]))
    assert 100 == await latest()
    price = pb.SkuPrice(sku=sku, price=money_pb2.Money(currency_code="GBP", minor_units=90))
    request = pb.BatchSetPricesRequest(operation_id=str(uuid4()), request_id="0", prices=[price])
    await shop.products.BatchSetPrices(request, metadata=BULK)
    assert 90 == await latest()


async def test_all_products_are_listed_the_oldest_first(shop: Shop):
    """Page by page, each once, also those that are made meanwhile."""
    made = [await shop.create() for _ in range(3)]
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListAllProductsRequest(page_size=2, page_token=token)
        page = await shop.products.ListAllProducts(request, metadata=BULK)
        found += [each.product_id for each in page.products]
        token = page.next_page_token
        if not token:
            break
        if len(made) < 4:
            made.append(await shop.create())

    assert [each.product_id for each in made] == found[-4:] and len(found) == len(set(found))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await shop.products.ListAllProducts(pb.ListAllProductsRequest(page_token="!"), metadata=BULK)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)
