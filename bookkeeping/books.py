"""The reconciliation: every line of the file, and what became of it, summed in tenths of a penny.

    file total = orders - refunds + remainder + rounding

Each term is a sum of its own parts. The orders and refunds are what the shop says; the remainder is a sum of classified
lines, and never what is missing from the total, so that the difference says whether the books close.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bookkeeping.file import MILLS_PER_PENNY, FileLine
from bookkeeping.invoices import CreditNote, Invoice
from bookkeeping.kinds import LineClass, classify, kind_of
from bookkeeping.returns import Leftover, Refund

MAX_UNCLASSIFIED_SHARE = 0.001
NOTHING_TO_PAY = "NOTHING_TO_PAY"
"""Why an invoice is no order: its total is nothing, or its discount more than its goods."""
ORDERED = frozenset({LineClass.SALE, LineClass.CANCELLATION})


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of an invoice: the order and its total as the shop tells it, or the reason of its refusal."""

    invoice: Invoice
    total_minor: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a refund: what went back as the shop tells it, or the reason of its refusal."""

    refund: Refund
    amount_minor: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the reconciliation: how many lines, orders or refunds it sums, and their sum."""

    section: str
    title: str
    count: int
    mills: int


@dataclass(frozen=True, slots=True)
class Books:
    """A reconciliation. `classes` has every line of the file once; the other sections make the file's total again, but
    for `beyond`: what the shop has and the file does not."""

    classes: tuple[Row, ...]
    orders: Row
    refunds: Row
    remainder: tuple[Row, ...]
    rounding: Row
    unclassified: tuple[FileLine, ...]
    beyond: tuple[Row, ...] = ()

    @property
    def file_lines(self) -> int:
        """How many lines the file has."""
        return sum(row.count for row in self.classes)

    @property
    def file_mills(self) -> int:
        """What the file amounts to."""
        return sum(row.mills for row in self.classes)

    @property
    def difference_mills(self) -> int:
        """What the file has more than its parts; zero, or something is lost."""
        parts = [self.orders, *self.remainder, self.rounding, self.refunds]
        return self.file_mills - sum(row.mills for row in parts)

    @property
    def closed(self) -> bool:
        """Whether nothing is lost, and nearly every line known."""
        few = len(self.unclassified) <= MAX_UNCLASSIFIED_SHARE * self.file_lines
        return self.difference_mills == 0 and few


def reconcile(
    lines: Sequence[FileLine],
    notes: Iterable[CreditNote],
    placed: Sequence[Placed],
    returned: Sequence[Returned],
    leftovers: Sequence[Leftover],
    beyond: tuple[Row, ...] = (),
) -> Books:
    """Add up the file, and what the shop says became of it; `beyond` is told beside it."""
    classes, remainder, unclassified = _Tally("lines"), _Tally("remainder"), []
    for line in lines:
        title = f"{(found := classify(line))}: {kind_of(line.stock_code)}"
        classes.add(title, line.mills)
        if found not in ORDERED:
            remainder.add(title, line.mills)
        if found is LineClass.UNCLASSIFIED:
            unclassified.append(line)
    for each in placed:
        if each.refusal:
            remainder.add(f"orders refused: {each.refusal}", each.invoice.total_minor * MILLS_PER_PENNY)
    for leftover in leftovers:
        title = f"returns unmatched: {leftover.line.kind}, {leftover.why}"
        remainder.add(title, -leftover.amount_minor * MILLS_PER_PENNY)
    for back in returned:
        if back.refusal:
            remainder.add(f"refunds refused: {back.refusal}", -back.refund.amount_minor * MILLS_PER_PENNY)
    paid, gone = [each for each in placed if not each.refusal], [each for each in returned if not each.refusal]
    rounded = [each.invoice.rounding_mills for each in placed]
    rounded += [line.rounding_mills for note in notes for line in note.lines]
    return Books(
        classes=classes.rows(),
        orders=Row("orders", "orders", len(paid), sum(each.total_minor for each in paid) * MILLS_PER_PENNY),
        refunds=Row("refunds", "refunds", len(gone), -sum(each.amount_minor for each in gone) * MILLS_PER_PENNY),
        remainder=remainder.rows(),
        rounding=Row("rounding", "prices of tenths of a penny", sum(1 for each in rounded if each), sum(rounded)),
        unclassified=tuple(unclassified),
        beyond=beyond,
    )


class _Tally:
    def __init__(self, section: str) -> None:
        self._section = section
        self._counts: Counter[str] = Counter()
        self._mills: defaultdict[str, int] = defaultdict(int)

    def add(self, title: str, mills: int) -> None:
        self._counts[title] += 1
        self._mills[title] += mills

    def rows(self) -> tuple[Row, ...]:
        """Return a row per title, sorted by it."""
        titles = sorted(self._counts)
        return tuple(Row(self._section, title, self._counts[title], self._mills[title]) for title in titles)
