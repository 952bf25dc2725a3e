"""Sales reports, from pages that a made-up SalesService answers."""

from __future__ import annotations

from datetime import UTC, datetime

from mesh.seams import failpoints
from tests.svc_bulk.conftest import Bulk, State
from titan.order.v1 import sales_service_pb2 as pb

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def page(number: int, token: str) -> pb.SumSalesResponse:
    def sums(name: str) -> pb.SalesSums:
        return pb.SalesSums(name=name, currency_code="GBP", orders=1, total_minor=100, refunded_minor=10, units=2)

    sku = pb.SkuSales(sku="cup", title="Cup", currency_code="GBP", units=2, total_minor=90, orders=1)
    return pb.SumSalesResponse(
        orders=1,
        days=[sums("2026-03-01")],
        countries=[sums("")],
        customers=[sums(f"user-{number}")],
        skus=[sku],
        next_page_token=token,
    )


async def test_a_report_is_four_tables_and_a_page(bulk: Bulk):
    """Of all pages, for the time that was asked for."""
    bulk.sold.pages, bulk.sold.asked = [page(0, "1"), page(1, "2"), page(2, "")], []
    done = await bulk.do(sales_report={"from_time": WHEN})

    assert State.OPERATION_STATE_SUCCEEDED == done.state and 3 == done.progress.rows_done == done.progress.rows_total
    files = {file.name: await bulk.read(file) for file in done.files}
    assert [
        "sales_by_country.csv",
        "sales_by_customer.csv",
        "sales_by_day.csv",
        "sales_by_product.csv",
        "sales_report.html",
    ] == sorted(files)
    assert "2026-03-01,GBP,3,6,300,30,270" in files["sales_by_day.csv"]
    assert "cup,GBP,Cup,3,6,0,270" in files["sales_by_product.csv"]
    assert "unknown,GBP,3,6,300,30,270" in files["sales_by_country.csv"]
    assert "user-1,GBP,1,2,100,10,90" in files["sales_by_customer.csv"]
    assert "GBP 3.00" in files["sales_report.html"] and "From 2026-03-01 12:00 UTC" in files["sales_report.html"]
    assert [WHEN] * 3 == [asked.from_time.ToDatetime(tzinfo=UTC) for asked in bulk.sold.asked]


async def test_a_report_that_was_interrupted_begins_again_and_is_written_once(bulk: Bulk):
    """Its sums are in no database; its files are written in one transaction with its end."""
    bulk.sold.pages = [page(0, "1"), page(1, "")]
    started = await bulk.start(sales_report={})
    worker = bulk.worker()
    for place in ("bulk.step.before_save", "bulk.step.after_save"):
        failpoints.arm(place, "raise*1")
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    done = await bulk.get(started.operation_id)
    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert {"2026-03-01,GBP,2,4,200,20,180"} < {
        line for file in done.files for line in (await bulk.read(file)).splitlines()
    }
    assert 5 == len(done.files)
