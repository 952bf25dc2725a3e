"""Adds the whole ledger up from scratch, in one snapshot, with set-based SQL; it reads and never writes.

It trusts nothing that the writers promise: constraints and triggers can be switched off by whoever owns the server, so
every rule is checked again on the rows themselves, and the sealed chain on their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from mesh.database import Database
from svc_payment.ledger.sealer import CHAIN

MAX_PROBLEMS = 20
TIMEOUT_MS = 25_000
CLIENT_TIMEOUT_SECONDS = TIMEOUT_MS / 1000 + 2
"""Above the server's, which says why it ended a statement."""

_COUNTS = """
SELECT (SELECT count(*) FROM transfers) AS transfers,
       (SELECT count(*) FROM blocks WHERE height > 0) AS sealed_blocks,
       (SELECT count(*) FROM transfers WHERE xid >= (SELECT max(to_xid) FROM blocks)) AS unsealed_transfers
"""

# Every check answers the words for what is wrong; no row means that nothing is.
CHECKS = (
    # A balance is the sum of its transfers, posted and pending apart.
    """
    WITH movements AS (
        SELECT t.debit_account, t.credit_account, t.amount_minor,
               CASE WHEN NOT t.pending THEN 'posted' ELSE COALESCE(r.outcome, 'pending') END AS state
        FROM transfers t LEFT JOIN resolutions r USING (transfer_id)
    ), legs AS (
        SELECT debit_account AS account_id, state, amount_minor AS debit, 0 AS credit FROM movements
        UNION ALL
        SELECT credit_account, state, 0, amount_minor FROM movements
    ), sums AS (
        SELECT account_id,
               sum(debit) FILTER (WHERE state = 'posted') AS posted_debits,
               sum(credit) FILTER (WHERE state = 'posted') AS posted_credits,
               sum(debit) FILTER (WHERE state = 'pending') AS pending_debits,
               sum(credit) FILTER (WHERE state = 'pending') AS pending_credits
        FROM legs GROUP BY account_id
    )
    SELECT format('account %s: its balance is not the sum of its transfers',
                  COALESCE(b.account_id, s.account_id)) AS problem
    FROM balances b FULL JOIN sums s USING (account_id)
    WHERE (COALESCE(b.posted_debits, 0), COALESCE(b.posted_credits, 0),
           COALESCE(b.pending_debits, 0), COALESCE(b.pending_credits, 0))
       IS DISTINCT FROM (COALESCE(s.posted_debits, 0), COALESCE(s.posted_credits, 0),
                         COALESCE(s.pending_debits, 0), COALESCE(s.pending_credits, 0))
    """,
    """
    SELECT format('currency %s: debits and credits differ', currency) AS problem FROM balances GROUP BY currency
    HAVING sum(posted_debits) <> sum(posted_credits) OR sum(pending_debits) <> sum(pending_credits)
    """,
    """
    SELECT format('account %s is below zero', account_id) AS problem FROM balances
    WHERE NOT (house OR may_owe) AND posted_credits - posted_debits - pending_debits < 0
    """,
    # Only a seller who was paid out may owe something.
    """
    SELECT format('account %s may owe, and was never paid out', account_id) AS problem FROM balances b
    WHERE may_owe IS DISTINCT FROM EXISTS (
        SELECT FROM transfers t WHERE t.debit_account = b.account_id AND t.kind = 'payout')
    """,
    """
    SELECT format('account %s: its balance is kept as somebody else''s', a.account_id) AS problem
    FROM accounts a LEFT JOIN balances b USING (account_id)
    WHERE b.account_id IS NULL OR b.currency <> a.currency OR b.house <> (a.owner_kind = 'house')
    """,
    """
    SELECT format('transfer %s: its accounts, amount or currency do not fit', t.transfer_id) AS problem
    FROM transfers t
    LEFT JOIN accounts d ON d.account_id = t.debit_account
    LEFT JOIN accounts c ON c.account_id = t.credit_account
    WHERE t.amount_minor <= 0 OR t.debit_account = t.credit_account
       OR d.currency IS DISTINCT FROM t.currency OR c.currency IS DISTINCT FROM t.currency
    """,
    """
    SELECT format('resolution %s: it ends no pending transfer', r.transfer_id) AS problem
    FROM resolutions r LEFT JOIN transfers t USING (transfer_id)
    WHERE t.pending IS NOT TRUE OR r.outcome NOT IN ('posted', 'voided')
    """,
    # What the payments say was taken and given back is what the ledger moved for them.
    """
    WITH moved AS (
        SELECT t.order_id,
               sum(CASE WHEN t.kind = 'refund' THEN -t.amount_minor ELSE t.amount_minor END) AS net_minor
        FROM transfers t LEFT JOIN resolutions r USING (transfer_id)
        WHERE t.order_id IS NOT NULL AND t.kind IN ('payment', 'refund') AND (NOT t.pending OR r.outcome = 'posted')
        GROUP BY t.order_id
    )
    SELECT format('order %s: its payment and the ledger differ', COALESCE(p.order_id, m.order_id)) AS problem
    FROM payments p FULL JOIN moved m USING (order_id)
    WHERE COALESCE(p.captured_minor - p.refunded_minor, 0) <> COALESCE(m.net_minor, 0)
    """,
    # Nothing is held in a wallet but for a payment that is authorized, and for that all of it.
    """
    WITH held AS (
        SELECT t.order_id, sum(t.amount_minor) AS amount_minor
        FROM transfers t LEFT JOIN resolutions r USING (transfer_id)
        WHERE t.pending AND r.transfer_id IS NULL AND t.kind <> 'payout' GROUP BY t.order_id
    ), owed AS (
        SELECT order_id, amount_minor FROM payments
        WHERE status = 'AUTHORIZED' AND provider = 'wallet' AND amount_minor > 0
    )
    SELECT format('order %s: what its payment and its wallet hold differs', order_id) AS problem
    FROM held h FULL JOIN owed o USING (order_id) WHERE h.amount_minor IS DISTINCT FROM o.amount_minor
    """,
    # Every refund, top-up and credit that is done moved its amount, and nothing else was moved as one.
    """
    WITH done AS (
        SELECT refund_id AS transfer_id, 'refund' AS kind, amount_minor FROM refunds
        WHERE status = 'DONE' AND amount_minor > 0
        UNION ALL
        SELECT top_up_id, 'top_up', amount_minor FROM top_ups WHERE status = 'CREDITED'
        UNION ALL
        SELECT transfer_id, 'credit', amount_minor FROM wallet_credits
    ), moved AS (
        SELECT transfer_id, kind, amount_minor FROM transfers WHERE kind IN ('refund', 'top_up', 'credit')
    )
    SELECT format('%s %s: what was promised and the ledger differ', COALESCE(d.kind, m.kind), transfer_id) AS problem
    FROM done d FULL JOIN moved m USING (transfer_id)
    WHERE (d.kind, d.amount_minor) IS DISTINCT FROM (m.kind, m.amount_minor)
    """,
    # Every payout is one transfer that ended as it did, and the sum of its lines: entries of its seller's account.
    # What a bank was told of is pending to the ledger.
    """
    WITH moved AS (
        SELECT t.transfer_id, t.amount_minor, t.currency, a.seller_id,
               CASE r.outcome WHEN 'posted' THEN 'PAID' WHEN 'voided' THEN 'FAILED' ELSE 'PENDING' END AS status
        FROM transfers t JOIN accounts a ON a.account_id = t.debit_account LEFT JOIN resolutions r USING (transfer_id)
        WHERE t.kind = 'payout'
    )
    SELECT format('payout %s: it and the ledger differ', COALESCE(p.payout_id, m.transfer_id)) AS problem
    FROM payouts p FULL JOIN moved m ON m.transfer_id = p.payout_id
    WHERE (p.amount_minor, p.currency, p.seller_id, CASE p.status WHEN 'SENT' THEN 'PENDING' ELSE p.status END)
       IS DISTINCT FROM (m.amount_minor, m.currency, m.seller_id, m.status)
    """,
    """
    WITH entries AS (
        SELECT credit_account AS account_id, seq, amount_minor FROM transfers WHERE kind <> 'payout'
        UNION ALL
        SELECT debit_account, seq, -amount_minor FROM transfers WHERE kind <> 'payout'
    ), lines AS (
        SELECT s.payout_id, sum(e.amount_minor) AS amount_minor,
               bool_and(s.live = (p.status <> 'FAILED') AND a.account_id IS NOT NULL) AS fit
        FROM payout_spans s JOIN payouts p USING (payout_id)
        JOIN entries e ON e.account_id = s.account_id AND e.seq > s.after_seq AND e.seq <= s.last_seq
        LEFT JOIN accounts a ON (a.account_id, a.code, a.seller_id, a.currency)
                              = (s.account_id, 'payable', p.seller_id, p.currency)
        GROUP BY s.payout_id
    )
    SELECT format('payout %s: its lines are not its amount', payout_id) AS problem
    FROM payouts p LEFT JOIN lines l USING (payout_id)
    WHERE (l.amount_minor, l.fit) IS DISTINCT FROM (p.amount_minor, true)
    """,
    # What sellers have in escrow and are owed, and what the platform earned of it, is what their shares say, less what
    # was paid out.
    """
    WITH shares AS (
        SELECT seller_id, currency, released_at IS NOT NULL AS released, sold_minor - refunded_minor AS left_minor,
               (sold_minor - refunded_minor) * fee_basis_points / 10000 AS fee_minor
        FROM seller_shares
    ), owed AS (
        SELECT 'escrow' AS code, seller_id, currency, sum(left_minor) AS amount_minor
        FROM shares WHERE NOT released GROUP BY seller_id, currency
        UNION ALL
        SELECT 'payable', seller_id, currency, sum(left_minor - fee_minor)
        FROM shares WHERE released GROUP BY seller_id, currency
        UNION ALL
        SELECT 'payable', seller_id, currency, -sum(amount_minor) FROM payouts WHERE status = 'PAID'
        GROUP BY seller_id, currency
        UNION ALL
        SELECT 'fees', NULL, currency, sum(fee_minor) FROM shares WHERE released GROUP BY currency
    ), wanted AS (
        SELECT code, seller_id, currency, sum(amount_minor) AS amount_minor FROM owed
        GROUP BY code, seller_id, currency
    ), stand AS (
        SELECT a.code, a.seller_id, a.currency, b.posted_credits - b.posted_debits AS amount_minor
        FROM accounts a JOIN balances b USING (account_id) WHERE a.code IN ('escrow', 'payable', 'fees')
    )
    SELECT format('%s of %s: the shares of orders and the ledger differ', COALESCE(o.code, s.code),
                  COALESCE(o.seller_id, s.seller_id, 'the house')) AS problem
    FROM wanted o FULL JOIN stand s
      ON (o.code, COALESCE(o.seller_id, ''), o.currency) = (s.code, COALESCE(s.seller_id, ''), s.currency)
    WHERE COALESCE(o.amount_minor, 0) <> COALESCE(s.amount_minor, 0)
    """,
    CHAIN.problems(),
    *CHAIN.ends(),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What adding up gave; no problem means that the ledger is in balance and its chain whole."""

    transfers: int
    sealed_blocks: int
    unsealed_transfers: int
    problems: list[str]


async def verify(db: Database) -> Findings:
    """Add everything up as it stood at one moment. Lists at most `MAX_PROBLEMS` problems of each kind."""
    async with db.hot() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await tx.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
        counts = await tx.fetchrow(_COUNTS, timeout=CLIENT_TIMEOUT_SECONDS)
        problems = [problem for check in CHECKS for problem in await run_check(tx, check)]
    return Findings(counts["transfers"], counts["sealed_blocks"], counts["unsealed_transfers"], problems)


async def run_check(tx: asyncpg.Connection, check: str) -> list[str]:
    """Return the problems that one check finds, in words, at most `MAX_PROBLEMS`."""
    statement = f"SELECT problem FROM ({check}) AS found ORDER BY problem LIMIT {MAX_PROBLEMS}"  # noqa: S608
    rows = await tx.fetch(statement, timeout=CLIENT_TIMEOUT_SECONDS)
    return [row["problem"] for row in rows]
