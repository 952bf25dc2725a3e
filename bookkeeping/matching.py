"""A shop's file held against the orders and refunds that the shop has: which of them each document has become.

An order is its invoice's by the key that it was placed under and the time that it counts from, which nobody but an
importer sets; a refund is its credit note's by the order, the time and the amount. What the shop has and the file does
not is told beside the books: it is no part of the file's total.

Books of a time count the documents, orders and refunds of that time. What came before is no part of them, and has to be
known all the same: goods go back of what was bought then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from bookkeeping.books import NOTHING_TO_PAY, Placed, Returned, Row
from bookkeeping.file import MILLS_PER_PENNY, mills
from bookkeeping.invoices import CreditNote, Invoice
from bookkeeping.returns import Leftover, Matched, Purchases, Refund, Unmatched

NOT_IN_THE_SHOP = "NOT_IN_THE_SHOP"
"""Why a document has become nothing: the shop has no order for the invoice, or no refund for the credit note."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time that books are closed for: from its first moment to the first that no longer belongs to it; None where
    it has no such end."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, at: datetime) -> bool:
        """Return whether a moment belongs to it."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class ShopRefund:
    """What went back of an order, or is on its way, and the time that it counts from."""

    at: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """An order as the shop has it; `refusal` is why it does not count, where it does not."""

    order_id: str
    key: str
    at: datetime
    total_minor: int
    refusal: str = ""
    refunds: tuple[ShopRefund, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A document of the file that the shop has nothing of, or something else, in words for a person."""

    document: str
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the books are closed with, what somebody has to look at, and what is none of the file's."""

    placed: tuple[Placed, ...]
    returned: tuple[Returned, ...]
    leftovers: tuple[Leftover, ...]
    doubts: tuple[Doubt, ...]
    beyond: tuple[Row, ...]


def hold(
    documents: Iterable[Invoice | CreditNote],
    orders: Iterable[ShopOrder],
    *,
    earlier: Iterable[Invoice | CreditNote] = (),
    window: Window = Window(),
) -> Held:
    """Return what has become of each document, in their order: that of their times, as `invoices.documents` has it.

    `earlier` are the file's documents from before the window. A note of a window that gives back what was bought in no
    document of the file is a doubt: it may have been bought before the file begins, and the shop may have refunded it.
    """
    known: defaultdict[tuple[str, datetime], list[ShopOrder]] = defaultdict(list)
    for order in orders:
        known[order.key, order.at].append(order)
    purchases, of_file = Purchases(), dict[str, ShopOrder]()
    for each in earlier:
        if isinstance(each, CreditNote):
            purchases.match(each)
        elif each.orderable and (before := known.get((each.key, each.at))):
            order = before.pop(0)
            if not order.refusal:
                of_file[order.order_id] = order
                purchases.add(each, order.order_id)
    placed, expected, leftovers, doubts = list[Placed](), list[Refund](), list[Leftover](), list[Doubt]()
    for each in documents:
        if isinstance(each, CreditNote):
            matched = purchases.match(each)
            expected += matched.refunds
            leftovers += matched.leftovers
            if window.since and _of_nothing(each, matched):
                doubts.append(
                    Doubt(each.number, f"credit note {each.number}: of what it gives back, not all was bought")
                )
            continue
        found = known.get((each.key, each.at)) if each.orderable else None
        if found:
            order = found.pop(0)
            placed.append(Placed(each, order.total_minor, order.refusal))
            if not order.refusal:
                of_file[order.order_id] = order
                purchases.add(each, order.order_id)
                doubts += _differing("invoice", each.number, each.total_minor, order.total_minor)
            continue
        placed.append(Placed(each, refusal=NOT_IN_THE_SHOP if each.orderable else NOTHING_TO_PAY))
        if each.orderable:
            doubts.append(Doubt(each.number, f"invoice {each.number}: the shop has no order of its key and time"))
    strangers = [order for left in known.values() for order in left if not order.refusal]
    returned, unasked = _returned(expected, [*of_file.values(), *strangers], window)
    for back in returned:
        if back.refusal:
            doubts.append(Doubt(back.refund.note, f"credit note {back.refund.note}: the shop refunded nothing for it"))
        else:
            doubts += _differing("credit note", back.refund.note, back.refund.amount_minor, back.amount_minor)
    unknown = [order.total_minor for order in strangers if window.has(order.at)]
    beyond = (
        Row("beyond", "orders that the file does not have", len(unknown), sum(unknown) * MILLS_PER_PENNY),
        Row("beyond", "refunds that the file does not have", len(unasked), -sum(unasked) * MILLS_PER_PENNY),
    )
    return Held(
        placed=tuple(placed),
        returned=tuple(returned),
        leftovers=tuple(leftovers),
        doubts=tuple(doubts),
        beyond=tuple(row for row in beyond if row.count),
    )


def _of_nothing(note: CreditNote, matched: Matched) -> bool:
    """Return whether something goes back that nobody has bought; of a guest's note nobody knows."""
    if not note.buyer:
        return False
    return not matched.refunds or any(each.why is Unmatched.NOT_BOUGHT for each in matched.leftovers)


def _returned(
    expected: Iterable[Refund], orders: Iterable[ShopOrder], window: Window
) -> tuple[list[Returned], list[int]]:
    """Return what became of refunds, and the amounts of those of the window that nobody expected; the exact ones are
    taken first."""
    wanted = list(expected)
    left = {order.order_id: [of for of in order.refunds if window.has(of.at)] for order in orders}
    became: dict[int, Returned] = {}
    for exact in (True, False):
        for number, refund in enumerate(wanted):
            if number in became:
                continue
            for of in left[refund.order_id]:
                if of.at == refund.at and (of.amount_minor == refund.amount_minor or not exact):
                    left[refund.order_id].remove(of)
                    became[number] = Returned(refund, of.amount_minor)
                    break
    returned = [became.get(number) or Returned(refund, refusal=NOT_IN_THE_SHOP) for number, refund in enumerate(wanted)]
    return returned, [of.amount_minor for refunds in left.values() for of in refunds]


def _differing(what: str, number: str, of_file_minor: int, of_shop_minor: int) -> Iterator[Doubt]:
    if of_file_minor != of_shop_minor:
        of_file, of_shop = (mills(minor * MILLS_PER_PENNY) for minor in (of_file_minor, of_shop_minor))
        yield Doubt(number, f"{what} {number}: {of_file} in the file, {of_shop} in the shop")
