"""Prices by a rule, in the real catalogue."""

from __future__ import annotations

from csv import DictReader
from typing import Any
from uuid import uuid4

import grpc
import pytest

from mesh.refusals import Refusal
from mesh.seams import failpoints
from svc_bulk.jobs import repricing
from tests.harness import reason_of
from tests.svc_bulk.conftest import Bulk, State, csv, new_sku
from titan.bulk.v1 import operation_pb2


async def shelf(bulk: Bulk, *prices: int) -> list[str]:
    """Put products of one variant on the shelf, and return their SKUs."""
    skus = [new_sku() for _ in prices]
    rows = [("sku", "price_minor", "title"), *((sku, price, "Cup") for sku, price in zip(skus, prices, strict=True))]
    await bulk.do(product_import={"file_id": await bulk.file(csv(*rows))})
    return skus


async def costs(bulk: Bulk, *skus: str) -> list[int]:
    found = await bulk.variants(*skus)
    return [found[sku][1] for sku in skus]


async def plan_of(bulk: Bulk, operation: Any) -> dict[str, dict[str, str]]:
    [file] = operation.files
    return {row["sku"]: row for row in DictReader((await bulk.read(file)).splitlines())}


async def test_named_skus_cost_what_the_rule_says_and_the_others_what_they_did(bulk: Bulk):
    """A bad row is told with its number in the file that says what is done, and the rest goes on."""
    cup, pot, jug, other = await shelf(bulk, 1049, 1, 0, 500)
    unknown = new_sku()
    rule = {"percent": "-10", "round_to_minor": 10, "rounding": "PRICE_ROUNDING_DOWN"}
    done = await bulk.do(repricing={"products": {"skus": [cup, pot, jug, unknown]}, **rule})

    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert [940, 1, 0, 500] == await costs(bulk, cup, pot, jug, other)
    assert (1, 1, 2, 4) == (
        done.progress.updated,
        done.progress.unchanged,
        done.progress.refused,
        done.progress.rows_done,
    )
    plan = await plan_of(bulk, done)
    assert ("1049", "940", "") == tuple(plan[cup][name] for name in ("costs_minor", "price_minor", "problem"))
    numbers = {sku: number for number, sku in enumerate(plan, start=2)}
    assert sorted([(numbers[pot], "ROW_INVALID"), (numbers[unknown], "ROW_INVALID")]) == await bulk.problems(
        done.operation_id
    )


async def test_a_product_means_all_its_variants_and_a_category_all_its_products(bulk: Bulk):
    """And `all_products` every one."""
    small, large = new_sku(), new_sku()
    rows = [("product", "sku", "price_minor", "title"), ("p", small, 100, "Cup"), ("p", large, 200, "Cup")]
    await bulk.do(product_import={"file_id": await bulk.file(csv(*rows))})
    [alone] = await shelf(bulk, 300)
    export = await bulk.do(product_export={"format": "FILE_FORMAT_CSV"})
    ids = {row["sku"]: row["product"] for row in DictReader((await bulk.read(export.files[0])).splitlines())}

    await bulk.do(repricing={"products": {"product_ids": [ids[small].upper(), str(uuid4())]}, "percent": "50"})
    assert [150, 300, 300] == await costs(bulk, small, large, alone)
    done = await bulk.do(repricing={"all_products": True, "percent": "100"})
    assert [300, 600, 600] == await costs(bulk, small, large, alone)
    assert done.progress.updated + done.progress.unchanged == done.progress.rows_total


async def test_a_dry_run_shows_the_prices_and_changes_none(bulk: Bulk):
    """In the file that a real run would carry out."""
    [sku] = await shelf(bulk, 1000)
    done = await bulk.do(repricing={"products": {"skus": [sku]}, "percent": "+12.5", "dry_run": True})

    assert (1, [1000]) == (done.progress.updated, await costs(bulk, sku))
    assert "1125" == (await plan_of(bulk, done))[sku]["price_minor"]


@pytest.mark.parametrize("selection", [{"category_id": str(uuid4())}, {"products": {}}])
async def test_a_selection_of_nothing_ends_the_operation(bulk: Bulk, selection: dict[str, Any]):
    """A mistyped category is no success."""
    done = await bulk.do(repricing={**selection, "percent": "1"})
    assert (State.OPERATION_STATE_FAILED, "NOTHING_SELECTED") == (done.state, Refusal.from_status(done.error).reason)


async def test_a_price_is_reckoned_once_whatever_dies_when(bulk: Bulk, monkeypatch: pytest.MonkeyPatch):
    """While the plan is written, between plan and prices, and between an answer and its place."""
    monkeypatch.setattr(repricing, "PAGE_PRODUCTS", 2)
    skus = await shelf(bulk, 100, 200, 300, 400, 500)
    started = await bulk.start(repricing={"products": {"skus": skus}, "percent": "10"})
    worker = bulk.worker()
    for place in (
        "bulk.step.before_save",
        "bulk.step.after_save",
        "bulk.repricing.planned",
        "bulk.batch.answered",
        "bulk.step.before_save",
        "bulk.step.after_save",
    ):
        failpoints.arm(place, "raise*1")
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    done = await bulk.get(started.operation_id)
    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert [110, 220, 330, 440, 550] == await costs(bulk, *skus)
    assert (5, 5, 0) == (done.progress.rows_done, done.progress.updated, done.progress.refused)
    assert skus == list(await plan_of(bulk, done))


async def test_a_price_that_somebody_else_changes_meanwhile_is_theirs(bulk: Bulk):
    """The rule was for another price: the row is refused, and told."""
    kept, taken = await shelf(bulk, 100, 200)
    started = await bulk.start(repricing={"products": {"skus": [kept, taken]}, "percent": "10"})
    worker = bulk.worker()
    failpoints.arm("bulk.repricing.planned", "raise*1")
    await worker.take_due()
    await worker.settle()
    await bulk.do(price_update={"file_id": await bulk.file(f"sku,price_minor\n{taken},50\n")})
    await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    done = await bulk.get(started.operation_id)
    assert ([110, 50], [(3, "PRODUCT_CHANGED")]) == (
        await costs(bulk, kept, taken),
        await bulk.problems(done.operation_id),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": "-100"},
        {"percent": "1000.5"},
        {"percent": "1,5"},
        {"percent": "1.00001"},
        {"percent": ""},
        {"ending_minor": 5, "round_to_minor": 5},
        {"ending_minor": 1},
        {"round_to_minor": -1},
        {"all_products": False},
        {"category_id": "shelf"},
        {"products": operation_pb2.NamedProducts(skus=["a", "a"])},
    ],
)
async def test_a_rule_that_is_none_is_refused_when_it_is_asked_for(bulk: Bulk, wrong: dict[str, Any]):
    """Before anything is put on the queue."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bulk.start(repricing={"all_products": True, "percent": "1", **wrong})
    assert "INVALID_INPUT" == reason_of(refusal.value)
