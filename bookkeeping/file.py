"""Reads a shop's file: one line, one `FileLine`, exact; what a line means is decided in `bookkeeping.kinds`."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
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
MILLS_PER_POUND = 1000
MILLS_PER_PENNY = 10
"""A mill is a tenth of a penny: the smallest that a price of such files has, and the unit of every sum about a file."""
HALF_A_PENNY = MILLS_PER_PENNY // 2
MOST_CHARACTERS = 64
"""Of whatever a line has but its description: more is no number of an invoice, no code and no price."""
MOST_UNITS, MOST_MILLS = 10**9, 10**12
FIRST_YEAR, LAST_YEAR = 1900, 2999


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line of the file; the price of one is exact, in tenths of a penny."""

    invoice: str
    stock_code: str
    description: str
    quantity: int
    at: datetime
    price_mills: int
    customer: str
    country: str

    @property
    def mills(self) -> int:
        """What the line adds to the file's total, in tenths of a penny; less than zero where money goes back."""
        return self.quantity * self.price_mills

    @property
    def price_minor(self) -> int:
        """The price of one in whole pence, half a penny to the even one; the difference is kept in the books."""
        pence, rest = divmod(self.price_mills, MILLS_PER_PENNY)
        return pence + (rest > HALF_A_PENNY or (rest == HALF_A_PENNY and pence % 2))


def read(path: Path, *, first: date = date.min, days: int | None = None) -> Iterator[FileLine]:
    """Yield the lines of some days, or of all, in the order of the file; the times of the file are taken as UTC.

    Raises:
        ValueError: The file has other columns, or a line that can't be read; the message names the line.
    """
    last = date.max if days is None else first + timedelta(days=days)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError(f"{path} has other columns than {', '.join(COLUMNS)}")
        for row in reader:
            try:
                line = parse(row)
            except ValueError as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
            if first <= line.at.date() < last:
                yield line


def written(lines: Iterable[FileLine]) -> bytes:
    """Return lines as a file that reads as the same lines."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for line in lines:
        price = Decimal(line.price_mills) / MILLS_PER_POUND
        at = line.at.replace(tzinfo=None).isoformat(" ")
        numbers = (line.quantity, at, f"{price:f}", line.customer, line.country)
        writer.writerow((line.invoice, line.stock_code, line.description, *numbers))
    return text.getvalue().encode()


def parse(values: Sequence[str]) -> FileLine:
    """Return the line that these values are, in the order of `COLUMNS`.

    Raises:
        ValueError: They are no line; the message says which value is none.
    """
    if len(values) != len(COLUMNS):
        raise ValueError(f"has {len(values)} values for {len(COLUMNS)} columns")
    invoice, stock_code, description, quantity, at, price, customer, country = values
    for name, value in zip(COLUMNS, values, strict=True):
        if len(value) > MOST_CHARACTERS and name != "description":
            raise ValueError(f"{name} has more than {MOST_CHARACTERS} characters")
    units = int(quantity)
    if abs(units) > MOST_UNITS:
        raise ValueError(f"{quantity} are too many units")
    # Many lines share a number, a name and a country: each is kept once.
    return FileLine(
        sys.intern(invoice),
        sys.intern(stock_code.strip()),
        sys.intern(description.strip()),
        units,
        _time(at),
        _price_mills(price),
        sys.intern(customer),
        sys.intern(country),
    )


@lru_cache(maxsize=1024)
def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"{text} is no time of this trade")
    return at


@lru_cache(maxsize=16384)
def _price_mills(text: str) -> int:
    try:
        price = Decimal(text) * MILLS_PER_POUND
        if price.is_finite() and abs(price) <= MOST_MILLS and not price % 1:
            return int(price)
    except ArithmeticError:
        pass
    raise ValueError(f"{text!r} is not a price of whole tenths of a penny")


def pounds(minor: int) -> str:
    """Return pence as people write pounds."""
    return f"GBP {minor // 100:,}.{minor % 100:02d}"


def mills(amount: int) -> str:
    """Return tenths of a penny as a book writes pounds: three decimals, a minus before what goes out."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // MILLS_PER_POUND:,}.{abs(amount) % MILLS_PER_POUND:03d}"
