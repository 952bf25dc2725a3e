"""What becomes of the catalogue when many products or prices are put, one after the other: pure decisions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from mesh.refusals import InvalidInput, Refusal
from svc_catalog.errors import PriceInvalid, ProductChanged, ProductNotFound, SkuTaken
from svc_catalog.product.rules import Draft, Variant, check

MAX_VARIANTS = 100
"""Of one product, as the contract says of a request: a put adds to what is stored."""


class Outcome(StrEnum):
    """What a put did."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True)
class Put:
    """What became of one put, and which product it was about."""

    outcome: Outcome
    product_id: UUID


@dataclass(frozen=True, slots=True)
class Price:
    """What a SKU is to cost, with tax; `expected` is what it has to cost now, minor units and currency, if anything."""

    sku: str
    price_minor: int
    currency_code: str
    expected: tuple[int, str] | None = None


@dataclass
class Shelves:
    """The products that puts are about, as stored and then as each put leaves them; `owners` says who has which SKU."""

    stored: Mapping[UUID, Draft]
    owners: dict[str, UUID]
    now: dict[UUID, Draft] = field(init=False)
    made: list[UUID] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Begin with what is stored."""
        self.now, self.owners = dict(self.stored), dict(self.owners)

    @property
    def created(self) -> list[tuple[UUID, Draft]]:
        """The products that are new, in their order."""
        return [(product_id, self.now[product_id]) for product_id in self.made]

    @property
    def changed(self) -> dict[UUID, Draft]:
        """The stored products that are no longer what they were, as they are now."""
        return {each: self.now[each] for each, before in self.stored.items() if self.now[each] != before}


def put(
    drafts: Iterable[tuple[UUID, Draft]],
    shelves: Shelves,
    *,
    currencies: Collection[str],
    categories: Collection[UUID],
) -> list[Put | Refusal]:
    """Put products one after the other; each comes with the id that it would get. `shelves` are changed.

    Returns one entry per draft, in their order: what was done, or SkuTaken, InvalidInput, PriceInvalid or
    CategoryNotFound, which leave everything as it is.
    """
    answers: list[Put | Refusal] = []
    for product_id, draft in drafts:
        try:
            answers.append(_put_one(product_id, draft, shelves, currencies, categories))
        except Refusal as refusal:
            answers.append(refusal)
    return answers


def _put_one(
    product_id: UUID, draft: Draft, shelves: Shelves, currencies: Collection[str], categories: Collection[UUID]
) -> Put:
    owners = {shelves.owners[each.sku] for each in draft.variants if each.sku in shelves.owners}
    if len(owners) > 1:
        raise SkuTaken("the SKUs belong to different products")
    if not owners:
        check(draft, currencies=currencies, categories=categories)
        shelves.made.append(product_id)
        content, outcome = draft, Outcome.CREATED
    else:
        [product_id] = owners
        before = shelves.now[product_id]
        if len({each.sku for each in draft.variants}) < len(draft.variants):
            raise SkuTaken("a SKU stands in the product twice")
        content = merged(before, draft)
        if content == before:
            return Put(Outcome.UNCHANGED, product_id)
        check(content, currencies=currencies, categories={*categories, *before.category_ids})
        outcome = Outcome.UPDATED
    shelves.now[product_id] = content
    shelves.owners.update((each.sku, product_id) for each in draft.variants)
    return Put(outcome, product_id)


def merged(stored: Draft, wanted: Draft) -> Draft:
    """Return a product with what is wanted of it: named variants as they are named, the others as they were.

    Raises:
        InvalidInput: It would have more than `MAX_VARIANTS`.
    """
    named = {each.sku: each for each in wanted.variants}
    kept = tuple(named.pop(each.sku, each) for each in stored.variants)
    variants = (*kept, *named.values())
    if len(variants) > MAX_VARIANTS:
        raise InvalidInput.of("product.variants", f"must be at most {MAX_VARIANTS}, with those that there are")
    return replace(
        stored,
        title=wanted.title or stored.title,
        description=wanted.description or stored.description,
        category_ids=wanted.category_ids or stored.category_ids,
        variants=variants,
    )


def set_prices(prices: Sequence[Price], shelves: Shelves, *, currencies: Collection[str]) -> list[Put | Refusal]:
    """Set prices one after the other. `shelves` are changed.

    Returns one entry per price, in their order: what was done, or ProductNotFound, PriceInvalid or ProductChanged.
    """
    answers: list[Put | Refusal] = []
    for price in prices:
        try:
            answers.append(_set_one(price, shelves, currencies))
        except Refusal as refusal:
            answers.append(refusal)
    return answers


def _set_one(price: Price, shelves: Shelves, currencies: Collection[str]) -> Put:
    product_id = shelves.owners.get(price.sku)
    if product_id is None:
        raise ProductNotFound(f"no product has the SKU {price.sku}", sku=price.sku)
    if price.price_minor < 0:
        raise PriceInvalid(f"{price.sku}: a price is never negative", sku=price.sku)
    if price.currency_code not in currencies:
        raise PriceInvalid(f"{price.sku}: the shop does not sell in {price.currency_code}", sku=price.sku)
    before = shelves.now[product_id]
    content = replace(before, variants=tuple(_at_price(each, price) for each in before.variants))
    if content == before:
        return Put(Outcome.UNCHANGED, product_id)
    if price.expected is not None:
        [costs] = [(each.price_minor, each.currency_code) for each in before.variants if each.sku == price.sku]
        if costs != price.expected:
            raise ProductChanged(f"{price.sku}: somebody else has changed its price", sku=price.sku)
    shelves.now[product_id] = content
    return Put(Outcome.UPDATED, product_id)


def _at_price(variant: Variant, price: Price) -> Variant:
    if variant.sku != price.sku:
        return variant
    return replace(variant, price_minor=price.price_minor, currency_code=price.currency_code)
