"""The sealed chain of the ledger's rows: what a row is to it, and the work that seals.

How blocks are cut and chained is `mesh.sealing`'s. The tail that is not sealed yet is about a second long, longer only
while an old transaction lives.
"""

from __future__ import annotations

import asyncio

from mesh import sealing
from mesh.database import Database
from mesh.seams import failpoint

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
CHAIN = sealing.Chain(rows=ROWS, blocks="blocks", begins_with="titan ledger")


async def seal(db: Database) -> int:
    """Seal what can no longer change into one block; returns how many rows it holds, 0 where there was nothing."""
    async with db.hot() as tx:
        sealed = await sealing.seal(tx, CHAIN)
        await failpoint("payment.seal.before_commit")
    return sealed.rows if sealed else 0


async def run(db: Database) -> None:
    """Seal, for ever. One process of the package does it at a time; two would only try the same block twice."""
    while True:
        while await seal(db) >= sealing.MAX_BLOCK_ROWS:
            pass
        await asyncio.sleep(SEAL_SECONDS)
