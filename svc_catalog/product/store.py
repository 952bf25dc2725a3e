"""All SQL of the products: set-based, on raw asyncpg. A read is one statement, so no product mixes two versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from mesh import audit, outbox, pages
from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_catalog.category import store as category_store
from svc_catalog.category.rules import Category
from svc_catalog.errors import ProductNotFound, SkuTaken
from svc_catalog.price import store as prices
from svc_catalog.price.store import PriceSource, Told
from svc_catalog.product import rules
from svc_catalog.product.rules import Draft, Product, Variant
from svc_catalog.product.wire import created_event, updated_event

_COLUMNS = """
       p.product_id, p.seq, p.version, p.title, p.description, p.category_ids, p.seller_id, p.created_at, p.updated_at,
       v.skus, v.prices, v.currencies, v.rates, v.attributes,
       octet_length(p.title) + octet_length(p.description) + v.attribute_bytes AS text_bytes
"""
_VARIANTS = """
CROSS JOIN LATERAL (
    SELECT array_agg(sku ORDER BY place) AS skus, array_agg(price_minor ORDER BY place) AS prices,
           array_agg(currency_code ORDER BY place) AS currencies,
           array_agg(tax_rate_basis_points ORDER BY place) AS rates, array_agg(attributes ORDER BY place) AS attributes,
           sum((SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0) FROM jsonb_each_text(attributes)))
               AS attribute_bytes
    FROM variants WHERE variants.product_id = p.product_id
) v
"""
_LIST = f"SELECT w.place, {_COLUMNS} FROM unnest($1::uuid[]) WITH ORDINALITY AS w (product_id, place)"
_LIST += f" JOIN products p USING (product_id) {_VARIANTS}"
_NEWEST = f"""
SELECT -p.seq AS place, {_COLUMNS} FROM products p {_VARIANTS}
WHERE ($1::bigint IS NULL OR p.seq < $1) ORDER BY p.seq DESC LIMIT $2
"""
_OLDEST = f"""
SELECT p.seq AS place, {_COLUMNS} FROM products p {_VARIANTS} WHERE p.seq > $1 {{named}} ORDER BY p.seq LIMIT $2
"""
_NAMED = {
    "category_id": "AND p.seq IN (SELECT seq FROM category_products WHERE category_id = ${place}::uuid)",
    "product_ids": "AND p.product_id = ANY(${place}::uuid[])",
    "skus": "AND p.product_id IN (SELECT product_id FROM variants WHERE sku = ANY(${place}::text[]))",
}
"""How products are named; each more narrows what is found."""
_NEWEST_IN = f"""
SELECT -p.seq AS place, {_COLUMNS} FROM category_products c JOIN products p ON p.seq = c.seq {_VARIANTS}
WHERE c.category_id = $3 AND ($1::bigint IS NULL OR c.seq < $1) ORDER BY c.seq DESC LIMIT $2
"""
# As many of the first rows as may fit a page, and where that is not all one more, by which to see that there are more:
# a product on the wire is larger than its text.
_FITTING = """
SELECT * FROM (
    SELECT found.*, row_number() OVER by_place AS number,
           sum(text_bytes) OVER (by_place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM ({found}) found WINDOW by_place AS (ORDER BY place)
) sized
WHERE number <= 2 OR bytes_before <= {limit_bytes} ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class Sellable:
    """A variant with what an order line needs to know of its product."""

    sku: str
    product_id: UUID
    title: str
    price_minor: int
    currency_code: str
    tax_rate_basis_points: int
    seller_id: str


def resource(product_id: UUID) -> str:
    """Return the name of a product in the audit log."""
    return f"products/{product_id}"


async def save_created(
    tx: asyncpg.Connection,
    drafts: Sequence[tuple[UUID, Draft]],
    *,
    currencies: Collection[str],
    reuse: bool,
    at: datetime,
) -> list[Product | UUID | Refusal]:
    """Add many products, one after the other; each draft comes with the id that it would get.

    Returns one entry per draft, in their order: the product, the older one that has its SKUs where `reuse` allows it
    (of huge ones, those after a page and one by their ids), or the refusal.

    Raises:
        asyncpg.UniqueViolationError: Another transaction took one of the SKUs in the meantime: run it again.
    """
    skus = [each.sku for _, draft in drafts for each in draft.variants]
    rows = await tx.fetch("SELECT sku, product_id FROM variants WHERE sku = ANY($1::text[])", skus)
    owners = {row["sku"]: row["product_id"] for row in rows}
    wanted = (category_id for _, draft in drafts for category_id in draft.category_ids)
    categories = await category_store.find_categories(tx, wanted)
    await failpoint("catalog.create.read")
    answers = rules.create(drafts, owners=owners, currencies=currencies, categories=categories, reuse=reuse)
    made = [
        (product_id, draft) for (product_id, draft), answer in zip(drafts, answers, strict=True) if answer == product_id
    ]
    products = await save_new(tx, made, categories, at)
    if made:
        await audit.accept(tx, resource(made[0][0]) if len(drafts) == 1 else "products")
    older = dict.fromkeys(answer for answer in answers if isinstance(answer, UUID) and answer not in products)
    products |= {each.product_id: each for each in await list_products(tx, older)}
    await failpoint("catalog.create.before_commit")
    return [answer if isinstance(answer, Refusal) else products.get(answer, answer) for answer in answers]


async def save_new(
    tx: asyncpg.Connection, made: Sequence[tuple[UUID, Draft]], categories: Mapping[UUID, Category], at: datetime
) -> dict[UUID, Product]:
    """Write new products that the rules have let pass, each with its id; return them by their ids."""
    if not made:
        return {}
    drafts = [draft for _, draft in made]
    rows = await tx.fetch(
        "INSERT INTO products"
        " (product_id, version, title, description, category_ids, seller_id, created_at, updated_at, search_language)"
        " SELECT product_id, 1, title, description, category_ids::uuid[], seller_id, $6, $6,"
        " (SELECT language FROM search_languages WHERE is_current) FROM unnest("
        " $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY"
        " AS d (product_id, title, description, category_ids, seller_id, place) ORDER BY place"
        " RETURNING product_id, seq",
        [product_id for product_id, _ in made],
        [draft.title for draft in drafts],
        [draft.description for draft in drafts],
        [_array_text(draft.category_ids) for draft in drafts],
        [draft.seller_id for draft in drafts],
        at,
    )
    seqs = {row["product_id"]: row["seq"] for row in rows}
    await failpoint("catalog.create.products_saved")
    await _save_variants(tx, [(product_id, draft.variants) for product_id, draft in made])
    await _save_shelves(tx, [(seqs[product_id], draft.category_ids) for product_id, draft in made], categories)
    products = {product_id: Product(product_id, seqs[product_id], 1, draft, at, at) for product_id, draft in made}
    await prices.save(tx, [told for each in products.values() for told in _told(each, each.content.variants)])
    await outbox.append(tx, [created_event(each) for each in products.values()])
    return products


async def _save_variants(tx: asyncpg.Connection, owned: Sequence[tuple[UUID, Sequence[Variant]]]) -> None:
    """Write variants in key order, so that two that want the same SKUs wait for each other in one order."""
    rows = sorted(
        ((each.sku, product_id, place, each) for product_id, has in owned for place, each in enumerate(has)),
        key=lambda row: row[0],
    )
    await tx.execute(
        "INSERT INTO variants"
        " (sku, product_id, place, currency_code, price_minor, tax_rate_basis_points, attributes)"
        " SELECT * FROM unnest($1::text[], $2::uuid[], $3::int[], $4::text[], $5::bigint[], $6::int[], $7::jsonb[])",
        [sku for sku, *_ in rows],
        [product_id for _, product_id, *_ in rows],
        [place for _, _, place, _ in rows],
        [each.currency_code for *_, each in rows],
        [each.price_minor for *_, each in rows],
        [each.tax_rate_basis_points for *_, each in rows],
        [dict(each.attributes) for *_, each in rows],
    )


async def _save_shelves(
    tx: asyncpg.Connection, placed: Sequence[tuple[int, Sequence[UUID]]], categories: Mapping[UUID, Category]
) -> None:
    rows = sorted(
        {
            (shelf, seq)
            for seq, category_ids in placed
            for category_id in category_ids
            for shelf in categories[category_id].ancestor_ids
        }
    )
    if rows:
        await tx.execute(
            "INSERT INTO category_products (category_id, seq) SELECT * FROM unnest($1::uuid[], $2::bigint[])",
            [shelf for shelf, _ in rows],
            [seq for _, seq in rows],
        )


async def save_changed(
    tx: asyncpg.Connection,
    product_id: UUID,
    wanted: Draft,
    mask: Sequence[str],
    *,
    etag: str,
    currencies: Collection[str],
    at: datetime,
) -> Product:
    """Change a product and return it.

    Raises:
        ProductNotFound: There is none.
        InvalidInput, ProductChanged, PriceInvalid, SkuTaken, CategoryNotFound: As `rules.change` says.
    """
    locked = await tx.fetchval("SELECT 1 FROM products WHERE product_id = $1 FOR UPDATE", product_id)
    found = await list_products(tx, [product_id]) if locked else []
    if not found:
        raise ProductNotFound(f"no product {product_id}", product_id=product_id)
    await failpoint("catalog.change.locked")
    categories = await category_store.find_categories(tx, [*wanted.category_ids, *found[0].content.category_ids])
    changed = rules.change(found[0], wanted, mask, etag=etag, currencies=currencies, categories=categories, at=at)
    if changed is found[0]:
        return changed
    await _refuse_taken(tx, product_id, changed.content.variants)
    [saved] = await save_contents(tx, [(found[0], changed.content)], categories, at)
    await audit.accept(tx, resource(product_id))
    await failpoint("catalog.change.before_commit")
    return saved


async def save_contents(
    tx: asyncpg.Connection,
    changes: Sequence[tuple[Product, Draft]],
    categories: Mapping[UUID, Category],
    at: datetime,
) -> list[Product]:
    """Write products that the caller has locked, each with its new content, and return them as they are then."""
    if not changes:
        return []
    saved = [replace(each, version=each.version + 1, content=content, updated_at=at) for each, content in changes]
    await tx.execute(
        "UPDATE products p SET version = c.version, title = c.title, description = c.description,"
        " category_ids = c.category_ids::uuid[], updated_at = $6 FROM unnest("
        " $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])"
        " AS c (product_id, version, title, description, category_ids) WHERE p.product_id = c.product_id",
        [each.product_id for each in saved],
        [each.version for each in saved],
        [each.content.title for each in saved],
        [each.content.description for each in saved],
        [_array_text(each.content.category_ids) for each in saved],
        at,
    )
    varied = [
        (each.product_id, content.variants) for each, content in changes if content.variants != each.content.variants
    ]
    if varied:
        await tx.execute(
            "DELETE FROM variants WHERE product_id = ANY($1::uuid[])", [product_id for product_id, _ in varied]
        )
        await _save_variants(tx, varied)
        await prices.save(
            tx,
            [
                told
                for (before, _), after in zip(changes, saved, strict=True)
                for told in _told(after, [v for v in after.content.variants if v not in before.content.variants])
            ],
        )
    moved = [
        (each.seq, content.category_ids)
        for each, content in changes
        if content.category_ids != each.content.category_ids
    ]
    if moved:
        await tx.execute("DELETE FROM category_products WHERE seq = ANY($1::bigint[])", [seq for seq, _ in moved])
        await _save_shelves(tx, moved, categories)
    await outbox.append(tx, [updated_event(each) for each in saved])
    return saved


def _told(product: Product, variants: Sequence[Variant]) -> list[Told]:
    """Return what variants of a product cost from its last change on."""
    told_by = f"{product.product_id}/{product.version:019}"
    return [
        Told(each.sku, product.updated_at, told_by, PriceSource.CATALOGUE, each.currency_code, each.price_minor)
        for each in variants
    ]


async def _refuse_taken(tx: asyncpg.Connection, product_id: UUID, variants: Sequence[Variant]) -> None:
    taken = await tx.fetchval(
        "SELECT sku FROM variants WHERE sku = ANY($1::text[]) AND product_id <> $2 ORDER BY sku LIMIT 1",
        [each.sku for each in variants],
        product_id,
    )
    if taken is not None:
        raise SkuTaken(f"{taken} belongs to another product", sku=taken)


def _array_text(ids: Iterable[UUID]) -> str:
    """Return ids as the text of an array: an array of arrays is not what unnest takes apart."""
    return "{" + ",".join(map(str, ids)) + "}"


async def list_products(connection: asyncpg.Connection, product_ids: Iterable[UUID]) -> list[Product]:
    """Return those of the products that exist, in the order of the ids; of huge ones no more than a page and one."""
    wanted = list(product_ids)
    if not wanted:
        return []
    return [_product(row) for row in await connection.fetch(_fitting(_LIST), wanted)]


async def get_product(connection: asyncpg.Connection, product_id: UUID) -> Product:
    """Return one product.

    Raises:
        ProductNotFound: There is none.
    """
    found = await list_products(connection, [product_id])
    if not found:
        raise ProductNotFound(f"no product {product_id}", product_id=product_id)
    return found[0]


async def list_newest(
    connection: asyncpg.Connection, *, category_id: UUID | None, before: int | None, limit: int
) -> list[Product]:
    """Return at most `limit` products made before a `seq`, newest first; all, or those in a category or below it.

    Of huge products it returns no more than a page holds and one.
    """
    if category_id is None:
        rows = await connection.fetch(_fitting(_NEWEST), before, limit)
    else:
        rows = await connection.fetch(_fitting(_NEWEST_IN), before, limit, category_id)
    return [_product(row) for row in rows]


async def list_oldest(connection: asyncpg.Connection, *, after: int, limit: int, **named: Any) -> list[Product]:
    """Return at most `limit` products made after a `seq`, oldest first; of huge ones, no more than a page and one.

    All of them, or those that are named by `category_id`, `product_ids` and `skus`, as far as these are given.
    """
    given = {name: value for name, value in named.items() if value}
    filters = " ".join(_NAMED[name].format(place=place) for place, name in enumerate(given, start=3))
    rows = await connection.fetch(_fitting(_OLDEST.format(named=filters)), after, limit, *given.values())
    return [_product(row) for row in rows]


def _fitting(found: str) -> str:
    return _FITTING.format(found=found, limit_bytes=pages.MAX_BYTES)


async def find_sellable(connection: asyncpg.Connection, skus: Iterable[str]) -> dict[str, Sellable]:
    """Return what is sold of these SKUs."""
    # Only printable ASCII is sold, and some of the rest (NUL) Postgres does not even take.
    wanted = [sku for sku in set(skus) if sku.isascii() and sku.isprintable()]
    rows = await connection.fetch(
        "SELECT v.sku, v.product_id, p.title, v.price_minor, v.currency_code, v.tax_rate_basis_points, p.seller_id"
        " FROM variants v JOIN products p USING (product_id) WHERE v.sku = ANY($1::text[])",
        wanted,
    )
    return {row["sku"]: Sellable(*row) for row in rows}


def _product(row: asyncpg.Record) -> Product:
    variants = zip(row["skus"], row["prices"], row["currencies"], row["rates"], row["attributes"], strict=True)
    content = Draft(
        title=row["title"],
        description=row["description"],
        category_ids=tuple(row["category_ids"]),
        variants=tuple(Variant(*each) for each in variants),
        seller_id=row["seller_id"],
    )
    return Product(row["product_id"], row["seq"], row["version"], content, row["created_at"], row["updated_at"])
