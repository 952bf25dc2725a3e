"""The search over the products' own full-text index; the products themselves come from `product/store.py`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

# OFFSET keeps each language's matches a query of their own, which the index answers whatever the planner believes of
# how many languages there are.
_MATCHES = """
SELECT m.product_id, m.score, m.seq FROM search_languages l CROSS JOIN LATERAL (
    SELECT p.product_id, (ts_rank(p.search, q) * 1000000)::bigint AS score, p.seq
    FROM websearch_to_tsquery(('pg_catalog.' || l.language)::regconfig, $1) q
    JOIN products p ON p.search @@ q AND p.search_language = l.language OFFSET 0
) m
WHERE $2::bigint IS NULL OR (m.score, m.seq) < ($2, $3::bigint) ORDER BY m.score DESC, m.seq DESC LIMIT $4
"""


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
    rows = await connection.fetch(_MATCHES, query, score, seq, limit)
    return [Match(*row) for row in rows]
