"""Reads the ledger as it stood at any time: the trial balance, accounts, and the entries of one. Writes nothing."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh.database import Database
from svc_payment.errors import AccountNotFound
from svc_payment.ledger.store import Balance
from svc_payment.ledger.sums import sums_as_of

TIMEOUT_MS = 18_000
CLIENT_TIMEOUT_SECONDS = TIMEOUT_MS / 1000 + 1
"""Above the server's, which says why it ended a statement."""

_SUMS = """
       COALESCE(s.posted_debits, 0)::bigint, COALESCE(s.posted_credits, 0)::bigint,
       COALESCE(s.pending_debits, 0)::bigint, COALESCE(s.pending_credits, 0)::bigint
"""
_LINES = f"""
WITH {sums_as_of("$1")}
SELECT a.code, a.currency, count(*), sum(s.posted_debits)::bigint, sum(s.posted_credits)::bigint,
       sum(s.pending_debits)::bigint, sum(s.pending_credits)::bigint
FROM accounts a JOIN sums s USING (account_id) GROUP BY a.code, a.currency ORDER BY a.code, a.currency
"""
_ACCOUNTS = f"""
WITH {sums_as_of("$1")}
SELECT a.account_id, a.code, a.currency, a.user_id, a.seller_id, a.created_at, {_SUMS}
FROM accounts a LEFT JOIN sums s USING (account_id)
WHERE a.created_at <= $1 AND ($2 = '' OR a.code = $2) AND ($3::text IS NULL OR (a.code, a.account_id) > ($3, $4::uuid))
ORDER BY a.code, a.account_id LIMIT $5
"""
_ACCOUNT = f"""
WITH {sums_as_of("$1")}
SELECT a.account_id, a.code, a.currency, a.user_id, a.seller_id, a.created_at, {_SUMS}
FROM accounts a LEFT JOIN sums s USING (account_id) WHERE a.account_id = $2 AND a.created_at <= $1
"""
_LEGS = """
WITH legs AS (
    SELECT transfer_id, seq, group_id, kind, order_id, credit_account AS counter_id, -amount_minor AS amount_minor,
           pending, recorded_at
    FROM transfers WHERE debit_account = $1
    UNION ALL
    SELECT transfer_id, seq, group_id, kind, order_id, debit_account, amount_minor, pending, recorded_at
    FROM transfers WHERE credit_account = $1
), posted AS (
    SELECT l.*, COALESCE(r.recorded_at, l.recorded_at) AS posted_at
    FROM legs l LEFT JOIN resolutions r USING (transfer_id) WHERE NOT l.pending OR r.outcome = 'posted'
)
"""
_OPENING = f"{_LEGS} SELECT COALESCE(sum(amount_minor), 0)::bigint FROM posted WHERE posted_at < $2"
_ENTRIES = f"""
{_LEGS}, so_far AS (
    SELECT posted.*, sum(amount_minor) OVER (ORDER BY posted_at, seq)::bigint AS balance_minor
    FROM posted WHERE posted_at <= $3
)
SELECT transfer_id, seq, group_id, kind, order_id, counter_id, amount_minor, balance_minor, posted_at FROM so_far
WHERE posted_at >= $2 AND ($4::timestamptz IS NULL OR (posted_at, seq) > ($4, $5::bigint))
ORDER BY posted_at, seq LIMIT $6
"""


@dataclass(frozen=True, slots=True)
class Line:
    """All accounts of one code and currency, summed."""

    code: str
    currency: str
    accounts: int
    sums: Balance


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stood."""

    account_id: uuid.UUID
    code: str
    currency: str
    user_id: uuid.UUID | None
    seller_id: str | None
    opened_at: datetime
    sums: Balance


@dataclass(frozen=True, slots=True)
class Entry:
    """A posted movement on one side of an account, and what the account stood at after it: credits less debits."""

    transfer_id: uuid.UUID
    seq: int
    group_id: uuid.UUID
    kind: str
    order_id: uuid.UUID | None
    counter_id: uuid.UUID
    amount_minor: int
    balance_minor: int
    posted_at: datetime


async def trial_balance(db: Database, *, as_of: datetime) -> list[Line]:
    """Return a line per code and currency, in their order; the database was asked about nothing but the transfers."""
    async with _patient(db) as tx:
        rows = await tx.fetch(_LINES, as_of, timeout=CLIENT_TIMEOUT_SECONDS)
    return [Line(code, currency, accounts, Balance(*sums)) for code, currency, accounts, *sums in rows]


def balances(lines: Sequence[Line]) -> bool:
    """Return whether debits and credits are the same in every currency, posted and pending."""
    posted: dict[str, int] = {}
    pending: dict[str, int] = {}
    for line in lines:
        sums = line.sums
        posted[line.currency] = posted.get(line.currency, 0) + sums.posted_credits - sums.posted_debits
        pending[line.currency] = pending.get(line.currency, 0) + sums.pending_credits - sums.pending_debits
    return not any(posted.values()) and not any(pending.values())


async def list_accounts(
    db: Database, *, as_of: datetime, code: str, after: tuple[str, uuid.UUID] | None, limit: int
) -> list[Account]:
    """Return at most `limit` accounts as they stood, by code and id, behind the position `after`."""
    async with _patient(db) as tx:
        rows = await tx.fetch(_ACCOUNTS, as_of, code, *(after or (None, None)), limit, timeout=CLIENT_TIMEOUT_SECONDS)
    return [_account(row) for row in rows]


async def statement(
    db: Database,
    account_id: uuid.UUID,
    *,
    begins_at: datetime,
    as_of: datetime,
    after: tuple[datetime, int] | None,
    limit: int,
) -> tuple[Account, int, list[Entry]]:
    """Return an account as it stood, what it stood at before a time, and at most `limit` entries behind a position.

    Raises:
        AccountNotFound: There was none.
    """
    async with _patient(db) as tx:
        row = await tx.fetchrow(_ACCOUNT, as_of, account_id, timeout=CLIENT_TIMEOUT_SECONDS)
        if row is None:
            raise AccountNotFound("no such account")
        opening = await tx.fetchval(_OPENING, account_id, begins_at, timeout=CLIENT_TIMEOUT_SECONDS)
        position = after or (None, None)
        rows = await tx.fetch(_ENTRIES, account_id, begins_at, as_of, *position, limit, timeout=CLIENT_TIMEOUT_SECONDS)
    return _account(row), opening, [Entry(*each) for each in rows]


@asynccontextmanager
async def _patient(db: Database) -> AsyncIterator[asyncpg.Connection]:
    """Open a reading transaction of one moment, whose statements may take longer than a request's usually do."""
    async with db.hot() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await tx.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
        yield tx


def _account(row: asyncpg.Record) -> Account:
    account_id, code, currency, user_id, seller_id, opened_at, *sums = row
    return Account(account_id, code, currency, user_id, seller_id, opened_at, Balance(*sums))
