"""Chains the rows of an append-only table into hashed blocks, so that one changed, added or removed later shows.

Sequence numbers have gaps and are not taken in the order of commits, so a block is cut by transactions instead: it
holds every row written by the transactions between two horizons. A horizon is the oldest transaction that still runs
anywhere on the server, so all before it have ended and no row can join a sealed block any more. The tail behind the
horizon is not sealed yet: about as long as the sealer rests, longer only while an old transaction lives.

Sealing goes on from the newest block and verifying from any block, at most so many rows or blocks a statement, so the
cost of either never grows with what was sealed before. Nothing here knows what a row means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import asyncpg

MAX_BLOCK_ROWS = 4096
"""Of one block, and those of its last transaction: what a sealer that was away for long takes at a time."""

PAGE_BLOCKS = 256
"""How many blocks one statement verifies."""

ALL_BLOCKS = 2**62
NO_BEGINNING = "the sealed chain has no beginning"
FROM_BEFORE = "the server counts transactions from before the last block: nothing can be sealed"


@dataclass(frozen=True, slots=True)
class Head:
    """A sealed block and its hash, which stands for it and all before it. Kept elsewhere, it is a witness."""

    height: int
    hash: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.height}:{self.hash.hex()}"


@dataclass(frozen=True)
class Chain:
    """One chain: a query for (xid, leaf) of every row, the table of its blocks, and the words it begins with."""

    rows: str
    blocks: str
    begins_with: str

    @cached_property
    def _seal(self) -> str:
        return f"""
WITH head AS (SELECT height, hash, to_xid FROM {self.blocks} ORDER BY height DESC LIMIT 1),
ended AS NOT MATERIALIZED (
    SELECT xid, leaf FROM ({self.rows}) AS sealed_rows
    WHERE xid >= (SELECT to_xid FROM head) AND xid < pg_snapshot_xmin(pg_current_snapshot())
),
cut AS (
    SELECT COALESCE(
        (SELECT min(xid) FROM ended WHERE xid > (SELECT xid FROM ended ORDER BY xid OFFSET $1::bigint LIMIT 1)),
        pg_snapshot_xmin(pg_current_snapshot())
    ) AS to_xid
),
body AS (
    SELECT count(*) AS row_count, sha256(string_agg(leaf, ''::bytea ORDER BY leaf)) AS rows_hash
    FROM ended WHERE xid < (SELECT to_xid FROM cut)
)
INSERT INTO {self.blocks} (height, from_xid, to_xid, row_count, rows_hash, previous_hash, hash, sealed_at)
SELECT head.height + 1, head.to_xid, cut.to_xid, body.row_count, body.rows_hash, head.hash,
       sha256(head.hash || int8send(head.height + 1) || int8send(body.row_count) || body.rows_hash), clock_timestamp()
FROM head, cut, body WHERE body.row_count > 0
ON CONFLICT (height) DO NOTHING
RETURNING height, hash, row_count
"""  # noqa: S608

    def problems(self, first: int = 0, last: int = ALL_BLOCKS) -> str:
        """Return a query for what is wrong with the blocks of these heights, in words; no row means nothing.

        One sort puts every row into its block: the block is the last one that begins at or before its transaction.
        """
        return f"""
    WITH known AS (
        SELECT height, from_xid, to_xid, row_count, rows_hash, previous_hash, hash,
               lag(height) OVER by_height AS height_before, lag(hash) OVER by_height AS hash_before,
               lag(to_xid) OVER by_height AS xid_before
        FROM {self.blocks} WHERE height BETWEEN {first - 1} AND {last} WINDOW by_height AS (ORDER BY height)
    ), chain AS (
        SELECT * FROM known WHERE height >= {first}
    ), marks AS (
        SELECT from_xid AS xid, height, NULL::bytea AS leaf FROM chain WHERE height > 0
        UNION ALL
        SELECT xid, NULL, leaf FROM ({self.rows}) AS sealed_rows
        WHERE xid >= (SELECT min(from_xid) FROM chain) AND xid < (SELECT max(to_xid) FROM chain)
    ), placed AS (
        SELECT leaf, max(height) OVER (ORDER BY xid) AS height FROM marks
    ), found AS (
        SELECT height, count(leaf) AS row_count,
               COALESCE(sha256(string_agg(leaf, ''::bytea ORDER BY leaf)), sha256('')) AS rows_hash
        FROM placed GROUP BY height
    )
    SELECT format('block %s: the sealed chain is broken', c.height) AS problem
    FROM chain c LEFT JOIN found f USING (height)
    WHERE CASE WHEN c.height_before IS NULL THEN c.height <> 0 OR c.hash <> sha256('{self.begins_with}')
          ELSE c.height <> c.height_before + 1 OR c.previous_hash <> c.hash_before OR c.from_xid <> c.xid_before
            OR f.row_count <> c.row_count OR f.rows_hash <> c.rows_hash
            OR c.hash <> sha256(c.previous_hash || int8send(c.height) || int8send(c.row_count) || c.rows_hash)
          END
    """  # noqa: S608

    def ends(self) -> tuple[str, ...]:
        """Return the queries for what is wrong with the beginning and the end of the chain, in words."""
        return (
            f"SELECT '{NO_BEGINNING}' AS problem"  # noqa: S608
            f" WHERE NOT EXISTS (SELECT FROM {self.blocks} WHERE height = 0)",
            # Blocks are cut by transaction numbers, which a physical copy keeps and a dump loaded elsewhere does not.
            f"SELECT '{FROM_BEFORE}' AS problem"  # noqa: S608
            f" WHERE pg_snapshot_xmin(pg_current_snapshot()) < (SELECT max(to_xid) FROM {self.blocks})",
        )


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block that was just sealed, and how many rows it holds."""

    head: Head
    rows: int


async def seal(tx: asyncpg.Connection, chain: Chain, *, max_rows: int = MAX_BLOCK_ROWS) -> Sealed | None:
    """Seal what can no longer change into one block; None where there is nothing, or where another was quicker."""
    row = await tx.fetchrow(chain._seal, max_rows)
    return None if row is None else Sealed(Head(row["height"], row["hash"]), row["row_count"])
