"""The orders and the credit notes that the lines of a file make: pure, money in pence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bookkeeping.file import MILLS_PER_PENNY, FileLine
from bookkeeping.kinds import SOLD, Kind, LineClass, classify, kind_of

LINES_PER_ORDER = 1000
"""What the contract lets an order have; a longer invoice is as many orders as it takes."""
TITLE_CHARACTERS = 200
"""What the contract lets a product be called."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line to order; the price of one in pence."""

    stock_code: str
    quantity: int
    price_minor: int

    @property
    def total_minor(self) -> int:
        """What the line amounts to, in pence."""
        return self.quantity * self.price_minor


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice to place as an order, or one part of a very long one; `mills` is what it adds to the file's total."""

    number: str
    customer: str
    at: datetime
    lines: tuple[InvoiceLine, ...]
    shipping_minor: int = 0
    discount_minor: int = 0
    mills: int = 0
    country: str = ""
    """As the file has it."""

    @property
    def total_minor(self) -> int:
        """What the order amounts to, in pence."""
        return self.goods_minor + self.shipping_minor - self.discount_minor

    @property
    def goods_minor(self) -> int:
        """What the lines amount to before the discount, in pence."""
        return sum(line.total_minor for line in self.lines)

    @property
    def rounding_mills(self) -> int:
        """What the file's prices of tenths of a penny have more than the order's of whole pence."""
        return self.mills - self.total_minor * MILLS_PER_PENNY

    @property
    def key(self) -> str:
        """The idempotency key that it is ordered under, by which its order is found again."""
        return f"invoice-{self.number}"

    @property
    def buyer(self) -> str:
        """Who bought: the customer of the file, or a guest of this invoice alone."""
        return f"customer-{self.customer}" if self.customer else f"guest-{self.number}"

    @property
    def orderable(self) -> bool:
        """Whether there is something to pay: an order of nothing is none."""
        return self.total_minor > 0 and self.discount_minor <= self.goods_minor


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One line of a credit note: units that came back and what was given for each, or one amount and no goods."""

    stock_code: str
    kind: Kind
    quantity: int
    price_minor: int
    mills: int

    @property
    def total_minor(self) -> int:
        """What the line gives back, in pence."""
        return self.quantity * self.price_minor

    @property
    def rounding_mills(self) -> int:
        """What the file gives back in tenths of a penny beyond whole pence; negative, as the file writes it."""
        return self.mills + self.total_minor * MILLS_PER_PENNY


@dataclass(frozen=True, slots=True)
class CreditNote:
    """One credit note: the return that a C invoice of the file is."""

    number: str
    customer: str
    at: datetime
    lines: tuple[CreditLine, ...]

    @property
    def buyer(self) -> str:
        """Who gets the money back; nobody knows whose purchase a guest returns."""
        return f"customer-{self.customer}" if self.customer else ""


def documents(lines: Iterable[FileLine]) -> list[Invoice | CreditNote]:
    """Return the orders to place and the credit notes to honour, in the order of their times, then of the file."""
    grouped: dict[tuple[LineClass, str], list[FileLine]] = {}
    for line in lines:
        kind = classify(line)
        if kind in (LineClass.SALE, LineClass.CANCELLATION):
            grouped.setdefault((kind, line.invoice), []).append(line)
    made: list[Invoice | CreditNote] = []
    for (kind, _), group in grouped.items():
        made.extend(_orders(group) if kind is LineClass.SALE else [_credit_note(group)])
    return sorted(made, key=lambda each: each.at)


def invoices(lines: Iterable[FileLine]) -> list[Invoice]:
    """Return the orders that sale lines make, in the order of their times, then of the file."""
    return [each for each in documents(lines) if isinstance(each, Invoice)]


def _orders(group: Sequence[FileLine]) -> Iterator[Invoice]:
    """Shipping and discount belong to the order of their invoice; postage that was billed alone is a line."""
    shipping = [line for line in group if kind_of(line.stock_code) is Kind.SHIPPING]
    discounts = [line for line in group if kind_of(line.stock_code) is Kind.DISCOUNT]
    sold = [line for line in group if kind_of(line.stock_code) in SOLD]
    if not sold:
        sold, shipping = shipping, []
    for start in range(0, max(1, len(sold)), LINES_PER_ORDER):
        part = sold[start : start + LINES_PER_ORDER]
        beside = [*shipping, *discounts] if start == 0 else []
        first = group[0]
        yield Invoice(
            number=first.invoice if start == 0 else f"{first.invoice}-{1 + start // LINES_PER_ORDER}",
            customer=first.customer,
            at=first.at,
            lines=tuple(InvoiceLine(each.stock_code, each.quantity, each.price_minor) for each in part),
            shipping_minor=_pence(shipping) if start == 0 else 0,
            discount_minor=-_pence(discounts) if start == 0 else 0,
            mills=sum(each.mills for each in [*part, *beside]),
            country=first.country,
        )


def _credit_note(group: Sequence[FileLine]) -> CreditNote:
    lines = [
        CreditLine(each.stock_code, kind_of(each.stock_code), -each.quantity, each.price_minor, each.mills)
        for each in group
    ]
    return CreditNote(group[0].invoice, group[0].customer, group[0].at, tuple(lines))


def _pence(lines: Iterable[FileLine]) -> int:
    return sum(line.quantity * line.price_minor for line in lines)


@dataclass(frozen=True, slots=True)
class ShelfItem:
    """A product to put on the shelf: the first name and price that the file has for it."""

    stock_code: str
    title: str
    price_minor: int


def shelf(lines: Iterable[FileLine], orders: Iterable[Invoice]) -> list[ShelfItem]:
    """Return the products of orders, one per stock code; codes that differ by case alone are different products."""
    ordered = {line.stock_code for order in orders for line in order.lines}
    items: dict[str, ShelfItem] = {}
    for line in lines:
        if line.stock_code not in ordered or classify(line) is not LineClass.SALE:
            continue
        known = items.get(line.stock_code)
        if known is None or (known.title == known.stock_code and line.description):
            title = _title(line.description) or line.stock_code
            items[line.stock_code] = ShelfItem(line.stock_code, title, line.price_minor)
    return list(items.values())


def _title(description: str) -> str:
    """Return what a description can be called a product by: without control characters, and no longer than may be."""
    return "".join(each for each in description if each.isprintable())[:TITLE_CHARACTERS].strip()
