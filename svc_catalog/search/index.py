"""The search data of products, made again a little at a time while searches go on.

A row's data is the database's own, made of its texts and of the language that the row is in. So there is nothing to
swap: a row is whole in one language before, and in the other afterwards, and a search asks in each that is in use. The
only writer of `search_languages`, and of `products.search_language` but for new products.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import asyncpg

FIRST = 1
"""The `seq` of the first product."""
_REINDEX = """
WITH page AS (
    SELECT product_id, seq FROM products WHERE seq >= $1 ORDER BY seq LIMIT $2
), held AS MATERIALIZED (
    SELECT p.product_id FROM products p WHERE p.product_id IN (SELECT product_id FROM page)
    ORDER BY p.product_id FOR NO KEY UPDATE
), wanted AS (
    SELECT language FROM search_languages WHERE is_current
), written AS (
    UPDATE products p SET search_language = wanted.language FROM wanted
    WHERE p.product_id IN (SELECT product_id FROM held)
      AND (p.search_language <> wanted.language
           OR p.search IS DISTINCT FROM search_document(wanted.language, p.title, p.description))
    RETURNING p.product_id
)
SELECT (SELECT count(*) FROM page) AS products, (SELECT count(*) FROM written) AS rewritten,
       (SELECT max(seq) + 1 FROM page) AS next
"""
_DIGEST = """
SELECT count(*) AS products, max(seq) + 1 AS next,
       sha256(convert_to(coalesce(string_agg(concat_ws(' ', product_id, stored), E'\\n' ORDER BY seq), ''), 'UTF8'))
           AS stored,
       sha256(convert_to(coalesce(string_agg(concat_ws(' ', product_id, expected), E'\\n' ORDER BY seq), ''), 'UTF8'))
           AS expected
FROM (
    SELECT p.seq, p.product_id, p.search AS stored, search_document(l.language, p.title, p.description) AS expected
    FROM products p CROSS JOIN search_languages l WHERE l.is_current AND p.seq >= $1 ORDER BY p.seq LIMIT $2
) page
"""


class Language(StrEnum):
    """A language of the search, as Postgres names it; the names are those of `titan.catalog.v1.SearchLanguage`."""

    SIMPLE = "simple"
    ENGLISH = "english"
    GERMAN = "german"
    FRENCH = "french"
    SPANISH = "spanish"
    ITALIAN = "italian"
    DUTCH = "dutch"
    PORTUGUESE = "portuguese"


@dataclass(frozen=True, slots=True)
class Reindexed:
    """How many products were looked at, of how many the data was another, and the `seq` to go on
    from; None on the last page."""

    products: int
    rewritten: int
    next: int | None


@dataclass(frozen=True, slots=True)
class Digest:
    """What the data of some products is and should be, as SHA-256, and the `seq` to go on from; None on the last."""

    products: int
    stored: bytes
    expected: bytes
    next: int | None


async def make_current(tx: asyncpg.Connection, language: Language) -> None:
    """Let new products be in a language from now on, and let searches ask in it."""
    await tx.execute("INSERT INTO search_languages VALUES ($1, false) ON CONFLICT DO NOTHING", language)
    # Held in one order, so that two that name different ones come after each other.
    await tx.execute("SELECT FROM search_languages ORDER BY language FOR NO KEY UPDATE")
    await tx.execute("UPDATE search_languages SET is_current = false WHERE is_current AND language <> $1", language)
    await tx.execute("UPDATE search_languages SET is_current = true WHERE language = $1 AND NOT is_current", language)


async def reindex(tx: asyncpg.Connection, *, begin: int, limit: int) -> Reindexed:
    """Make the data of at most `limit` products from a `seq` on what it should be; what is so is not written."""
    row = await tx.fetchrow(_REINDEX, begin, limit)
    then = row["next"] if row["products"] == limit else None
    return Reindexed(row["products"], row["rewritten"], then)


async def retire_others(tx: asyncpg.Connection) -> bool:
    """Let searches no longer ask in languages that no product is in; returns whether one is in use all the same.

    The foreign key makes it wait for products that are just being inserted.
    """
    await tx.execute("SELECT FROM search_languages ORDER BY language FOR NO KEY UPDATE")
    try:
        async with tx.transaction():
            await tx.execute("DELETE FROM search_languages WHERE NOT is_current")
    except asyncpg.ForeignKeyViolationError:
        return True
    return False


async def digest(connection: asyncpg.Connection, *, begin: int, limit: int) -> Digest:
    """Return what the data of at most `limit` products from a `seq` on is, and what it should be."""
    row = await connection.fetchrow(_DIGEST, begin, limit)
    then = row["next"] if row["products"] == limit else None
    return Digest(row["products"], row["stored"], row["expected"], then)
