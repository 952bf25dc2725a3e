"""What an order costs, and when it is refused before anything is stored: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mesh.refusals import InvalidInput
from svc_order.errors import CartEmpty, CurrencyMixed, PriceChanged, SkuNotSold, TotalTooLarge
from svc_order.order.lines import Line

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
class Agreed:
    """What importers bring beside the lines, in minor units with tax, and the currencies that they say it in."""

    shipping_minor: int = 0
    discount_minor: int = 0
    currencies: frozenset[str] = frozenset()


NOTHING_AGREED = Agreed()


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
    return _share(gross_minor, rate_basis_points, BASIS_POINTS + rate_basis_points)


def _share(amount_minor: int, part: int, whole: int) -> int:
    """Return that part of an amount, rounded half to even."""
    share, rest = divmod(amount_minor * part, whole)
    if rest * 2 > whole or (rest * 2 == whole and share % 2):
        share += 1
    return share


def quote(wanted: Sequence[Wanted], sold: Mapping[str, Sold], agreed: Agreed = NOTHING_AGREED) -> Quote:
    """Return what the wanted lines cost; shipping costs nothing unless something else was agreed.

    Shipping is taxed like the goods that it carries: as much of it is tax as of the lines together.

    Raises:
        CartEmpty: There are no lines.
        SkuNotSold: A SKU is unknown; the metadata names it.
        CurrencyMixed: The lines are priced in more than one currency.
        TotalTooLarge: The sum is more than `MAX_TOTAL_MINOR`.
        InvalidInput: The discount is more than the lines cost.
    """
    if not wanted:
        raise CartEmpty("there is nothing to order")
    lines = []
    currencies = set(agreed.currencies)
    for number, want in enumerate(wanted, start=1):
        item = sold.get(want.sku)
        if item is None:
            raise SkuNotSold("a SKU of the order is not sold", sku=want.sku)
        brought = want.agreed_minor is not None
        price_minor = want.agreed_minor if want.agreed_minor is not None else item.price_minor
        currencies.add(want.agreed_currency if brought else item.currency)
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
    lines = discounted(lines, agreed.discount_minor)
    goods_minor, tax_minor = sum(line.line_total_minor for line in lines), sum(line.tax_minor for line in lines)
    total_minor = goods_minor + agreed.shipping_minor
    if total_minor > MAX_TOTAL_MINOR:
        raise TotalTooLarge("the total is too large", limit_minor=MAX_TOTAL_MINOR)
    if goods_minor:
        tax_minor += _share(agreed.shipping_minor, tax_minor, goods_minor)
    return Quote(tuple(lines), currencies.pop(), total_minor, tax_minor, agreed.shipping_minor)


def discounted(lines: Sequence[Line], discount_minor: int) -> list[Line]:
    """Return the lines with a discount shared out over them in proportion to what they cost, to the last minor unit.

    What the proportions leave over goes to the lines that they cut most, the first ones first (largest remainders).

    Raises:
        InvalidInput: The discount is more than the lines cost.
    """
    costs = [line.line_total_minor for line in lines]
    total_minor = sum(costs)
    if discount_minor > total_minor:
        raise InvalidInput.of("agreed_discount", "must not be more than the lines cost")
    if not discount_minor:
        return list(lines)
    shares, rests = zip(*(divmod(cost * discount_minor, total_minor) for cost in costs), strict=True)
    left_over = discount_minor - sum(shares)
    cut_most = set(sorted(range(len(lines)), key=lambda place: -rests[place])[:left_over])
    return [_less(line, shares[place] + (place in cut_most)) for place, line in enumerate(lines)]


def _less(line: Line, discount_minor: int) -> Line:
    total_minor = line.line_total_minor - discount_minor
    tax_minor = included_tax_minor(total_minor, line.tax_rate_basis_points)
    return replace(line, line_total_minor=total_minor, tax_minor=tax_minor, discount_minor=discount_minor)


def check_expected(priced: Quote, *, expected_minor: int, expected_currency: str) -> None:
    """Compare a quote with what the customer has seen.

    Raises:
        PriceChanged: They differ; the metadata holds the new total.
    """
    if (priced.total_minor, priced.currency) != (expected_minor, expected_currency):
        raise PriceChanged("the total has changed", total_minor=priced.total_minor, currency=priced.currency)
