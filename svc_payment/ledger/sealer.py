"""Chains the ledger's rows into hashed blocks, so that a row which is changed, added or removed later shows.

Sequence numbers have gaps and are not taken in the order of commits, so a block is cut by transactions instead: it
holds every row written by the transactions between two horizons. A horizon is the oldest transaction that still runs
anywhere on the server, so all before it have ended and no row can join a sealed block any more. The tail behind the
horizon is not sealed yet: about a second, longer only while an old transaction lives.
"""

from __future__ import annotations

import asyncio

from mesh.database import Database
from mesh.seams import Clock, failpoint

SEAL_SECONDS = 0.5

# One leaf a row: the hash of all its columns, written out with fixed separators.
ROWS = """
    SELECT xid, sha256(convert_to(concat_ws('|', 't', transfer_id, group_id, kind, pending, debit_account,
        credit_account, amount_minor, currency, COALESCE(order_id::text, '-'), extract(epoch FROM recorded_at), xid),
        'UTF8')) AS leaf
    FROM transfers
    UNION ALL
    SELECT xid, sha256(convert_to(concat_ws('|', 'r', transfer_id, outcome, extract(epoch FROM recorded_at), xid),
        'UTF8')) AS leaf
    FROM resolutions
"""
_SEAL = f"""
WITH head AS (SELECT height, hash, to_xid FROM blocks ORDER BY height DESC LIMIT 1),
ledger_rows AS (
    SELECT l.leaf FROM ({ROWS}) AS l
    WHERE l.xid >= (SELECT to_xid FROM head) AND l.xid < pg_snapshot_xmin(pg_current_snapshot())
),
body AS (
    SELECT count(*) AS row_count, sha256(string_agg(leaf, ''::bytea ORDER BY leaf)) AS rows_hash FROM ledger_rows
)
INSERT INTO blocks (height, from_xid, to_xid, row_count, rows_hash, previous_hash, hash, sealed_at)
SELECT head.height + 1, head.to_xid, pg_snapshot_xmin(pg_current_snapshot()), body.row_count, body.rows_hash, head.hash,
       sha256(head.hash || int8send(head.height + 1) || int8send(body.row_count) || body.rows_hash), $1
FROM head, body WHERE body.row_count > 0
ON CONFLICT (height) DO NOTHING
RETURNING row_count
"""  # noqa: S608


async def seal(db: Database, clock: Clock) -> int:
    """Seal what can no longer change into one block; returns how many rows it holds, 0 where there was nothing."""
    async with db.hot() as tx:
        sealed = await tx.fetchval(_SEAL, clock.now())
        await failpoint("payment.seal.before_commit")
    return sealed or 0


async def run(db: Database, clock: Clock) -> None:
    """Seal, for ever. One process of the package does it at a time; two would only try the same block twice."""
    while True:
        await seal(db, clock)
        await asyncio.sleep(SEAL_SECONDS)
