"""What each line of the file is, and which orders they make: pure, money in pence."""

from __future__ import annotations

import csv
import enum
import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

COLUMNS = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_time",
    "unit_price_gbp",
    "customer_id",
    "country",
)


class LineClass(enum.StrEnum):
    """What a line of the file is."""

    SALE = "sale"
    CANCELLATION = "cancellation of an earlier invoice"
    ADJUSTMENT = "adjustment by the bookkeeper"
    STOCK_CORRECTION = "stock correction without a price"
    FREE = "goods without a price"
    NEGATIVE = "negative quantity on a sales invoice"
    FRACTION = "price with a fraction of a penny"


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line of the file; `price` in pounds, exact."""

    invoice: str
    stock_code: str
    description: str
    quantity: int
    at: datetime
    price: Decimal
    customer: str
    country: str


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line to order; the price of one in pence."""

    stock_code: str
    quantity: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice to place as an order."""

    number: str
    customer: str
    at: datetime
    lines: tuple[InvoiceLine, ...]

    @property
    def total_minor(self) -> int:
        """What the invoice amounts to, in pence."""
        return sum(line.quantity * line.price_minor for line in self.lines)

    @property
    def buyer(self) -> str:
        """Who bought: the customer of the file, or a guest of this invoice alone."""
        return f"customer-{self.customer}" if self.customer else f"guest-{self.number}"


def read(path: Path, *, first: date, days: int) -> Iterator[FileLine]:
    """Yield the lines of some days, in the order of the file; the times of the file are taken as UTC.

    Raises:
        ValueError: The file has other columns, or a line that can't be read; the message names the line.
    """
    last = first + timedelta(days=days)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path} has other columns than {', '.join(COLUMNS)}")
        for row in reader:
            try:
                at = datetime.fromisoformat(row["invoice_time"]).replace(tzinfo=UTC)
                if not first <= at.date() < last:
                    continue
                yield FileLine(
                    invoice=row["invoice_no"],
                    stock_code=row["stock_code"],
                    description=row["description"].strip(),
                    quantity=int(row["quantity"]),
                    at=at,
                    price=Decimal(row["unit_price_gbp"]),
                    customer=row["customer_id"],
                    country=row["country"],
                )
            except (ValueError, ArithmeticError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def classify(line: FileLine) -> LineClass:
    """Return what a line is: a sale is a positive number of things at a positive price on an ordinary invoice."""
    if line.invoice.startswith("C"):
        return LineClass.CANCELLATION
    if not line.invoice.isdigit():
        return LineClass.ADJUSTMENT
    if line.price == 0:
        return LineClass.FREE if line.quantity > 0 else LineClass.STOCK_CORRECTION
    if line.quantity <= 0 or line.price < 0:
        return LineClass.NEGATIVE
    if line.price * 100 != int(line.price * 100):
        return LineClass.FRACTION
    return LineClass.SALE


def invoices(lines: Iterable[FileLine]) -> list[Invoice]:
    """Return the invoices that sale lines make, in the order of the file."""
    grouped: dict[str, list[FileLine]] = {}
    for line in lines:
        grouped.setdefault(line.invoice, []).append(line)
    return [
        Invoice(
            number=number,
            customer=group[0].customer,
            at=group[0].at,
            lines=tuple(InvoiceLine(each.stock_code, each.quantity, int(each.price * 100)) for each in group),
        )
        for number, group in grouped.items()
    ]


@dataclass(frozen=True, slots=True)
class ShelfItem:
    """A product to put on the shelf: the first name and price that the file has for it."""

    stock_code: str
    title: str
    price_minor: int


def shelf(lines: Sequence[FileLine]) -> list[ShelfItem]:
    """Return the products of sale lines, one per stock code; codes that differ by case alone are different products."""
    items: dict[str, ShelfItem] = {}
    for line in lines:
        known = items.get(line.stock_code)
        if known is None or (known.title == known.stock_code and line.description):
            title = line.description or line.stock_code
            items[line.stock_code] = ShelfItem(line.stock_code, title, int(line.price * 100))
    return list(items.values())


def pounds(minor: int) -> str:
    """Return pence as people write pounds."""
    return f"GBP {minor // 100:,}.{minor % 100:02d}"
