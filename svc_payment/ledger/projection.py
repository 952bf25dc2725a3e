"""Balances as what the ledger amounts to: the four sums of every account, and how many events a wallet has."""

from __future__ import annotations

import asyncpg

from mesh.projections import STATEMENT_SECONDS, Progress, Projection, Table

# Money that reaches a wallet from outside is an event of the wallet; what orders move is told by their payments.
_DRAFT = (
    "TRUNCATE draft_balances",
    """
    INSERT INTO draft_balances (account_id, currency, house, posted_debits, posted_credits, pending_debits,
                                pending_credits, events)
    WITH movements AS (
        SELECT t.debit_account, t.credit_account, t.amount_minor, t.kind,
               CASE WHEN t.pending THEN COALESCE(r.outcome, 'pending') ELSE 'posted' END AS state
        FROM transfers t LEFT JOIN resolutions r USING (transfer_id)
    ), legs AS (
        SELECT debit_account AS account_id, state, amount_minor AS debit, 0 AS credit, 0 AS event FROM movements
        UNION ALL
        SELECT credit_account, state, 0, amount_minor, (kind IN ('top_up', 'credit'))::int FROM movements
    ), sums AS (
        SELECT account_id, sum(event) AS events,
               sum(debit) FILTER (WHERE state = 'posted') AS posted_debits,
               sum(credit) FILTER (WHERE state = 'posted') AS posted_credits,
               sum(debit) FILTER (WHERE state = 'pending') AS pending_debits,
               sum(credit) FILTER (WHERE state = 'pending') AS pending_credits
        FROM legs GROUP BY account_id
    )
    SELECT a.account_id, a.currency, a.owner_kind = 'house',
           COALESCE(s.posted_debits, 0), COALESCE(s.posted_credits, 0),
           COALESCE(s.pending_debits, 0), COALESCE(s.pending_credits, 0), COALESCE(s.events, 0)
    FROM accounts a LEFT JOIN sums s USING (account_id)
    """,
)


async def draft(connection: asyncpg.Connection, progress: Progress) -> None:
    """Add up every transfer, by how it ended."""
    for statement in _DRAFT:
        await connection.execute(statement, timeout=STATEMENT_SECONDS)
    progress(1, 1)


BALANCES = Projection(
    name="wallets",
    journal="SELECT (SELECT count(*) FROM transfers) + (SELECT count(*) FROM resolutions)",
    tables=(Table("balances", ("account_id",)),),
    draft=draft,
)
