"""Reconciliations of a file with the orders that a made-up SalesService has."""

from __future__ import annotations

from collections.abc import Sequence
from csv import reader
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from bookkeeping.file import COLUMNS, parse, written
from bookkeeping.matching import Window
from mesh.refusals import Refusal
from mesh.seams import failpoints
from svc_bulk.file.store import Format
from svc_bulk.jobs.reconciliation import read_lines
from tests.svc_bulk.conftest import NDJSON, Bulk, State, csv
from titan.order.v1 import order_pb2
from titan.order.v1 import sales_service_pb2 as pb
from titan.type.v1 import money_pb2

AT = datetime(2011, 3, 1, 9, 30, tzinfo=UTC)
LATER = AT + timedelta(days=1)


def row(invoice: str, units: int, price: str, at: datetime = AT, code: str = "101A") -> tuple[Any, ...]:
    return (invoice, code, "CUP", units, f"{at:%F %T}", price, "7", "United Kingdom")


ROWS = (
    row("1", 2, "2.50"),
    row("2", 1, "0.255", code="102"),
    row("C3", -1, "2.50", LATER),
    row("4", 1, "9", code="AMAZONFEE"),
)


def gbp(minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="GBP", minor_units=minor)


def order(number: str, minor: int, refunds: Sequence[int] = (), at: datetime = AT, **more: Any) -> pb.ImportedOrder:
    wired = pb.ImportedOrder(
        order_id=f"order {number}",
        request_id=f"invoice-{number}",
        **{"status": order_pb2.ORDER_STATUS_CONFIRMED, "total": gbp(minor), **more},
    )
    wired.effective_time.FromDatetime(at)
    for amount in refunds:
        wired.refunds.add(amount=gbp(amount)).effective_time.FromDatetime(LATER)
    return wired


async def table_of(bulk: Bulk, operation: Any, name: str = "reconciliation.csv") -> dict[str, str]:
    """What a table says: its second column -> the last."""
    [file] = [each for each in operation.files if each.name == name]
    rows = reader((await bulk.read(file)).splitlines())
    return {cells[1]: cells[-1] for cells in rows}


async def test_a_file_that_the_shop_has_closes_its_books(bulk: Bulk):
    """Four files; the orders are asked for in the file's own time, page by page."""
    bulk.sold.imported, bulk.sold.imported_asked = [order("1", 500, [250]), order("2", 26)], []
    done = await bulk.do(reconciliation={"file_id": await bulk.file(csv(COLUMNS, *ROWS))})

    assert (State.OPERATION_STATE_SUCCEEDED, 4, 4, 0) == (
        done.state,
        done.progress.rows_done,
        done.progress.rows_total,
        done.progress.refused,
    )
    rows = await table_of(bulk, done)
    assert ("5.260", "-2.500", "0.000") == (rows["orders"], rows["refunds"], rows["difference"])
    assert "-0.005" == rows["prices of tenths of a penny"]
    assert "9.000" == rows["booked beside the trade: marketplace fee"]
    assert {"exceptions.csv", "other_lines.csv", "reconciliation.csv", "reconciliation.html"} == {
        file.name for file in done.files
    }
    [page] = [each for each in done.files if each.name == "reconciliation.html"]
    assert "<p>The books close: 4 lines" in await bulk.read(page)
    assert [(AT, "", LATER), (AT, "1", LATER)] == [
        (
            asked.from_time.ToDatetime(tzinfo=UTC),
            asked.page_token,
            asked.to_time.ToDatetime(tzinfo=UTC) - timedelta(microseconds=1),
        )
        for asked in bulk.sold.imported_asked
    ]


async def test_rows_that_can_not_be_read_and_what_the_shop_lacks_are_told(bulk: Bulk):
    """With their numbers; the rest is reconciled. A refused order is no problem, it has its reason."""
    refused = order("5", 900, status=order_pb2.ORDER_STATUS_CANCELLED, cancel_reason="OUT_OF_STOCK")
    bulk.sold.imported = [order("1", 499), order("3", 77), refused]
    more = (row("5", 1, "9.00"), row("6", 1, "many"), ("7", "101A"))
    done = await bulk.do(reconciliation={"file_id": await bulk.file(csv(COLUMNS, *ROWS, *more))})

    unreconciled = [(number, "ROW_UNRECONCILED") for number in (2, 3, 4)]
    assert [*unreconciled, (7, "ROW_INVALID"), (8, "ROW_INVALID")] == await bulk.problems(done.operation_id)
    rows = await table_of(bulk, done)
    assert ("0.010", "9.000", "0.260", "0.770") == (
        rows["difference"],
        rows["orders refused: OUT_OF_STOCK"],
        rows["orders refused: NOT_IN_THE_SHOP"],
        rows["orders that the file does not have"],
    )
    [page] = [each for each in done.files if each.name == "reconciliation.html"]
    assert "<p>The books do not close: 5 lines, 2 rows that can&#x27;t be read, 3 documents" in await bulk.read(page)
    assert 5 == done.progress.refused and State.OPERATION_STATE_SUCCEEDED == done.state


async def test_a_part_of_a_file_is_a_time_of_it(bulk: Bulk):
    """As a part of it was replayed; NDJSON is read alike."""
    bulk.sold.imported = []
    names = ", ".join(f'"{name}": "%s"' for name in COLUMNS)
    lines = "\n".join("{" + names % each + "}" for each in ROWS) + '\n{"invoice_no": 1.5}\n'
    done = await bulk.do(
        reconciliation={"file_id": await bulk.file(lines, NDJSON), "from_time": LATER, "to_time": LATER + timedelta(1)}
    )

    rows = await table_of(bulk, done)
    assert "-2.500" == rows["returns unmatched: goods, more came back than was bought here"]
    assert "-2.500" == rows["cancellation of an earlier invoice: goods"]
    assert [(3, "ROW_UNRECONCILED"), (5, "ROW_INVALID")] == await bulk.problems(done.operation_id)


async def sentence_of(bulk: Bulk, operation: Any) -> str:
    """What the page says of the books."""
    [page] = [each for each in operation.files if each.name == "reconciliation.html"]
    return (await bulk.read(page)).partition("<p>The books ")[2].partition("</p>")[0]


async def test_books_of_a_time_close_over_what_the_shop_has_of_it(bulk: Bulk):
    """A file that was cut off is held against all of the time that was asked for, and not of what is left of it."""
    evening = AT + timedelta(hours=9)
    bulk.sold.imported = [order("1", 500), order("2", 26), order("8", 900, at=evening), order("9", 1, at=LATER)]
    bulk.sold.imported_asked = []
    file = {"file_id": await bulk.file(csv(COLUMNS, *ROWS[:2]))}
    alone = await bulk.do(reconciliation=file)
    assert (await sentence_of(bulk, alone)).startswith("close: 2 lines")

    midnight = AT.replace(hour=0, minute=0)
    done = await bulk.do(reconciliation={**file, "from_time": midnight, "to_time": midnight + timedelta(1)})
    said = await sentence_of(bulk, done)
    assert said.startswith("do not close: 2 lines") and said.endswith(
        "1 orders and refunds of the shop that the file does not have"
    )
    assert "9.000" == (await table_of(bulk, done))["orders that the file does not have"]

    nothing = {"from_time": midnight + timedelta(2), "to_time": midnight + timedelta(3)}
    assert (await sentence_of(bulk, await bulk.do(reconciliation={**file, **nothing}))).startswith("close: 0 lines")
    bulk.sold.imported.append(order("10", 1, at=midnight + timedelta(2, 60)))
    lost = await bulk.do(reconciliation={**file, **nothing})
    assert (await sentence_of(bulk, lost)).startswith("do not close: 0 lines")


async def test_an_order_that_was_imported_twice_keeps_the_books_open(bulk: Bulk):
    """Its twin has its key and its time."""
    first = order("1", 500, [250])
    twin = order("1", 500)
    twin.order_id = "order 1 again"
    bulk.sold.imported = [first, twin, order("2", 26)]
    done = await bulk.do(reconciliation={"file_id": await bulk.file(csv(COLUMNS, *ROWS))})
    assert (await sentence_of(bulk, done)).startswith("do not close: 4 lines")
    assert "5.000" == (await table_of(bulk, done))["orders that the file does not have"]


async def test_orders_in_another_currency_are_told(bulk: Bulk):
    """They are none of the file's, and no sum of pounds has them."""
    euros = money_pb2.Money(currency_code="EUR", minor_units=500)
    bulk.sold.imported = [order("1", 500, [250]), order("2", 26), order("7", 0, total=euros)]
    done = await bulk.do(reconciliation={"file_id": await bulk.file(csv(COLUMNS, *ROWS))})
    assert (await sentence_of(bulk, done)).startswith("do not close: 4 lines")
    [table] = [each for each in done.files if each.name == "reconciliation.csv"]
    assert ["beyond", "orders in EUR, which the file is not in", "1", "0.000"] in list(
        reader((await bulk.read(table)).splitlines())
    )


@pytest.mark.parametrize(("refunds", "said"), [([250], "close"), ([], "do not close"), ([250] * 3, "do not close")])
async def test_the_books_of_a_time_know_what_was_bought_before(bulk: Bulk, refunds: list[int], said: str):
    """A credit note of the time is held against the order of before, and what the shop refunded of it in the time."""
    bulk.sold.imported = [order("1", 500, refunds), order("2", 26)]
    done = await bulk.do(
        reconciliation={
            "file_id": await bulk.file(csv(COLUMNS, *ROWS)),
            "from_time": LATER,
            "to_time": LATER + timedelta(1),
        }
    )
    assert (await sentence_of(bulk, done)).startswith(f"{said}: 1 lines")
    rows = await table_of(bulk, done)
    assert ("0.000", "0.000") == (rows["orders"], rows["difference"])
    assert ("-2.500" if refunds else "0.000") == rows["refunds"]


async def test_a_file_that_is_none_of_a_shop_ends_the_operation(bulk: Bulk):
    """At once, for it would be the same again."""
    done = await bulk.do(reconciliation={"file_id": await bulk.file("sku,price_minor\n1,1\n")})
    assert (State.OPERATION_STATE_FAILED, "FILE_UNREADABLE") == (done.state, Refusal.from_status(done.error).reason)


async def test_a_reconciliation_that_was_interrupted_begins_again_and_is_written_once(bulk: Bulk):
    """It changes nothing, so it may."""
    bulk.sold.imported = [order("1", 500, [250]), order("2", 26)]
    started = await bulk.start(reconciliation={"file_id": await bulk.file(csv(COLUMNS, *ROWS))})
    worker = bulk.worker()
    for place in ("bulk.reconciliation.closed", "bulk.step.after_save"):
        failpoints.arm(place, "raise*1")
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    done = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_SUCCEEDED, 4) == (done.state, len(done.files))
    assert "0.000" == (await table_of(bulk, done))["difference"]


def test_a_file_that_a_replay_has_written_is_read_line_by_line():
    """With whatever quotes and commas a description has; the numbers of the rows are those of a spreadsheet."""
    lines = [parse([str(value) for value in values]) for values in (*ROWS, row("5", 1, "1.001"))]
    lines[1] = replace(lines[1], description='A "cup", white', customer="", country="Côte d'Ivoire")
    read = read_lines(StringIO(written(lines).decode(), newline=""), Format.CSV, Window())
    assert (lines, [], 5) == (read.lines, read.problems, read.rows)
    assert {"1": 2, "2": 3, "C3": 4, "4": 5, "5": 6} == read.begins
