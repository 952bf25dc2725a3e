"""The only writer of payouts and their lines. Order of locks: a payout, then balances.

Whoever books on a seller's account holds its balance until the commit, so under that lock the account's entries are all
there, and a twin of a payout finds the first one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh import audit
from mesh.seams import failpoint
from svc_payment.errors import AccountNotFound, PayoutNotFound
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.payout import rules
from svc_payment.payout.rules import Entries, Payout, PayoutStatus, Wanted

_COLUMNS = (
    "payout_id, seller_id, currency, period, amount_minor, line_count, status, bank_reference, created_at, settled_at"
)
_OPEN = """
SELECT t.transfer_id, CASE WHEN t.credit_account = $1 THEN t.amount_minor ELSE -t.amount_minor END AS amount_minor
FROM transfers t
WHERE (t.credit_account = $1 OR t.debit_account = $1) AND t.kind <> 'payout'
  AND NOT EXISTS (SELECT FROM payout_lines l WHERE l.transfer_id = t.transfer_id AND l.live)
"""
_SUM_OPEN = f"SELECT count(*), COALESCE(sum(amount_minor), 0)::bigint FROM ({_OPEN}) AS open"
_SAVE_LINES = f"""
INSERT INTO payout_lines (payout_id, transfer_id, amount_minor)
SELECT $2, transfer_id, amount_minor FROM ({_OPEN}) AS open
"""
_LINES = """
SELECT t.seq, t.transfer_id, t.kind, t.order_id, l.amount_minor, t.recorded_at
FROM payout_lines l JOIN transfers t USING (transfer_id) WHERE l.payout_id = $1 AND t.seq > $2 ORDER BY t.seq LIMIT $3
"""
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
    entries = Entries(*await tx.fetchrow(_SUM_OPEN, account.account_id))
    available_minor = balance.posted_credits - balance.posted_debits - balance.pending_debits
    made = rules.draw(payout_id, wanted, entries, available_minor, at=at)
    await tx.execute(
        f"INSERT INTO payouts ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        made.payout_id,
        made.seller_id,
        made.currency,
        made.period,
        made.amount_minor,
        made.line_count,
        made.status.value,
        made.bank_reference,
        made.created_at,
        made.settled_at,
    )
    await tx.execute(_SAVE_LINES, account.account_id, made.payout_id)
    await audit.accept(tx, resource(made.payout_id))
    await ledger.let_owe(tx, account)
    await ledger.post(tx, [made.transfer], at=at)
    await failpoint("payment.payout.before_commit")
    return made


async def settle(
    tx: asyncpg.Connection, payout_id: uuid.UUID, status: PayoutStatus, bank_reference: str, *, at: datetime
) -> Payout:
    """Book what became of a payout; the lines of one that failed are for the next one.

    Raises:
        PayoutNotFound: There is none.
        PayoutSettled: It ended the other way.
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
        await tx.execute("UPDATE payout_lines SET live = false WHERE payout_id = $1", payout_id)
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


async def list_pending(
    connection: asyncpg.Connection, period: str, *, after: uuid.UUID | None, limit: int
) -> list[Payout]:
    """Return at most `limit` payouts of a period that no bank has sent, made after one, the oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM payouts WHERE status = 'PENDING' AND period = $1"
        " AND ($2::uuid IS NULL OR payout_id > $2) ORDER BY payout_id LIMIT $3",
        period,
        after,
        limit,
    )
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
