"""The only writer of payouts, their batches and their spans. Order of locks: a batch, payouts, then balances.

Whoever books on a seller's account holds its balance from before the entry has its number until the commit
(`ledger.store.post`), so under that lock all entries up to the last number are there, no later one comes below it, and
a twin of a payout finds the first one. So a payout names its lines by where they begin and end in the account, and
takes no longer for a seller of many sales.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh import audit
from mesh.refusals import IdempotencyKeyReused
from mesh.seams import failpoint
from svc_payment.errors import AccountNotFound, NoPayoutPending, PayoutBatchNotFound, PayoutNotFound
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.payout import rules
from svc_payment.payout.rules import Batch, Payout, PayoutStatus, Wanted

MAX_BATCH_PAYOUTS = 5_000
"""What a bank's portal takes in one file without trouble, and one transaction locks in well under a second."""

_COLUMNS = (
    "payout_id, seller_id, currency, period, amount_minor, status, bank_reference, batch_id, created_at, settled_at"
)
# All entries since the last payout, and what payouts that failed have left.
_SAVE_SPANS = """
INSERT INTO payout_spans (payout_id, account_id, after_seq, last_seq)
SELECT DISTINCT $2::uuid, account_id, after_seq, last_seq FROM payout_spans failed
WHERE account_id = $1 AND NOT live
  AND NOT EXISTS (SELECT FROM payout_spans again
                  WHERE again.account_id = $1 AND again.last_seq = failed.last_seq AND again.live)
UNION ALL
SELECT $2, $1, before.seq, latest.seq
FROM (SELECT COALESCE(max(last_seq), 0) AS seq FROM payout_spans WHERE account_id = $1) AS before,
     (SELECT greatest((SELECT max(seq) FROM transfers WHERE credit_account = $1),
                      (SELECT max(seq) FROM transfers WHERE debit_account = $1)) AS seq) AS latest
WHERE latest.seq > before.seq
"""
_SEND = """
WITH due AS MATERIALIZED (
    SELECT payout_id FROM payouts WHERE status = 'PENDING' AND period = $2 ORDER BY payout_id LIMIT $3 FOR UPDATE
)
UPDATE payouts p SET status = 'SENT', batch_id = $1 FROM due WHERE p.payout_id = due.payout_id RETURNING p.payout_id
"""
_BATCH = """
SELECT b.batch_id, b.period, (SELECT count(*) FROM payouts p WHERE p.batch_id = b.batch_id) AS payouts, b.created_at
FROM payout_batches b WHERE
"""
_LINES_BY = """
SELECT l.* FROM payout_spans s CROSS JOIN LATERAL (
    SELECT seq, transfer_id, kind, order_id, {sign}amount_minor AS amount_minor, recorded_at FROM transfers
    WHERE {side}_account = s.account_id AND seq > greatest(s.after_seq, $2) AND seq <= s.last_seq AND kind <> 'payout'
    ORDER BY seq LIMIT $3
) AS l WHERE s.payout_id = $1 AND s.last_seq > $2
"""
_LINES = (
    f"{_LINES_BY.format(side='credit', sign='')} UNION ALL {_LINES_BY.format(side='debit', sign='-')}"
    " ORDER BY seq LIMIT $3"
)
_PAYABLE = """
SELECT a.seller_id, a.currency, b.posted_credits - b.posted_debits - b.pending_debits AS available_minor
FROM accounts a JOIN balances b USING (account_id)
WHERE a.code = 'payable' AND a.seller_id IS NOT NULL AND b.posted_credits - b.posted_debits - b.pending_debits > 0
  AND ($1::text IS NULL OR (a.seller_id, a.currency) > ($1, $2))
ORDER BY a.seller_id, a.currency LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a statement, as the ledger has it."""

    seq: int
    transfer_id: uuid.UUID
    kind: str
    order_id: uuid.UUID
    amount_minor: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Payable:
    """What a seller can be paid out in one currency."""

    seller_id: str
    currency: str
    available_minor: int


def resource(payout_id: uuid.UUID) -> str:
    """Return how the audit log names a payout."""
    return f"payouts/{payout_id}"


async def create(tx: asyncpg.Connection, payout_id: uuid.UUID, wanted: Wanted, *, at: datetime) -> Payout:
    """Set aside all that a seller is owed, or return the payout that was made for the period.

    Raises:
        AccountNotFound: Nothing of this seller was ever released in this currency.
        NothingPayable: As `rules.draw` says.
    """
    account = ledger_rules.payable(wanted.seller_id, wanted.currency)
    balance = (await ledger.lock_balances(tx, [account])).get(account)
    if balance is None:
        raise AccountNotFound("nothing was sold of this seller in this currency")
    known = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM payouts WHERE seller_id = $1 AND currency = $2 AND period = $3 AND status <> 'FAILED'",
        wanted.seller_id,
        wanted.currency,
        wanted.period,
    )
    if known is not None:
        return _payout(known)
    made = rules.draw(payout_id, wanted, balance.available_minor, at=at)
    await tx.execute(
        f"INSERT INTO payouts ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        made.payout_id,
        made.seller_id,
        made.currency,
        made.period,
        made.amount_minor,
        made.status.value,
        made.bank_reference,
        made.batch_id,
        made.created_at,
        made.settled_at,
    )
    await tx.execute(_SAVE_SPANS, account.account_id, made.payout_id)
    await audit.accept(tx, resource(made.payout_id))
    await ledger.let_owe(tx, account)
    await ledger.post(tx, [made.transfer], at=at)
    await failpoint("payment.payout.before_commit")
    return made


async def send(tx: asyncpg.Connection, batch_id: uuid.UUID, request_id: str, period: str, *, at: datetime) -> Batch:
    """Put the oldest payouts of a period that no bank was told of into a batch, or return the one of this key.

    Which they are is decided by what they are, never by their place: one that was begun earlier and is stored later
    waits for the next batch.

    Raises:
        NoPayoutPending: There are none; the key stays free.
        IdempotencyKeyReused: The key was used for another period.
    """
    made = await tx.fetchval(
        "INSERT INTO payout_batches (batch_id, request_id, period, created_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (request_id) DO NOTHING RETURNING batch_id",
        batch_id,
        request_id,
        period,
        at,
    )
    if made is None:
        known = Batch(*await tx.fetchrow(f"{_BATCH} b.request_id = $1", request_id))
        if known.period != period:
            raise IdempotencyKeyReused("this idempotency key was used before, with another body")
        return known
    sent = await tx.fetch(_SEND, batch_id, period, MAX_BATCH_PAYOUTS)
    if not sent:
        raise NoPayoutPending("no payout of the period waits for a bank", period=period)
    await audit.accept(tx, f"payoutBatches/{batch_id}", audit.command(request_id))
    await failpoint("payment.payout.before_commit")
    return Batch(batch_id, period, len(sent), at)


async def settle(
    tx: asyncpg.Connection, payout_id: uuid.UUID, status: PayoutStatus, bank_reference: str, *, at: datetime
) -> Payout:
    """Book what became of a payout; the lines of one that failed are for the next one.

    Raises:
        PayoutNotFound: There is none.
        PayoutNotSent, PayoutSettled: As `rules.settle` says.
    """
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM payouts WHERE payout_id = $1 FOR UPDATE", payout_id)
    if row is None:
        raise _no_payout(payout_id)
    before = _payout(row)
    after = rules.settle(before, status, bank_reference, at=at)
    if after is before:
        return before
    await tx.execute(
        "UPDATE payouts SET status = $2, bank_reference = $3, settled_at = $4 WHERE payout_id = $1",
        payout_id,
        after.status.value,
        after.bank_reference,
        after.settled_at,
    )
    if after.status is PayoutStatus.FAILED:
        await tx.execute("UPDATE payout_spans SET live = false WHERE payout_id = $1", payout_id)
    await audit.accept(tx, resource(payout_id))
    await ledger.post(tx, [], [rules.resolution(after)], at=at)
    await failpoint("payment.payout.before_commit")
    return after


async def get(connection: asyncpg.Connection, payout_id: uuid.UUID) -> Payout:
    """Return a payout.

    Raises:
        PayoutNotFound: There is none.
    """
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM payouts WHERE payout_id = $1", payout_id)
    if row is None:
        raise _no_payout(payout_id)
    return _payout(row)


async def list_newest(
    connection: asyncpg.Connection, seller_id: str, *, before: uuid.UUID | None, limit: int
) -> list[Payout]:
    """Return at most `limit` payouts of a seller, made before one, the newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM payouts WHERE seller_id = $1 AND ($2::uuid IS NULL OR payout_id < $2)"
        " ORDER BY payout_id DESC LIMIT $3",
        seller_id,
        before,
        limit,
    )
    return [_payout(row) for row in rows]


async def list_sent(connection: asyncpg.Connection, batch_id: uuid.UUID) -> list[Payout]:
    """Return the payouts of a batch, at most `MAX_BATCH_PAYOUTS`, in the order in which they were made.

    Raises:
        PayoutBatchNotFound: There is none; no batch is empty.
    """
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM payouts WHERE batch_id = $1 ORDER BY payout_id", batch_id)
    if not rows:
        raise PayoutBatchNotFound("no such batch", batch_id=batch_id)
    return [_payout(row) for row in rows]


async def list_entries(connection: asyncpg.Connection, payout_id: uuid.UUID, *, after: int, limit: int) -> list[Entry]:
    """Return at most `limit` lines of a payout's statement behind a `seq`, in the order of the ledger."""
    return [Entry(*row) for row in await connection.fetch(_LINES, payout_id, after, limit)]


async def list_payable(connection: asyncpg.Connection, *, after: tuple[str, str] | None, limit: int) -> list[Payable]:
    """Return at most `limit` sellers who can be paid out, behind a seller and currency, in their order."""
    seller_id, currency = after or (None, None)
    return [Payable(*row) for row in await connection.fetch(_PAYABLE, seller_id, currency, limit)]


def _payout(row: asyncpg.Record) -> Payout:
    return Payout(**{**row, "status": PayoutStatus(row["status"])})


def _no_payout(payout_id: uuid.UUID) -> PayoutNotFound:
    return PayoutNotFound("no such payout", payout_id=payout_id)
