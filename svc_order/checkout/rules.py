"""What an order costs, and when it is refused before anything is stored: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from svc_order.errors import CartEmpty, CurrencyMixed, PriceChanged, SkuNotSold, TotalTooLarge
from svc_order.order.rules import Line

MAX_TOTAL_MINOR = 10_000_000_000
BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One line that somebody wants; `agreed_minor` is set by importers alone."""

    sku: str
    quantity: int
    agreed_minor: int | None = None
    agreed_currency: str = ""


@dataclass(frozen=True, slots=True)
class Sold:
    """What the catalogue says of a SKU; the price in minor units with tax."""

    sku: str
    product_id: str
    title: str
    seller_id: str
    price_minor: int
    currency: str
    tax_rate_basis_points: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order costs; money in minor units with tax."""

    lines: tuple[Line, ...]
    currency: str
    total_minor: int
    tax_minor: int
    shipping_minor: int


def included_tax_minor(gross_minor: int, rate_basis_points: int) -> int:
    """Return the tax inside a price with tax, in minor units, rounded half to even."""
    numerator, denominator = gross_minor * rate_basis_points, BASIS_POINTS + rate_basis_points
    whole, rest = divmod(numerator, denominator)
    if rest * 2 > denominator or (rest * 2 == denominator and whole % 2):
        whole += 1
    return whole


def quote(wanted: Sequence[Wanted], sold: Mapping[str, Sold]) -> Quote:
    """Return what the wanted lines cost; shipping costs nothing until a shipping service says otherwise.

    Raises:
        CartEmpty: There are no lines.
        SkuNotSold: A SKU is unknown; the metadata names it.
        CurrencyMixed: The lines are priced in more than one currency.
        TotalTooLarge: The sum is more than `MAX_TOTAL_MINOR`.
    """
    if not wanted:
        raise CartEmpty("there is nothing to order")
    lines = []
    currencies = set()
    for number, want in enumerate(wanted, start=1):
        item = sold.get(want.sku)
        if item is None:
            raise SkuNotSold("a SKU of the order is not sold", sku=want.sku)
        agreed = want.agreed_minor is not None
        price_minor = want.agreed_minor if want.agreed_minor is not None else item.price_minor
        currencies.add(want.agreed_currency if agreed else item.currency)
        total_minor = price_minor * want.quantity
        lines.append(
            Line(
                number=number,
                sku=want.sku,
                product_id=item.product_id,
                title=item.title,
                seller_id=item.seller_id,
                quantity=want.quantity,
                unit_price_minor=price_minor,
                line_total_minor=total_minor,
                tax_minor=included_tax_minor(total_minor, item.tax_rate_basis_points),
                tax_rate_basis_points=item.tax_rate_basis_points,
            )
        )
    if len(currencies) > 1:
        raise CurrencyMixed("the lines are priced in more than one currency", currencies=" ".join(sorted(currencies)))
    total_minor = sum(line.line_total_minor for line in lines)
    if total_minor > MAX_TOTAL_MINOR:
        raise TotalTooLarge("the total is too large", limit_minor=MAX_TOTAL_MINOR)
    tax_minor = sum(line.tax_minor for line in lines)
    return Quote(tuple(lines), currencies.pop(), total_minor, tax_minor, shipping_minor=0)


def check_expected(priced: Quote, *, expected_minor: int, expected_currency: str) -> None:
    """Compare a quote with what the customer has seen.

    Raises:
        PriceChanged: They differ; the metadata holds the new total.
    """
    if (priced.total_minor, priced.currency) != (expected_minor, expected_currency):
        raise PriceChanged("the total has changed", total_minor=priced.total_minor, currency=priced.currency)
