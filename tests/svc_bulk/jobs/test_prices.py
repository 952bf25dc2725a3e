"""Prices from files, into the real catalogue."""

from __future__ import annotations

from tests.svc_bulk.conftest import NDJSON, Bulk, State, csv, new_sku


async def test_prices_are_set_and_nothing_else_is_touched(bulk: Bulk):
    """Of one variant; its siblings, its title and its attributes stay."""
    one, two = new_sku(), new_sku()
    rows = [("product", "sku", "price_minor", "title"), ("p", one, 100, "Cup"), ("p", two, 200, "Cup")]
    await bulk.do(product_import={"file_id": await bulk.file(csv(*rows))})
    prices = csv(("sku", "price_minor", "currency_code"), (one, 150, "GBP"), (two, 200, ""), (one, 160, "GBP"))
    done = await bulk.do(price_update={"file_id": await bulk.file(prices)})

    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert (2, 1) == (done.progress.updated, done.progress.unchanged)
    assert {one: ("Cup", 160), two: ("Cup", 200)} == await bulk.variants(one, two)


async def test_prices_that_can_not_be_are_told(bulk: Bulk):
    """Of an unknown SKU, below zero, in another currency, or none at all."""
    sku = new_sku()
    await bulk.do(product_import={"file_id": await bulk.file(csv(("sku", "price_minor", "title"), (sku, 1, "Cup")))})
    lines = [
        f'{{"sku": "{new_sku()}", "price_minor": 1}}',
        f'{{"sku": "{sku}", "price_minor": -1}}',
        f'{{"sku": "{sku}", "price_minor": 1, "currency_code": "EUR"}}',
        f'{{"sku": "{sku}", "price_minor": 1.5}}',
        f'{{"sku": "{sku}", "price": 1}}',
    ]
    done = await bulk.do(price_update={"file_id": await bulk.file("\n".join(lines), NDJSON)})

    assert [
        (1, "PRODUCT_NOT_FOUND"),
        (2, "PRICE_INVALID"),
        (3, "PRICE_INVALID"),
        (4, "ROW_INVALID"),
        (5, "ROW_INVALID"),
    ] == await bulk.problems(done.operation_id)
    assert {sku: ("Cup", 1)} == await bulk.variants(sku)
