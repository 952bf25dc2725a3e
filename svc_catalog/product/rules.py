"""What a product may be: pure decisions about drafts, changes and who owns a SKU."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from mesh.refusals import InvalidInput, Refusal
from svc_catalog.errors import CategoryNotFound, PriceInvalid, ProductChanged, SkuTaken

HOUSE = "house"
DEFAULT_TAX_RATE_BASIS_POINTS = 2_000
MAX_TEXT_BYTES = 500_000
"""All texts of a product together, so that it always fits its own event, and a page."""
CHANGEABLE = ("title", "description", "category_ids", "variants")


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to buy; the price contains the tax."""

    sku: str
    price_minor: int
    currency_code: str
    tax_rate_basis_points: int = DEFAULT_TAX_RATE_BASIS_POINTS
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody says of a product, before it has an id."""

    title: str = ""
    description: str = ""
    category_ids: tuple[UUID, ...] = ()
    variants: tuple[Variant, ...] = ()
    seller_id: str = HOUSE


@dataclass(frozen=True, slots=True)
class Product:
    """A product as it is stored; `version` counts its changes from 1 and is its etag."""

    product_id: UUID
    seq: int
    version: int
    content: Draft
    created_at: datetime
    updated_at: datetime

    @property
    def etag(self) -> str:
        """What a caller sends back to change this very version."""
        return str(self.version)


def check(draft: Draft, *, currencies: Collection[str], categories: Collection[UUID]) -> None:
    """Check what the contract cannot say of a product.

    Raises:
        InvalidInput: It has no title, no variants, or more text than `MAX_TEXT_BYTES`.
        PriceInvalid: A price is negative, or in a currency that the shop does not sell in.
        SkuTaken: A SKU stands in it twice.
        CategoryNotFound: It stands in a category that does not exist.
    """
    if not draft.title:
        raise InvalidInput.of("product.title", "must not be empty")
    if not draft.variants:
        raise InvalidInput.of("product.variants", "must have at least one")
    if _text_bytes(draft) > MAX_TEXT_BYTES:
        raise InvalidInput.of("product", f"must have at most {MAX_TEXT_BYTES:,} bytes of text, with its attributes")
    seen: set[str] = set()
    for each in draft.variants:
        if each.price_minor < 0:
            raise PriceInvalid(f"{each.sku}: a price is never negative", sku=each.sku)
        if each.currency_code not in currencies:
            raise PriceInvalid(f"{each.sku}: the shop does not sell in {each.currency_code}", sku=each.sku)
        if each.sku in seen:
            raise SkuTaken(f"{each.sku} stands in the product twice", sku=each.sku)
        seen.add(each.sku)
    for category_id in draft.category_ids:
        if category_id not in categories:
            raise CategoryNotFound(f"no category {category_id}", category_id=category_id)


def _text_bytes(draft: Draft) -> int:
    attributes = (text for each in draft.variants for pair in each.attributes.items() for text in pair)
    return sum(len(text.encode()) for text in (draft.title, draft.description, *attributes))


def create(
    drafts: Sequence[tuple[UUID, Draft]],
    *,
    owners: Mapping[str, UUID],
    currencies: Collection[str],
    categories: Collection[UUID],
    reuse: bool,
) -> list[UUID | Refusal]:
    """Decide which drafts become products, one after the other; each comes with the id that it would get.

    `owners` says which product has which SKU. Returns one entry per draft, in their order: its own id where it is made,
    the id of the product that has all of its SKUs already where `reuse` allows it, or the refusal.
    """
    taken = dict(owners)
    answers: list[UUID | Refusal] = []
    for product_id, draft in drafts:
        try:
            check(draft, currencies=currencies, categories=categories)
        except Refusal as refusal:
            answers.append(refusal)
            continue
        has = {taken.get(each.sku) for each in draft.variants}
        owner = next(iter(has))
        if reuse and len(has) == 1 and owner is not None:
            answers.append(owner)
        elif has != {None}:
            sku = next(each.sku for each in draft.variants if each.sku in taken)
            answers.append(SkuTaken(f"{sku} belongs to another product", sku=sku))
        else:
            taken.update((each.sku, product_id) for each in draft.variants)
            answers.append(product_id)
    return answers


def change(
    product: Product,
    wanted: Draft,
    mask: Sequence[str],
    *,
    etag: str,
    currencies: Collection[str],
    categories: Collection[UUID],
    at: datetime,
) -> Product:
    """Return the product as changed; one that nothing changes comes back as it is, whatever the etag.

    Without a mask the fields that are set are changed. That a SKU is free is for the database to say.

    Raises:
        InvalidInput: The mask names a field that cannot be changed, or nothing would be left of the title or variants.
        ProductChanged: The product is no longer what the etag says.
        PriceInvalid, SkuTaken, CategoryNotFound: As for a new product.
    """
    for path in mask:
        if path not in CHANGEABLE:
            raise InvalidInput.of("update_mask", f"{path} cannot be changed; these can: {', '.join(CHANGEABLE)}")
    named = mask or [name for name in CHANGEABLE if getattr(wanted, name)]
    content = replace(product.content, **{name: getattr(wanted, name) for name in named})
    if content == product.content:
        return product
    if etag and etag != product.etag:
        raise ProductChanged("the product was changed by somebody else", etag=product.etag)
    check(content, currencies=currencies, categories={*categories, *product.content.category_ids})
    return replace(product, version=product.version + 1, content=content, updated_at=at)
