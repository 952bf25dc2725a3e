"""Balances as what the ledger amounts to: the four sums of every account, and how many events a wallet has."""

from __future__ import annotations

import asyncpg

from mesh.projections import STATEMENT_SECONDS, Progress, Projection, Table
from svc_payment.ledger.sums import FOR_EVER, sums_as_of

_DRAFT = (
    "TRUNCATE draft_balances",
    f"""
    INSERT INTO draft_balances (account_id, currency, house, may_owe, posted_debits, posted_credits, pending_debits,
                                pending_credits, events)
    WITH {sums_as_of(FOR_EVER)}
    SELECT a.account_id, a.currency, a.owner_kind = 'house',
           EXISTS (SELECT FROM transfers t WHERE t.debit_account = a.account_id AND t.kind = 'payout'),
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
