"""Products through files: imported into the real catalogue, and exported so that an import finds nothing new."""

from __future__ import annotations

import json
from csv import reader
from uuid import uuid4

from mesh.seams import failpoints
from svc_bulk.file.store import Format
from svc_bulk.jobs import products
from tests.svc_bulk.conftest import CSV, NDJSON, Bulk, State, csv, new_sku
from titan.catalog.v1 import product_pb2
from titan.type.v1 import money_pb2

HEADER = ("sku", "price_minor", "title")


async def test_products_are_made_changed_or_left(bulk: Bulk):
    """Found by their SKUs."""
    one, two = new_sku(), new_sku()
    first = await bulk.do(
        product_import={"file_id": await bulk.file(csv(HEADER, (one, 100, "One"), (two, 200, "Two")))}
    )
    second = await bulk.do(
        product_import={"file_id": await bulk.file(csv(HEADER, (one, 100, "One"), (two, 250, "Two")))}
    )

    assert State.OPERATION_STATE_SUCCEEDED == first.state == second.state
    assert (2, 0, 0) == (first.progress.created, first.progress.updated, first.progress.unchanged)
    assert (0, 1, 1) == (second.progress.created, second.progress.updated, second.progress.unchanged)
    assert {one: ("One", 100), two: ("Two", 250)} == await bulk.variants(one, two)


async def test_rows_with_one_key_are_variants_of_one_product(bulk: Bulk):
    """Where they follow one another; a bad variant refuses its product, and no other."""
    skus = [new_sku() for _ in range(6)]
    rows = [("product", *HEADER)]
    rows += [(key, sku, price, "Mug") for key, sku, price in zip("aabbb ", skus, (1, 2, 3, "x", 5, 6), strict=True)]
    done = await bulk.do(product_import={"file_id": await bulk.file(csv(*rows))})

    assert (6, 2, 1) == (done.progress.rows_done, done.progress.created, done.progress.refused)
    assert [(5, "ROW_INVALID")] == await bulk.problems(done.operation_id)
    assert {skus[0], skus[1], skus[5]} == set(await bulk.variants(*skus))


async def test_the_catalogue_and_the_contract_refuse_single_products(bulk: Bulk):
    """Each with the reason that they give, in its row."""
    good = new_sku()
    rows = csv(
        (*HEADER, "currency_code", "category_ids", "attributes", "tax_rate_basis_points"),
        (new_sku(), -1, "Negative", "", "", "", ""),
        (new_sku(), 1, "Dollars", "USD", "", "", ""),
        (new_sku(), 1, "Nowhere", "", uuid4(), "", ""),
        (new_sku(), 1, "No category", "", "here", "", ""),
        (new_sku(), 1, "", "", "", "", ""),
        (new_sku(), 1, "Attributes", "", "", "red", ""),
        (new_sku(), 1, "Rate", "", "", "", 10_001),
        (good, 1, "Good", "GBP", "", "{}", 0),
    )
    done = await bulk.do(product_import={"file_id": await bulk.file(rows)})

    reasons = [reason for _, reason in await bulk.problems(done.operation_id)]
    assert ["PRICE_INVALID", "PRICE_INVALID", "CATEGORY_NOT_FOUND", "ROW_INVALID"] == reasons[:4]
    assert ["INVALID_INPUT", "ROW_INVALID", "ROW_INVALID"] == reasons[4:]
    assert 1 == done.progress.created and {good: ("Good", 1)} == await bulk.variants(good)


async def test_ndjson_lines_are_products_of_the_contract(bulk: Bulk):
    """As the catalogue's own JSON has them; an unknown name is a typing error."""
    sku = new_sku()
    lines = [
        {"title": "Pot", "variants": [{"sku": sku, "price": {"currencyCode": "GBP", "minorUnits": "990"}}]},
        {"titel": "Pot", "variants": []},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    done = await bulk.do(product_import={"file_id": await bulk.file(content, NDJSON)})

    assert [(2, "ROW_INVALID")] == await bulk.problems(done.operation_id)
    assert {sku: ("Pot", 990)} == await bulk.variants(sku)


async def test_a_dry_run_makes_nothing(bulk: Bulk):
    """And says what it would make."""
    sku = new_sku()
    file_id = await bulk.file(csv(HEADER, (sku, 1, "One"), (sku, 2, "Two")))
    done = await bulk.do(product_import={"file_id": file_id, "dry_run": True})

    assert (1, 1) == (done.progress.created, done.progress.updated)
    assert {} == await bulk.variants(sku)


async def test_an_export_is_what_an_import_reads(bulk: Bulk):
    """In both forms, over more than a page: imported again nothing is new, whatever stands in the texts."""
    skus = [new_sku() for _ in range(products.EXPORT_PRODUCTS + 3)]
    lines = [
        {
            "title": f'A "quoted", title {number}',
            "description": "two\nlines; ✓",
            "variants": [
                {
                    "sku": sku,
                    "price": {"currencyCode": "GBP", "minorUnits": number},
                    "attributes": {"size": "1,5", "colour": 'r"d'},
                    "taxRateBasisPoints": 0,
                },
                {"sku": f"{sku}-2", "price": {"currencyCode": "GBP", "minorUnits": 7}},
            ],
        }
        for number, sku in enumerate(skus)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    await bulk.do(product_import={"file_id": await bulk.file(content, NDJSON)})

    for format in (CSV, NDJSON):
        export = await bulk.do(product_export={"format": format})
        assert State.OPERATION_STATE_SUCCEEDED == export.state
        assert export.progress.rows_done == export.progress.rows_total
        [file] = export.files
        again = await bulk.do(product_import={"file_id": file.file_id})
        assert (0, 0, 0) == (again.progress.created, again.progress.updated, again.progress.refused)
        assert again.progress.unchanged >= len(skus) and again.progress.rows_done == export.progress.rows_done


async def test_an_export_that_was_interrupted_goes_on_with_the_next_page(bulk: Bulk):
    """No row twice, none left out, one header."""
    rows = [(new_sku(), 1, "Mug") for _ in range(products.EXPORT_PRODUCTS * 2)]
    await bulk.do(product_import={"file_id": await bulk.file(csv(HEADER, *rows))})
    started = await bulk.start(product_export={"format": CSV})
    worker = bulk.worker()
    failpoints.arm("bulk.step.after_save", "raise*1")
    await worker.take_due()
    await worker.settle()
    held_up = await bulk.get(started.operation_id)
    assert State.OPERATION_STATE_QUEUED == held_up.state and 0 < held_up.progress.rows_done < 100
    await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    done = await bulk.get(started.operation_id)
    text = await bulk.read(done.files[0])
    assert done.progress.rows_done + 1 == len(list(reader(text.splitlines(keepends=True))))
    for sku, *_ in rows:
        assert 1 == text.count(sku)
    assert 1 == text.count("price_minor")


def test_an_export_leaves_out_what_is_this_shops_own():
    """Its ids and times; and a text that only looks like a formula stays as it is, for it is data."""
    variant = product_pb2.Variant(sku="=1+1", price=money_pb2.Money(currency_code="GBP", minor_units=5))
    product = product_pb2.Product(product_id=str(uuid4()), title="=SUM(A1)", etag="3", variants=[variant])

    content, written = products.write([product], Format.NDJSON, header=True)

    assert 1 == written
    assert {"title", "variants"} == set(json.loads(content))
