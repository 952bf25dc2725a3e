"""The reconciliation as a person reads it, and as tables for whoever wants to go on with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from bookkeeping.books import Books, Placed, Returned, Row
from bookkeeping.file import MILLS_PER_PENNY, FileLine, mills
from bookkeeping.kinds import LineClass, classify
from bookkeeping.returns import Leftover

TEXT, TABLE, EXCEPTIONS = "reconciliation.txt", "reconciliation.csv", "exceptions.csv"
OTHER_LINES = "other_lines.csv"
TITLE_WIDTH, AMOUNT_WIDTH = 72, 16


def text(books: Books) -> str:
    """Return the reconciliation as lines of text: what the file holds, and what became of it."""
    lines = [_heading("What the file holds, by class of line", "lines")]
    lines += [_line(row) for row in books.classes]
    lines += [_line(Row("", "file total", books.file_lines, books.file_mills)), ""]
    lines += [_heading("What became of it", "number")]
    lines += [_line(books.orders), _line(books.refunds)]
    lines += [_line(row) for row in books.remainder]
    lines += [_line(Row("", f"rounding: {books.rounding.title}", books.rounding.count, books.rounding.mills))]
    lines += [f"{'difference':{TITLE_WIDTH}} {'':>8} {mills(books.difference_mills):>{AMOUNT_WIDTH}}"]
    unclassified = [f"unclassified: {each.invoice} {each.stock_code} {each.description}" for each in books.unclassified]
    beyond = [_line(row) for row in books.beyond]
    return "\n".join([*lines, *unclassified, *beyond])


def tables(
    lines: Iterable[FileLine],
    books: Books,
    placed: Sequence[Placed],
    returned: Sequence[Returned],
    leftovers: Sequence[Leftover],
) -> Iterator[tuple[str, bytes]]:
    """Yield the CSV files, each with its name: the text's rows, every line that is no sale, and all that did not go
    through."""
    rows = [*books.classes, books.orders, books.refunds, *books.remainder, books.rounding]
    rows += [Row("difference", "difference", 0, books.difference_mills), *books.beyond]
    table = ((row.section, row.title, row.count, _amount(row.mills)) for row in rows)
    yield TABLE, _csv(("section", "title", "number", "gbp"), table)
    others = ((x.invoice, x.stock_code, x.quantity, _amount(x.mills), kind) for x, kind in other_lines(lines))
    yield OTHER_LINES, _csv(("invoice", "stock_code", "quantity", "gbp", "class"), others)
    header = ("document", "what", "stock_code", "units", "gbp", "why")
    yield EXCEPTIONS, _csv(header, _exceptions(books, placed, returned, leftovers))


def other_lines(lines: Iterable[FileLine]) -> Iterator[tuple[FileLine, LineClass]]:
    """Yield every line that is no sale, with its class."""
    for line in lines:
        if (kind := classify(line)) is not LineClass.SALE:
            yield line, kind


def _exceptions(
    books: Books, placed: Sequence[Placed], returned: Sequence[Returned], leftovers: Sequence[Leftover]
) -> Iterator[tuple[object, ...]]:
    for order in placed:
        if order.refusal:
            yield order.invoice.number, "order", "", "", _pounds(order.invoice.total_minor), order.refusal
    for back in returned:
        if back.refusal:
            refund = back.refund
            yield refund.note, f"refund of {refund.invoice}", "", "", _pounds(-refund.amount_minor), back.refusal
    for left in leftovers:
        yield left.note, "return", left.line.stock_code, left.units or "", _pounds(-left.amount_minor), left.why
    for line in books.unclassified:
        yield line.invoice, "line", line.stock_code, line.quantity, _amount(line.mills), "unclassified"


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(header)
    writer.writerows(rows)
    return written.getvalue().encode()


def _pounds(minor: int) -> str:
    return _amount(minor * MILLS_PER_PENNY)


def _amount(of_mills: int) -> str:
    return mills(of_mills).replace(",", "")


def _heading(title: str, number: str) -> str:
    return f"{title:{TITLE_WIDTH}} {number:>8} {'GBP':>{AMOUNT_WIDTH}}"


def _line(row: Row) -> str:
    return f"{row.title:{TITLE_WIDTH}} {row.count:8,} {mills(row.mills):>{AMOUNT_WIDTH}}"
