"""All SQL of the categories. They are never moved or removed, so whatever was read of one stays true."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import asyncpg

from svc_catalog.category.rules import Category
from svc_catalog.errors import CategoryExists, CategoryNotFound

_SELECT = "SELECT category_id, titles, ancestor_ids FROM categories"


async def save_category(tx: asyncpg.Connection, category: Category) -> None:
    """Write a new category.

    Raises:
        CategoryExists: The parent has a category of that title.
    """
    written = await tx.fetchval(
        "INSERT INTO categories (category_id, parent_category_id, titles, ancestor_ids) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (titles) DO NOTHING RETURNING category_id",
        category.category_id,
        category.parent_category_id,
        list(category.titles),
        list(category.ancestor_ids),
    )
    if written is None:
        raise CategoryExists(f"there is a category {category.path} already", path=category.path)


async def get_category(connection: asyncpg.Connection, category_id: UUID) -> Category:
    """Return one category.

    Raises:
        CategoryNotFound: There is none.
    """
    row = await connection.fetchrow(f"{_SELECT} WHERE category_id = $1", category_id)
    if row is None:
        raise CategoryNotFound(f"no category {category_id}", category_id=category_id)
    return _category(row)


async def find_categories(connection: asyncpg.Connection, category_ids: Iterable[UUID]) -> dict[UUID, Category]:
    """Return those of the categories that exist."""
    wanted = list(set(category_ids))
    if not wanted:
        return {}
    rows = await connection.fetch(f"{_SELECT} WHERE category_id = ANY($1::uuid[])", wanted)
    return {row["category_id"]: _category(row) for row in rows}


async def list_categories(connection: asyncpg.Connection, *, after: UUID | None, limit: int) -> list[Category]:
    """Return at most `limit` categories behind one, in the order of the tree: each parent before its children."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE $1::uuid IS NULL OR titles > (SELECT titles FROM categories WHERE category_id = $1)"
        " ORDER BY titles LIMIT $2",
        after,
        limit,
    )
    return [_category(row) for row in rows]


def _category(row: asyncpg.Record) -> Category:
    return Category(row["category_id"], tuple(row["titles"]), tuple(row["ancestor_ids"]))
