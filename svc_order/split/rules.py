"""Which seller sold what of an order, and who bears what of its refunds: pure, and always to the last minor unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mesh.proportion import apportion
from svc_order.invoice.rules import HOUSE, Share, shares
from svc_order.order.lines import Units, units_from_json
from svc_order.order.rules import Change, Entry, Order, cost_of

Parts = Mapping[str, int]
"""Seller -> minor units with tax, the house among them."""


@dataclass(frozen=True, slots=True)
class SellerPart:
    """What another seller than the house sold of an order, and what it bears of one refund."""

    seller_id: str
    sold_minor: int
    borne_minor: int = 0


@dataclass(frozen=True, slots=True)
class Credit:
    """What one seller gives back of what it invoiced; money in minor units with tax."""

    seller_id: str
    total_minor: int
    tax_minor: int


def has_sellers(order: Order) -> bool:
    """Return whether anybody but the house sold a line of it. Every placed order is asked: it costs a look a line."""
    return any(line.seller_id != HOUSE for line in order.lines)


def sellers(order: Order) -> list[str]:
    """Return who but the house sold lines of it, by id."""
    return sorted({line.seller_id for line in order.lines if line.seller_id != HOUSE})


def sold(order: Order) -> tuple[SellerPart, ...]:
    """Return what other sellers than the house sold, by seller."""
    return tuple(SellerPart(each.seller_id, each.total_minor) for each in shares(order) if each.seller_id != HOUSE)


def borne_so_far(order: Order, entries: Iterable[Entry]) -> Parts:
    """Return what each seller of an order has borne of the refunds in its journal."""
    borne: Parts = {each.seller_id: 0 for each in shares(order)}
    for _, parts in refunds(order, entries):
        borne = both(borne, parts)
    return borne


def refunds(order: Order, entries: Iterable[Entry]) -> list[tuple[str, Parts]]:
    """Return the refunds of a journal, the oldest first: their ids, and who bore what.

    An entry says so where several sold the order; what one of before does not say follows from the same rule.
    """
    borne: Parts = {}
    found: list[tuple[str, Parts]] = []
    before = replace(order, returned={})
    for entry in entries:
        if entry.type != "OrderRefunded":
            continue
        payload = entry.payload
        units = units_from_json(payload.get("units"))
        of_shipping = payload.get("of_shipping", False)
        parts = payload.get("shares") or divide(before, payload["amount_minor"], units, borne, of_shipping=of_shipping)
        before = replace(before, returned=_added(before.returned, units))
        borne = both(borne, parts)
        found.append((payload["refund_id"], parts))
    return found


def both(parts: Parts, more: Parts) -> Parts:
    """Return two parts summed, by seller."""
    return {seller: parts.get(seller, 0) + more.get(seller, 0) for seller in sorted({*parts, *more})}


def divide(order: Order, amount_minor: int, units: Units, borne: Parts, *, of_shipping: bool = False) -> dict[str, int]:
    """Return who bears what of a refund, by seller: no more than is left of what they sold.

    Who sold units that came back bears what these cost, and the house what shipping did, for it alone was paid for it;
    what is more than that, all of it for money alone, all bear in proportion to what is left.
    """
    sellers = shares(order)
    lines: dict[str, list[int]] = {each.seller_id: [] for each in sellers}
    for line in order.lines:
        lines[line.seller_id].append(line.number)
    left = [each.total_minor - borne.get(each.seller_id, 0) for each in sellers]
    costs = [
        min(has, cost_of(order, {number: units.get(number, 0) for number in lines[each.seller_id]}))
        for has, each in zip(left, sellers, strict=True)
    ]
    if of_shipping:
        costs = [has if each.seller_id == HOUSE else 0 for has, each in zip(left, sellers, strict=True)]
    parts = apportion(min(amount_minor, sum(costs)), costs)
    still = [has - part for has, part in zip(left, parts, strict=True)]
    rest = apportion(amount_minor - sum(parts), still)
    return {each.seller_id: part + more for each, part, more in zip(sellers, parts, rest, strict=True)}


def divided(order: Order, change: Change, units: Units, borne: Parts) -> Change:
    """Return a refund of an order that several sold, its entry saying who bears what; `order` is from before it."""
    assert change.entry is not None, "a refund is always a new decision"
    payload = change.entry.payload
    of_shipping = payload.get("of_shipping", False)
    parts = divide(order, payload["amount_minor"], units, borne, of_shipping=of_shipping)
    return replace(change, entry=replace(change.entry, payload={**payload, "shares": parts}))


def bearing(order: Order, change: Change) -> tuple[SellerPart, ...]:
    """Return what other sellers than the house sold of an order, and bear of a refund that was divided."""
    assert change.entry is not None, "a refund is always a new decision"
    parts = change.entry.payload["shares"]
    return tuple(replace(each, borne_minor=parts.get(each.seller_id, 0)) for each in sold(order))


def credits(order: Order, parts: Parts, borne: Parts) -> list[Credit]:
    """Return what each seller that bears some of a refund gives back, by seller; `borne` is from before it.

    The tax in it is what the tax of the seller's invoice falls by, rounded down on all that was credited so far:
    with the last penny all of it has come back.
    """
    return [
        Credit(
            each.seller_id,
            minor,
            _tax_of(each, borne.get(each.seller_id, 0) + minor) - _tax_of(each, borne.get(each.seller_id, 0)),
        )
        for each in shares(order)
        if (minor := parts.get(each.seller_id, 0))
    ]


def _tax_of(share: Share, credited_minor: int) -> int:
    return share.tax_minor * credited_minor // share.total_minor


def _added(returned: Units, units: Units) -> Units:
    return {**returned, **{number: returned.get(number, 0) + count for number, count in units.items()}}
