"""`python -m tests.faults.watch ENDPOINTS FILE`: look at ledger and stock every second, all the while.

What it looks for must be true in every committed state, not only at rest. A database that is away is asked again a
second later; each look is one snapshot through the role that can only read. A look that adds up everything there is
takes longer the more there is: it comes every second until it would cost more than its share of the time, and then
less often. What balances and shelves say by themselves is looked at every second, however long the run.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
DEEP_ANSWER_SECONDS = 20.0
DEEP_SHARE = 0.04
"""Of the time, for each look that adds up everything."""

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a database that dies under a statement looks like: at times the driver stumbles over its own state."""

UNANSWERED = (
    *(OSError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError),
    *(asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError),
)
"""What to look again after. A look that is refused for what it asks would be so for ever: it ends the watching."""

# Each statement answers a row for everything that it looked at: the words for what is wrong with it.
LOOKS: Mapping[str, str] = {
    "svc_payment": """
        SELECT CASE WHEN drift <> 0 THEN format('%s: %s out of nowhere', currency, drift) ELSE '' END AS wrong
        FROM (SELECT currency, sum(posted_credits - posted_debits + pending_credits - pending_debits) AS drift
              FROM balances GROUP BY currency) AS totals
        UNION ALL
        SELECT CASE WHEN posted_credits - posted_debits - pending_debits < 0
               THEN format('wallet %s is below zero', account_id) ELSE '' END
        FROM balances JOIN accounts USING (account_id) WHERE user_id IS NOT NULL
    """,
    "svc_inventory": """
        SELECT CASE WHEN reserved NOT BETWEEN 0 AND on_hand
               THEN format('%s: %s on hand, %s reserved', sku, on_hand, reserved) ELSE '' END AS wrong
        FROM stock
    """,
}
DEEP_LOOKS: Mapping[str, str] = {
    "svc_payment": """
        WITH legs AS (
            SELECT debit_account AS account_id, -amount_minor AS posted, 0 AS pending FROM transfers WHERE NOT pending
            UNION ALL SELECT credit_account, amount_minor, 0 FROM transfers WHERE NOT pending
            UNION ALL
            SELECT debit_account, CASE WHEN outcome = 'posted' THEN -amount_minor ELSE 0 END,
                   CASE WHEN outcome IS NULL THEN -amount_minor ELSE 0 END
            FROM transfers t LEFT JOIN resolutions r USING (transfer_id) WHERE t.pending
            UNION ALL
            SELECT credit_account, CASE WHEN outcome = 'posted' THEN amount_minor ELSE 0 END,
                   CASE WHEN outcome IS NULL THEN amount_minor ELSE 0 END
            FROM transfers t LEFT JOIN resolutions r USING (transfer_id) WHERE t.pending
        ), sums AS (
            SELECT account_id, sum(posted) AS posted, sum(pending) AS pending FROM legs GROUP BY account_id
        )
        SELECT account_id IS NOT NULL AS looked, concat_ws('; ',
            CASE WHEN (posted_credits - posted_debits, pending_credits - pending_debits)
                      IS DISTINCT FROM (COALESCE(posted, 0), COALESCE(pending, 0))
                 THEN format('account %s is not the sum of its transfers', account_id) END,
            CASE WHEN NOT house AND posted_credits - posted_debits - pending_debits < 0
                 THEN format('wallet %s is below zero', account_id) END) AS wrong
        FROM balances FULL JOIN sums USING (account_id)
        UNION ALL
        SELECT true, CASE WHEN drift <> 0 THEN format('%s: %s out of nowhere', currency, drift) ELSE '' END
        FROM (SELECT currency, sum(posted_credits - posted_debits + pending_credits - pending_debits) AS drift
              FROM balances GROUP BY currency) AS totals
    """,
    "svc_inventory": """
        WITH live AS (
            SELECT sku, warehouse_id, sum(quantity) AS units FROM reservation_lines JOIN reservations USING (order_id)
            WHERE state = 1 GROUP BY sku, warehouse_id
        ), moved AS (
            SELECT sku, warehouse_id, sum(on_hand_delta) AS on_hand, sum(reserved_delta) AS reserved
            FROM stock_movements GROUP BY sku, warehouse_id
        )
        SELECT true AS looked, CASE
            WHEN s.on_hand IS DISTINCT FROM m.on_hand OR s.reserved IS DISTINCT FROM m.reserved
                 OR s.reserved IS DISTINCT FROM COALESCE(l.units, 0) OR s.reserved NOT BETWEEN 0 AND s.on_hand
            THEN format('%s: %s on hand, %s reserved; journal %s and %s; live %s',
                        sku, s.on_hand, s.reserved, m.on_hand, m.reserved, l.units) ELSE '' END AS wrong
        FROM stock s FULL JOIN moved m USING (sku, warehouse_id) LEFT JOIN live l USING (sku, warehouse_id)
    """,
}


async def look(
    name: str, url: str, statement: str, seconds: float = ANSWER_SECONDS, *, deep: bool = False
) -> dict[str, object] | None:
    """Return one sample of a database, or None when it does not answer within so many seconds."""
    at = time.monotonic()
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS, command_timeout=seconds)
        try:
            rows = await connection.fetch(statement)
        finally:
            connection.terminate()
    except UNANSWERED:
        return None
    wrong = [row["wrong"] for row in rows if row["wrong"]]
    return {"name": name, "at": round(at, 3), "deep": deep, "checked": len(rows), "wrong": wrong}


async def watch(urls: Mapping[str, str], file: Path) -> None:
    """Look until told to stop."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    with file.open("w", buffering=1) as lines:

        async def go_on(name: str, statement: str, *, deep: bool) -> None:
            while not over.is_set():
                began = time.monotonic()
                seconds = DEEP_ANSWER_SECONDS if deep else ANSWER_SECONDS
                sample = await look(name, urls[name], statement, seconds, deep=deep)
                if sample is not None:
                    lines.write(json.dumps(sample) + "\n")
                took = time.monotonic() - began
                try:
                    await asyncio.wait_for(over.wait(), max(LOOK_SECONDS - took, took / DEEP_SHARE if deep else 0.0))
                except TimeoutError:
                    pass

        quick = (go_on(name, statement, deep=False) for name, statement in LOOKS.items())
        deep = (go_on(name, statement, deep=True) for name, statement in DEEP_LOOKS.items())
        await asyncio.gather(*quick, *deep)


if __name__ == "__main__":
    endpoints = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(watch(endpoints["postgres_reader"], Path(sys.argv[2])))
