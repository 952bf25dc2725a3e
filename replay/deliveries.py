"""How goods come to the shop during a replay: a plain rule of purchase, a function of the file alone.

A product's first delivery comes on the day of its first sale. From then on every Monday brings again what was asked
for in the weeks before, whether it was sold or refused: a buyer who looks back and never ahead. So large orders and
sudden fashions find the shelf empty, and steady ones do not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bookkeeping.invoices import Invoice
from bookkeeping.kinds import Kind, kind_of

FIRST_DELIVERY_UNITS = 1000
LOOK_BACK_DAYS = 7
MONDAY = 0
AMPLE_UNITS = 1_000_000
"""More than half a year sells of anything; also what there is of charges, which lie on no shelf."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Units that arrive before the first order of a day, by stock code."""

    on: date
    units: Mapping[str, int]


def ample(orders: Sequence[Invoice]) -> list[Delivery]:
    """Return one delivery of more than all orders ask for."""
    if not orders:
        return []
    codes = dict.fromkeys(line.stock_code for order in orders for line in order.lines)
    return [Delivery(orders[0].at.date(), dict.fromkeys(codes, AMPLE_UNITS))]


def purchased(orders: Sequence[Invoice]) -> list[Delivery]:
    """Return the deliveries of the rule, the first day first; orders come in the order of their times."""
    asked: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for order in orders:
        for line in order.lines:
            asked[order.at.date()][line.stock_code] += line.quantity
    known: set[str] = set()
    deliveries = []
    for day in _days(min(asked), max(asked)) if asked else ():
        arrives: Counter[str] = Counter()
        if day.weekday() == MONDAY:
            for back in range(1, LOOK_BACK_DAYS + 1):
                arrives.update(asked.get(day - timedelta(days=back), Counter()))
            arrives = Counter({code: units for code, units in arrives.items() if kind_of(code) is Kind.GOODS})
        for code in asked.get(day, Counter()).keys() - known:
            arrives[code] += FIRST_DELIVERY_UNITS if kind_of(code) is Kind.GOODS else AMPLE_UNITS
            known.add(code)
        if arrives:
            deliveries.append(Delivery(day, dict(sorted(arrives.items()))))
    return deliveries


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=after) for after in range((last - first).days + 1)]
