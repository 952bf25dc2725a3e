"""The only writer of accounts, balances, transfers, resolutions and blocks.

Balances are locked in one order everywhere: wallets and sellers' accounts by account id, then accounts of the house by
account id, which every transaction wants and therefore takes last.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh.writes import Write, write
from svc_payment.ledger.rules import Account, OwnerKind, Resolution, Transfer, deltas

_OPEN_ACCOUNTS = """
INSERT INTO accounts (account_id, owner_kind, user_id, seller_id, code, currency, created_at)
SELECT account_id, owner_kind, user_id, seller_id, code, currency, $7
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[])
     AS a (account_id, owner_kind, user_id, seller_id, code, currency)
ORDER BY account_id
ON CONFLICT DO NOTHING
"""
_OPEN_BALANCES = """
INSERT INTO balances (account_id, currency, house)
SELECT account_id, currency, house FROM unnest($1::uuid[], $2::text[], $3::boolean[]) AS b (account_id, currency, house)
ORDER BY account_id
ON CONFLICT DO NOTHING
"""
_LOCK_BALANCES = """
SELECT account_id, posted_debits, posted_credits, pending_debits, pending_credits, events
FROM balances WHERE account_id = ANY($1::uuid[]) ORDER BY house, account_id FOR UPDATE
"""
_READ_BALANCES = """
SELECT account_id, posted_debits, posted_credits, pending_debits, pending_credits, events
FROM balances WHERE account_id = ANY($1::uuid[])
"""
_CHANGE_BALANCES = """
WITH locked AS MATERIALIZED (
    SELECT account_id FROM balances WHERE account_id = ANY($1::uuid[]) ORDER BY house, account_id FOR UPDATE
)
UPDATE balances b
SET posted_debits = b.posted_debits + d.posted_debits, posted_credits = b.posted_credits + d.posted_credits,
    pending_debits = b.pending_debits + d.pending_debits, pending_credits = b.pending_credits + d.pending_credits,
    events = b.events + d.events
FROM locked, unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS d (account_id, posted_debits, posted_credits, pending_debits, pending_credits, events)
WHERE b.account_id = locked.account_id AND b.account_id = d.account_id
RETURNING b.account_id, b.posted_debits, b.posted_credits, b.pending_debits, b.pending_credits, b.events
"""
_INSERT_TRANSFERS = """
INSERT INTO transfers (transfer_id, group_id, kind, pending, debit_account, credit_account, amount_minor, currency,
                       order_id, recorded_at)
SELECT t.*, $10
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[],
            $9::uuid[]) AS t
WHERE (SELECT count(*) FROM moved) > 0
"""
_INSERT_RESOLUTIONS = """
INSERT INTO resolutions (transfer_id, outcome, recorded_at)
SELECT r.*, $3 FROM unnest($1::uuid[], $2::text[]) AS r
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """The four sums of an account, and how many events its wallet has."""

    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0
    events: int = 0

    @property
    def available_minor(self) -> int:
        """What a wallet can spend: posted minus pending."""
        return self.posted_credits - self.posted_debits - self.pending_debits


async def open_accounts(tx: asyncpg.Connection, accounts: Collection[Account], *, at: datetime) -> None:
    """Make the accounts that are not there yet, with balances of zero."""
    wanted = sorted(set(accounts), key=lambda each: each.account_id)
    if not wanted:
        return
    ids, currencies = [a.account_id for a in wanted], [a.currency for a in wanted]
    await tx.execute(
        _OPEN_ACCOUNTS,
        ids,
        [a.owner_kind.value for a in wanted],
        [a.user_id for a in wanted],
        [a.seller_id for a in wanted],
        [a.code for a in wanted],
        currencies,
        at,
    )
    await tx.execute(_OPEN_BALANCES, ids, currencies, [a.owner_kind is OwnerKind.HOUSE for a in wanted])


async def lock_balances(tx: asyncpg.Connection, accounts: Iterable[Account]) -> dict[Account, Balance]:
    """Lock these balances in key order and return them; an account that was never opened has none."""
    return await _balances(tx, _LOCK_BALANCES, accounts)


async def read_balances(connection: asyncpg.Connection, accounts: Iterable[Account]) -> dict[Account, Balance]:
    """Return these balances as they are now; an account that was never opened has none."""
    return await _balances(connection, _READ_BALANCES, accounts)


async def let_owe(tx: asyncpg.Connection, account: Account) -> None:
    """Let a seller's account stand below zero from now on.

    What was paid out may go back to a customer later; the seller owes it then, and the next release settles it.
    """
    await tx.execute("UPDATE balances SET may_owe = true WHERE account_id = $1 AND NOT may_owe", account.account_id)


async def post(
    tx: asyncpg.Connection,
    transfers: Sequence[Transfer],
    resolutions: Sequence[Resolution] = (),
    *,
    at: datetime,
    wallet_events: Mapping[Account, int] | None = None,
    also: Sequence[Write | None] = (),
) -> dict[Account, Balance]:
    """Write transfers and resolutions and move the balances, all in the caller's transaction.

    A transfer gets its `seq` after its balances were locked, so the entries of an account are committed in that order.
    `wallet_events` adds to the event counters of wallets; `also` is what the caller has to write beside it, elsewhere.
    Returns the balances after it, of every account touched.

    Raises:
        asyncpg.CheckViolationError: A wallet or a seller's account would go below zero; the caller decided wrongly.
        LookupError: An account was never opened.
    """
    changed = deltas(transfers, resolutions)
    if not changed:
        await write(tx, *also)
        return {}
    by_id = {account.account_id: account for account in changed}
    counted = wallet_events or {}
    moving = Write(
        _CHANGE_BALANCES,
        (
            list(by_id),
            [d.posted_debits for d in changed.values()],
            [d.posted_credits for d in changed.values()],
            [d.pending_debits for d in changed.values()],
            [d.pending_credits for d in changed.values()],
            [counted.get(account, 0) for account in changed],
        ),
        name="moved",
    )
    rows = await write(
        tx,
        *also,
        moving,
        _transferring(transfers, at=at),
        _resolving(resolutions, at=at),
        returning="SELECT * FROM moved",
    )
    if len(rows) != len(by_id):
        raise LookupError("a transfer names an account that was never opened")
    return {by_id[row["account_id"]]: _balance(row) for row in rows}


def _transferring(transfers: Sequence[Transfer], *, at: datetime) -> Write | None:
    if not transfers:
        return None
    return Write(
        _INSERT_TRANSFERS,
        (
            [t.transfer_id for t in transfers],
            [t.group_id for t in transfers],
            [t.kind.value for t in transfers],
            [t.pending for t in transfers],
            [t.debit.account_id for t in transfers],
            [t.credit.account_id for t in transfers],
            [t.amount_minor for t in transfers],
            [t.currency for t in transfers],
            [t.order_id for t in transfers],
            at,
        ),
    )


def _resolving(resolutions: Sequence[Resolution], *, at: datetime) -> Write | None:
    if not resolutions:
        return None
    return Write(
        _INSERT_RESOLUTIONS,
        ([r.transfer.transfer_id for r in resolutions], [r.outcome.value for r in resolutions], at),
    )


async def _balances(
    connection: asyncpg.Connection, statement: str, accounts: Iterable[Account]
) -> dict[Account, Balance]:
    by_id: dict[uuid.UUID, Account] = {account.account_id: account for account in accounts}
    if not by_id:
        return {}
    rows = await connection.fetch(statement, list(by_id))
    return {by_id[row["account_id"]]: _balance(row) for row in rows}


def _balance(row: asyncpg.Record) -> Balance:
    return Balance(
        row["posted_debits"], row["posted_credits"], row["pending_debits"], row["pending_credits"], row["events"]
    )
