"""What a credit note gives back of which order: pure decisions over what buyers have bought and not yet returned.

Goods go back to the newest order lines of their stock code first, never more units than were bought and have not come
back, never at a higher price than was paid, and never more money than is left of the order. Postage goes back of what
was paid for postage, a discount of whatever is left. What fits nowhere is said so, line by line.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from bookkeeping.invoices import CreditLine, CreditNote, Invoice, InvoiceLine
from bookkeeping.kinds import SOLD, Kind, kind_of


class Part(enum.StrEnum):
    """What of an order a refund is for; each is a call of its own."""

    GOODS = "goods"
    CHARGES = "charges"
    SHIPPING = "shipping"
    DISCOUNT = "discount"


class Unmatched(enum.StrEnum):
    """Why something of a credit note goes back of no order."""

    GUEST = "the credit note names no customer"
    NOT_BOUGHT = "more came back than was bought here"
    ABOVE_PAID = "more is given back than was paid"


@dataclass(frozen=True, slots=True)
class Refund:
    """Money to send back of one order at a time, and the units that come back with it, by line number."""

    note: str
    at: datetime
    invoice: str
    order_id: str
    part: Part
    amount_minor: int
    units: tuple[tuple[int, int], ...] = ()

    @property
    def key(self) -> str:
        """The idempotency key: a credit note gives back each part of an order once."""
        return f"return-{self.note}-{self.invoice}-{self.part}"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What of one line of a credit note goes back of no order; without units, money alone."""

    note: str
    line: CreditLine
    why: Unmatched
    amount_minor: int
    units: int = 0


@dataclass(frozen=True, slots=True)
class Matched:
    """A whole credit note: what its refunds and its leftovers give is what the note gives."""

    refunds: tuple[Refund, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(slots=True)
class _Line:
    number: int
    stock_code: str
    price_minor: int
    units_left: int


@dataclass(slots=True)
class _Bought:
    invoice: str
    order_id: str
    left_minor: int
    shipping_left_minor: int
    lines: list[_Line]


@dataclass(slots=True)
class _Taken:
    """What one credit note takes of one part of one order."""

    amount_minor: int = 0
    units: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Purchases:
    """What every buyer has bought and not returned, the oldest order first."""

    _bought: defaultdict[str, list[_Bought]] = field(default_factory=lambda: defaultdict(list))

    def add(self, invoice: Invoice, order_id: str) -> None:
        """Note an order that counts."""
        postage = sum(line.total_minor for line in invoice.lines if kind_of(line.stock_code) is Kind.SHIPPING)
        lines = [
            _Line(number, line.stock_code, _paid_minor(invoice, line), line.quantity)
            for number, line in enumerate(invoice.lines, start=1)
        ]
        self._bought[invoice.buyer].append(
            _Bought(invoice.number, order_id, invoice.total_minor, invoice.shipping_minor + postage, lines)
        )

    def match(self, note: CreditNote) -> Matched:
        """Decide a credit note, and note what it takes."""
        taken: dict[tuple[str, str, Part], _Taken] = {}
        leftovers: list[Leftover] = []
        newest_first = self._bought[note.buyer][::-1] if note.buyer else []
        for line in note.lines:
            if not note.buyer:
                leftovers.append(Leftover(note.number, line, Unmatched.GUEST, line.total_minor, line.quantity))
            elif line.kind in SOLD:
                leftovers.extend(_take_units(note, line, newest_first, taken))
            else:
                leftovers.extend(_take_money(note, line, newest_first, taken))
        refunds = tuple(
            Refund(note.number, note.at, invoice, order_id, part, each.amount_minor, tuple(sorted(each.units.items())))
            for (invoice, order_id, part), each in taken.items()
        )
        return Matched(refunds, tuple(leftovers))


def _paid_minor(invoice: Invoice, line: InvoiceLine) -> int:
    """Return what one unit of a line was paid with, in whole pence: its price, less its share of the discount."""
    if not invoice.discount_minor:
        return line.price_minor
    return line.price_minor * (invoice.goods_minor - invoice.discount_minor) // invoice.goods_minor


def _take_units(
    note: CreditNote, line: CreditLine, newest_first: list[_Bought], taken: dict[tuple[str, str, Part], _Taken]
) -> Iterator[Leftover]:
    part = Part.GOODS if line.kind is Kind.GOODS else Part.CHARGES
    rest, above_minor = line.quantity, 0
    for bought in newest_first:
        for of in bought.lines:
            units = min(rest, of.units_left) if of.stock_code == line.stock_code else 0
            pays = min(units * min(line.price_minor, of.price_minor), bought.left_minor)
            if pays <= 0:
                continue
            of.units_left -= units
            bought.left_minor -= pays
            rest -= units
            above_minor += units * line.price_minor - pays
            into = taken.setdefault((bought.invoice, bought.order_id, part), _Taken())
            into.amount_minor += pays
            into.units[of.number] += units
    if above_minor:
        yield Leftover(note.number, line, Unmatched.ABOVE_PAID, above_minor)
    if rest:
        yield Leftover(note.number, line, Unmatched.NOT_BOUGHT, rest * line.price_minor, rest)


def _take_money(
    note: CreditNote, line: CreditLine, newest_first: list[_Bought], taken: dict[tuple[str, str, Part], _Taken]
) -> Iterator[Leftover]:
    of_shipping = line.kind is Kind.SHIPPING
    part = Part.SHIPPING if of_shipping else Part.DISCOUNT
    rest_minor = line.total_minor
    for bought in newest_first:
        pays = min(rest_minor, bought.left_minor, bought.shipping_left_minor if of_shipping else rest_minor)
        if pays <= 0:
            continue
        bought.left_minor -= pays
        bought.shipping_left_minor -= pays if of_shipping else 0
        rest_minor -= pays
        taken.setdefault((bought.invoice, bought.order_id, part), _Taken()).amount_minor += pays
    if rest_minor:
        yield Leftover(note.number, line, Unmatched.ABOVE_PAID, rest_minor)
