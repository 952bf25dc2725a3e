"""The search over the products' own full-text index; the products themselves come from `product/store.py`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class Match:
    """A product that matches; the higher the score the better, and of two equal ones the newer comes first."""

    product_id: UUID
    score: int
    seq: int


async def list_matches(
    connection: asyncpg.Connection, query: str, *, after: tuple[int, int] | None, limit: int
) -> list[Match]:
    """Return at most `limit` matches behind a (score, seq), the best first.

    The score is the rank as a whole number, so that a page token holds it exactly.
    """
    score, seq = after or (None, None)
    rows = await connection.fetch(
        "SELECT product_id, score, seq FROM ("
        " SELECT p.product_id, (ts_rank(p.search, q) * 1000000)::bigint AS score, p.seq"
        " FROM search_languages l"
        " CROSS JOIN LATERAL websearch_to_tsquery(('pg_catalog.' || l.language)::regconfig, $1) q"
        " JOIN products p ON p.search @@ q AND p.search_language = l.language"
        ") m WHERE $2::bigint IS NULL OR (score, seq) < ($2, $3::bigint) ORDER BY score DESC, seq DESC LIMIT $4",
        query,
        score,
        seq,
        limit,
    )
    return [Match(*row) for row in rows]
