"""What of an order each seller invoices: pure, and the shares are the whole order to the last minor unit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from svc_order.order.rules import Order

HOUSE = "house"
"""Who sells shipping, whoever sells what is shipped."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one seller sold of an order; money in minor units with tax."""

    seller_id: str
    total_minor: int
    tax_minor: int
    shipping_minor: int = 0


def shares(order: Order) -> list[Share]:
    """Return what each seller sold of an order, by seller; shipping, and the tax in it, is the house's."""
    totals: defaultdict[str, int] = defaultdict(int)
    taxes: defaultdict[str, int] = defaultdict(int)
    for line in order.lines:
        totals[line.seller_id] += line.line_total_minor
        taxes[line.seller_id] += line.tax_minor
    if order.shipping_minor:
        taxes[HOUSE] += order.tax_minor - sum(taxes.values())
        totals[HOUSE] += order.shipping_minor
    return [
        Share(seller, totals[seller], taxes[seller], order.shipping_minor if seller == HOUSE else 0)
        for seller in sorted(totals)
    ]
