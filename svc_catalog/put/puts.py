"""Puts on Postgres: a set of products or prices in one transaction, answered once per request id of its operation.

It reads and locks; `svc_catalog.product.store`, the writer of the products, writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_catalog.category import store as category_store
from svc_catalog.product import store
from svc_catalog.product.rules import Draft, Product
from svc_catalog.put import rules
from svc_catalog.put.rules import Price, Put, Shelves


async def save_puts(
    tx: asyncpg.Connection,
    drafts: Sequence[tuple[UUID, Draft]],
    *,
    currencies: Collection[str],
    validate_only: bool,
    at: datetime,
) -> list[Put | Refusal]:
    """Add or change products; each comes with the id that it would get. Returns an entry per draft, as `rules.put`.

    Raises:
        asyncpg.UniqueViolationError: Another transaction took one of the SKUs in the meantime: run it again.
    """
    skus = {each.sku for _, draft in drafts for each in draft.variants}
    named = {category_id for _, draft in drafts for category_id in draft.category_ids}

    def decide(shelves: Shelves, categories: Collection[UUID]) -> list[Put | Refusal]:
        return rules.put(drafts, shelves, currencies=currencies, categories=categories)

    return await _save(tx, skus, named, decide, validate_only=validate_only, at=at)


async def save_prices(
    tx: asyncpg.Connection,
    prices: Sequence[Price],
    *,
    currencies: Collection[str],
    validate_only: bool,
    at: datetime,
) -> list[Put | Refusal]:
    """Set prices. Returns an entry per price, as `rules.set_prices`."""

    def decide(shelves: Shelves, categories: Collection[UUID]) -> list[Put | Refusal]:
        return rules.set_prices(prices, shelves, currencies=currencies)

    return await _save(tx, {each.sku for each in prices}, set(), decide, validate_only=validate_only, at=at)


async def _save(
    tx: asyncpg.Connection,
    skus: Collection[str],
    named: Iterable[UUID],
    decide: Callable[[Shelves, Collection[UUID]], list[Put | Refusal]],
    *,
    validate_only: bool,
    at: datetime,
) -> list[Put | Refusal]:
    stored, owners = await _lock(tx, skus)
    inside = (category_id for each in stored.values() for category_id in each.content.category_ids)
    categories = await category_store.find_categories(tx, {*named, *inside})
    shelves = Shelves({product_id: each.content for product_id, each in stored.items()}, owners)
    answers = decide(shelves, categories)
    if not validate_only:
        changes = [(stored[product_id], content) for product_id, content in shelves.changed.items()]
        await store.save_contents(tx, changes, categories, at)
        await store.save_new(tx, shelves.created, categories, at)
        await failpoint("catalog.put.before_commit")
    return answers


async def _lock(tx: asyncpg.Connection, skus: Collection[str]) -> tuple[dict[UUID, Product], dict[str, UUID]]:
    """Lock the products that have these SKUs, in the order of their ids, and return them and who has which SKU.

    Who has which is read again under the locks: whoever waited for one may find its SKU with another product.
    """
    locked: set[UUID] = set()
    wanted = sorted(skus)
    while True:
        rows = await tx.fetch("SELECT sku, product_id FROM variants WHERE sku = ANY($1::text[])", wanted)
        owners = {row["sku"]: row["product_id"] for row in rows}
        missing = sorted(set(owners.values()) - locked)
        if not missing:
            break
        await tx.execute(
            "SELECT 1 FROM products WHERE product_id = ANY($1::uuid[]) ORDER BY product_id FOR UPDATE", missing
        )
        locked.update(missing)
    found: dict[UUID, Product] = {}
    while left := sorted(set(owners.values()) - found.keys()):
        found |= {each.product_id: each for each in await store.list_products(tx, left)}
    return found, owners
