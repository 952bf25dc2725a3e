"""Reconciliation: a shop's file, held line by line against the orders and refunds that an importer made of it.

The rules are those of `bookkeeping`, which a replay closes its books by, so both come to the same figures. It changes
nothing and holds the file in memory, so a worker that takes over begins again.

Books of a time are closed over what the shop has of that time, whatever lines the file has; and with what both had
before it, for goods go back of what was bought then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, TextIO

from google.protobuf.timestamp_pb2 import Timestamp

from bookkeeping import books, invoices, matching
from bookkeeping import report as book_report
from bookkeeping.books import Books, Row
from bookkeeping.file import COLUMNS, FileLine, parse
from bookkeeping.invoices import CreditNote, Invoice
from bookkeeping.matching import Held, ShopOrder, ShopRefund, Window
from mesh.database import Database
from mesh.seams import failpoint
from svc_bulk.errors import ReportTooLarge, RowInvalid, RowUnreconciled
from svc_bulk.file.store import Format
from svc_bulk.jobs import rows
from svc_bulk.jobs.table import CALL_SECONDS, copied
from svc_bulk.operation.rules import RowProblem
from svc_bulk.operation.store import MAX_PROBLEMS, Step
from svc_bulk.operation.work import Output, Work
from svc_bulk.report import page
from titan.bulk.v1 import operation_pb2
from titan.order.v1 import order_pb2
from titan.order.v1 import sales_service_pb2 as pb

CURRENCY = "GBP"
"""Of the file's prices, as their column says."""
MAX_ORDERS = 500_000
"""What a worker holds in memory of the shop: as many as a file may have lines."""
SAVED_EVERY_PAGES = 4
REST_SHARE = 0.5
"""As a report rests: it writes and locks nothing, and somebody waits for it."""
_WRITTEN = "written"
_MOMENT = timedelta(microseconds=1)


@dataclass
class Read:
    """The lines of a file that can be read and belong to the time, those from before it, the row at which each document
    of the time begins, and the rows that can't be read."""

    lines: list[FileLine] = field(default_factory=list)
    earlier: list[FileLine] = field(default_factory=list)
    begins: dict[str, int] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)
    rows: int = 0

    def row_of(self, document: str) -> int:
        """Return the row at which a document begins; the second part of a very long invoice begins where that does."""
        return self.begins.get(document) or self.begins[document.rpartition("-")[0]]


@dataclass
class Kept:
    """What the shop has that the books need, and how many orders it has of the time in each other currency."""

    orders: list[ShopOrder] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


class Reconciliation:
    """Closes the books of a file."""

    def __init__(self, db: Database, sales: Any) -> None:
        self._db = db
        self._sales = sales

    async def run(self, work: Work) -> None:
        """Read the file, read the orders of its time, hold one against the other, write what comes of it.

        Raises:
            FileUnreadable, FileTooLarge: The file is none of a shop.
            ReportTooLarge: The shop has more orders of its time than can be held against it.
        """
        if work.operation.place == _WRITTEN:
            return
        source, window = await work.source(dry_run=False), _window(work.job.reconciliation)
        async with copied(self._db, source.file_id) as file:
            read = await asyncio.to_thread(read_lines, file, source.format, window)
        await work.save(Step(0, rows_total=read.rows))
        earlier = await asyncio.to_thread(invoices.documents, read.earlier)
        kept = await self._kept(work, read, {each.key for each in earlier if isinstance(each, Invoice)}, window)
        held, closed = await asyncio.to_thread(_close, read.lines, earlier, kept, window)
        outputs = await asyncio.to_thread(_outputs, read, held, closed)
        await failpoint("bulk.reconciliation.closed")
        doubts = [RowProblem.of(read.row_of(each.document), RowUnreconciled(each.why)) for each in held.doubts]
        problems = sorted([*read.problems, *doubts], key=lambda each: each.row_number)
        step = Step(
            1,
            _WRITTEN,
            rows_done=read.rows,
            rows_total=read.rows,
            problems=problems[:MAX_PROBLEMS],
            refused=len(problems),
        )
        await work.save(step, outputs=outputs)

    async def _kept(self, work: Work, read: Read, earlier: Set[str], window: Window) -> Kept:
        """Return what the shop has of the time, and what of earlier orders matters to it.

        Where the time has no beginning or no end, the file's own is taken.
        """
        request, kept, number = pb.ListImportedOrdersRequest(), Kept(), 0
        if window == Window() and not read.lines:
            return kept
        if window.since is None and read.lines:
            request.from_time.FromDatetime(min(line.at for line in read.lines))
        if window.until is not None:
            request.to_time.FromDatetime(window.until)
        elif read.lines:
            request.to_time.FromDatetime(max(line.at for line in read.lines) + _MOMENT)
        while True:
            with work.timed(REST_SHARE) as rest:
                answer = await self._sales.ListImportedOrders(request, timeout=CALL_SECONDS)
                for wired in answer.orders:
                    order = _order(wired)
                    if not (_is_of(order, window) or order.key in earlier):
                        continue
                    if wired.total.currency_code == CURRENCY:
                        kept.orders.append(order)
                    elif _is_of(order, window):
                        kept.others[wired.total.currency_code] += 1
            if len(kept.orders) > MAX_ORDERS:
                raise ReportTooLarge(f"more than {MAX_ORDERS:,} orders of this time: ask for a shorter one")
            request.page_token, number = answer.next_page_token, number + 1
            if not request.page_token:
                return kept
            if number % SAVED_EVERY_PAGES == 0:
                await work.save(Step(0, rows_total=read.rows))
            await rest()


def read_lines(file: TextIO, format: Format, window: Window) -> Read:
    """Return what a file holds up to the end of a time; a document belongs where it begins, with all of its lines."""
    read, began = Read(), dict[str, datetime]()
    for row in _rows(file, format):
        read.rows += 1
        try:
            line = _line(row)
        except RowInvalid as problem:
            read.problems.append(RowProblem.of(row.number, problem))
            continue
        at = began.setdefault(line.invoice, line.at)
        if window.has(at):
            read.lines.append(line)
            read.begins.setdefault(line.invoice, row.number)
        elif window.since is not None and at < window.since:
            read.earlier.append(line)
    return read


def _rows(file: TextIO, format: Format) -> Iterator[rows.Row]:
    if format is Format.CSV:
        return rows.read_csv(file, required=COLUMNS, known=COLUMNS)
    return rows.read_ndjson(file)


def _line(row: rows.Row) -> FileLine:
    if row.values is None:
        raise row.problem or RowInvalid("can't be read")
    rows.only(row.values, COLUMNS)
    try:
        return parse([_text(row.values.get(name, "")) for name in COLUMNS])
    except ValueError as problem:
        raise RowInvalid(str(problem)) from None


def _text(value: Any) -> str:
    """Return a value as a CSV file has it; a price is a text in JSON too, where a number may be no exact one."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    raise RowInvalid("a value is no text and no whole number")


def _window(wanted: operation_pb2.Reconciliation) -> Window:
    return Window(
        _at(wanted.from_time) if wanted.HasField("from_time") else None,
        _at(wanted.to_time) if wanted.HasField("to_time") else None,
    )


def _is_of(order: ShopOrder, window: Window) -> bool:
    """Return whether an order, or something that went back of it, is of a time."""
    return window.has(order.at) or any(window.has(each.at) for each in order.refunds)


def _order(wired: pb.ImportedOrder) -> ShopOrder:
    status = order_pb2.OrderStatus.Name(wired.status).removeprefix("ORDER_STATUS_")
    refusal = wired.cancel_reason or status if status in ("CANCELLED", "PENDING") else ""
    refunds = tuple(ShopRefund(_at(each.effective_time), each.amount.minor_units) for each in wired.refunds)
    return ShopOrder(
        wired.order_id, wired.request_id, _at(wired.effective_time), wired.total.minor_units, refusal, refunds
    )


def _at(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _close(
    lines: Sequence[FileLine], earlier: Sequence[Invoice | CreditNote], kept: Kept, window: Window
) -> tuple[Held, Books]:
    documents = invoices.documents(lines)
    held = matching.hold(documents, kept.orders, earlier=earlier, window=window)
    others = tuple(
        Row("beyond", f"orders in {currency}, which the file is not in", count, 0)
        for currency, count in sorted(kept.others.items())
    )
    held = replace(held, beyond=held.beyond + others)
    notes = [each for each in documents if isinstance(each, CreditNote)]
    return held, books.reconcile(lines, notes, held.placed, held.returned, held.leftovers, held.beyond)


def _outputs(read: Read, held: Held, closed: Books) -> list[Output]:
    tables = book_report.tables(read.lines, closed, held.placed, held.returned, held.leftovers)
    outputs: list[Output] = [(name, Format.CSV, content) for name, content in tables]
    whole = closed.closed and not read.problems and not held.doubts and not held.beyond
    about = (
        f"The books {'close' if whole else 'do not close'}: {closed.file_lines:,} lines,"
        f" {len(read.problems):,} rows that can't be read,"
        f" {len(held.doubts):,} documents of which the shop has nothing, or something else,"
        f" {sum(row.count for row in held.beyond):,} orders and refunds of the shop that the file does not have"
    )
    text = f"<pre>{escape(book_report.text(closed))}</pre>"
    outputs.append(("reconciliation.html", Format.PAGE, page.document("Reconciliation", about, [text])))
    return outputs
