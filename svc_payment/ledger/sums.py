"""The four sums of every account at a time, as SQL: added up from transfers and how they ended, from nothing else."""

from __future__ import annotations

FOR_EVER = "'infinity'::timestamptz"


def sums_as_of(time: str) -> str:
    """Return common table expressions that end in `sums`: account_id, the four sums, and how many events a wallet had.

    `time` is SQL for the time; an account without a transfer by then has no row. Money that reaches a wallet from
    outside is an event of the wallet; what orders move is told by their payments.
    """
    return f"""
    movements AS (
        SELECT t.debit_account, t.credit_account, t.amount_minor, t.kind,
               CASE WHEN NOT t.pending THEN 'posted'
                    WHEN r.recorded_at IS NULL OR r.recorded_at > {time} THEN 'pending' ELSE r.outcome END AS state
        FROM transfers t LEFT JOIN resolutions r USING (transfer_id) WHERE t.recorded_at <= {time}
    ), legs AS (
        SELECT debit_account AS account_id, state, amount_minor AS debit, 0 AS credit, 0 AS event FROM movements
        UNION ALL
        SELECT credit_account, state, 0, amount_minor, (kind IN ('top_up', 'credit'))::int FROM movements
    ), sums AS (
        SELECT account_id, sum(event) AS events,
               COALESCE(sum(debit) FILTER (WHERE state = 'posted'), 0)::bigint AS posted_debits,
               COALESCE(sum(credit) FILTER (WHERE state = 'posted'), 0)::bigint AS posted_credits,
               COALESCE(sum(debit) FILTER (WHERE state = 'pending'), 0)::bigint AS pending_debits,
               COALESCE(sum(credit) FILTER (WHERE state = 'pending'), 0)::bigint AS pending_credits
        FROM legs GROUP BY account_id
    )
    """
