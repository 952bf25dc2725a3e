"""The only writer of top-ups and wallet credits, with the ledger movements and events that belong to them.

Order of locks: the top-up or the credits by user id, then balances (see `ledger.store`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from mesh import audit, outbox
from mesh.audit import Command
from mesh.refusals import IdempotencyKeyReused, Refusal
from mesh.seams import Ids, failpoint
from mesh.writes import Write, write
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.ledger.store import Balance
from svc_payment.payment import events
from svc_payment.settlement import store as settlement
from svc_payment.settlement.store import SubjectKind, Work
from svc_payment.wallet import rules
from svc_payment.wallet.rules import Credit, TopUp, TopUpStatus

_COLUMNS = """
    top_up_id, user_id, request_id, fingerprint, provider, amount_minor, currency, status, created_at, decline_code,
    provider_reference, response
"""
_BEGIN = """
INSERT INTO top_ups (top_up_id, user_id, request_id, fingerprint, provider, amount_minor, currency, status, created_at,
                     changed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
ON CONFLICT (user_id, request_id) DO NOTHING
RETURNING top_up_id
"""
_SAVE = """
UPDATE top_ups SET status = $2, decline_code = $3, provider_reference = $4, response = $5, changed_at = $6
WHERE top_up_id = $1
"""
_CLAIM_CREDITS = """
INSERT INTO wallet_credits (user_id, request_id, amount_minor, currency, transfer_id, balance_minor, pending_minor,
                            created_at)
SELECT user_id, $5, amount_minor, currency, transfer_id, 0, 0, $6
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[]) AS c (user_id, amount_minor, currency, transfer_id)
ORDER BY user_id
ON CONFLICT DO NOTHING
RETURNING user_id
"""
_ANSWER_CREDITS = """
UPDATE wallet_credits w SET balance_minor = c.balance_minor, pending_minor = c.pending_minor
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS c (user_id, balance_minor, pending_minor)
WHERE w.user_id = c.user_id AND w.request_id = $4
"""
_TRANSFERS = """
SELECT t.transfer_id, t.seq, t.kind, t.order_id, t.amount_minor, t.currency,
       COALESCE(r.recorded_at, t.recorded_at) AS posted_at
FROM (
    SELECT transfer_id, seq, kind, order_id, -amount_minor AS amount_minor, currency, pending, recorded_at
    FROM transfers WHERE debit_account = $1 AND seq < $2
    UNION ALL
    SELECT transfer_id, seq, kind, order_id, amount_minor, currency, pending, recorded_at
    FROM transfers WHERE credit_account = $1 AND seq < $2
) t LEFT JOIN resolutions r ON r.transfer_id = t.transfer_id
WHERE NOT t.pending OR r.outcome = 'posted'
ORDER BY t.seq DESC LIMIT $3
"""
_LAST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Credited:
    """A wallet as it was after one credit."""

    balance_minor: int
    pending_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Movement:
    """One posted movement of a wallet; the amount is negative where money left."""

    transfer_id: uuid.UUID
    seq: int
    kind: ledger_rules.TransferKind
    order_id: uuid.UUID | None
    amount_minor: int
    currency: str
    posted_at: datetime


async def begin_top_up(
    tx: asyncpg.Connection, top_up: TopUp, *, card_token: str, at: datetime, by: Command
) -> tuple[TopUp, list[Work]]:
    """Store a top-up, or find the one of the same user and request id. Returns it, and the work to start.

    Raises:
        IdempotencyKeyReused: The request id was used with another body.
    """
    beginning = Write(
        _BEGIN,
        (
            top_up.top_up_id,
            top_up.user_id,
            top_up.request_id,
            top_up.fingerprint,
            top_up.provider,
            top_up.amount_minor,
            top_up.currency,
            top_up.status.value,
            at,
        ),
        name="begun",
    )
    accepting = audit.accepting([(by, f"topUps/{top_up.top_up_id}")], where="WHERE EXISTS (SELECT FROM begun)")
    begun = await write(tx, beginning, accepting, returning="SELECT top_up_id FROM begun")
    stored = top_up
    if not begun:
        row = await tx.fetchrow(
            f"SELECT {_COLUMNS} FROM top_ups WHERE user_id = $1 AND request_id = $2 FOR UPDATE",
            top_up.user_id,
            top_up.request_id,
        )
        stored = _top_up(row)
        rules.refuse_other_body(stored, top_up.fingerprint)
    if stored.is_settled:
        return stored, []
    work = [Work(SubjectKind.TOP_UP, stored.top_up_id, stored.provider, card_token if stored is top_up else None)]
    await settlement.add(tx, work, keep_token=stored is not top_up)
    await failpoint("payment.top_up.before_commit")
    return stored, work


async def find_top_ups(connection: asyncpg.Connection, top_up_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, TopUp]:
    """Return top-ups, as far as they are there."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM top_ups WHERE top_up_id = ANY($1::uuid[])", top_up_ids)
    return {row["top_up_id"]: _top_up(row) for row in rows}


async def has_open_top_up(connection: asyncpg.Connection, user_id: uuid.UUID) -> bool:
    """Return whether money of a card is on its way into a user's wallet."""
    query = "SELECT EXISTS (SELECT FROM top_ups WHERE user_id = $1 AND status IN ('AUTHORIZING', 'CAPTURING'))"
    found: bool = await connection.fetchval(query, user_id)
    return found


async def lock_top_up(tx: asyncpg.Connection, top_up_id: uuid.UUID) -> TopUp | None:
    """Lock a top-up and return it."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM top_ups WHERE top_up_id = $1 FOR UPDATE", top_up_id)
    return None if row is None else _top_up(row)


async def save_top_up(tx: asyncpg.Connection, top_up: TopUp, *, at: datetime) -> None:
    """Write a locked top-up as it is now."""
    await tx.execute(
        _SAVE,
        top_up.top_up_id,
        top_up.status.value,
        top_up.decline_code,
        top_up.provider_reference,
        top_up.response,
        at,
    )


async def credit_top_up(
    tx: asyncpg.Connection, top_up: TopUp, *, answer: Callable[[Balance], bytes], at: datetime
) -> TopUp:
    """Put a captured top-up into its wallet and keep the answer: once, because the caller holds its lock."""
    transfer = top_up.transfer
    await ledger.open_accounts(tx, [transfer.debit, transfer.credit], at=at)
    balances = await ledger.post(tx, [transfer], at=at, wallet_events={transfer.credit: 1})
    balance = balances[transfer.credit]
    event = events.of_wallet(
        top_up.user_id, amount_minor=top_up.amount_minor, currency=top_up.currency, version=balance.events
    )
    await outbox.append(tx, [event])
    credited = rules.captured(top_up, answer(balance))
    await save_top_up(tx, credited, at=at)
    return credited


async def credit_wallets(
    tx: asyncpg.Connection, credits: Sequence[Credit], *, request_id: str, ids: Ids, at: datetime, by: Command
) -> list[Credited | Refusal]:
    """Credit wallets from the import account, each user at most once; returns a result per credit, in their order.

    A credit that was done under this request id before gives the answer it gave then.
    """
    transfers = {each.user_id: rules.credit_transfer(each, ids.new()) for each in credits}
    claimed_rows = await tx.fetch(
        _CLAIM_CREDITS,
        [each.user_id for each in credits],
        [each.amount_minor for each in credits],
        [each.currency for each in credits],
        [transfers[each.user_id].transfer_id for each in credits],
        request_id,
        at,
    )
    new = {row["user_id"] for row in claimed_rows}
    await failpoint("payment.credit.after_claim")
    if new:
        await _credit(tx, [each for each in credits if each.user_id in new], transfers, request_id=request_id, at=at)
        await audit.accept(tx, "wallets", by)
    stored = await tx.fetch(
        "SELECT user_id, amount_minor, currency, balance_minor, pending_minor FROM wallet_credits"
        " WHERE user_id = ANY($1::uuid[]) AND request_id = $2",
        [each.user_id for each in credits],
        request_id,
    )
    by_user = {row["user_id"]: row for row in stored}
    results: list[Credited | Refusal] = []
    for each in credits:
        row = by_user[each.user_id]
        if (row["amount_minor"], row["currency"]) != (each.amount_minor, each.currency):
            results.append(IdempotencyKeyReused("this user was credited another amount under this key"))
        else:
            results.append(Credited(row["balance_minor"], row["pending_minor"], row["currency"]))
    await failpoint("payment.credit.before_commit")
    return results


async def list_movements(
    connection: asyncpg.Connection, user_id: uuid.UUID, currency: str, *, before_seq: int | None, limit: int
) -> list[Movement]:
    """List at most `limit` posted movements of a wallet, the newest first, older than `before_seq`."""
    account = ledger_rules.wallet(user_id, currency)
    rows = await connection.fetch(
        _TRANSFERS, account.account_id, _LAST_SEQ if before_seq is None else before_seq, limit
    )
    return [Movement(**{**row, "kind": ledger_rules.TransferKind(row["kind"])}) for row in rows]


async def _credit(
    tx: asyncpg.Connection,
    credits: Sequence[Credit],
    transfers: dict[uuid.UUID, ledger_rules.Transfer],
    *,
    request_id: str,
    at: datetime,
) -> None:
    moves = [transfers[each.user_id] for each in credits]
    await ledger.open_accounts(tx, {account for move in moves for account in (move.debit, move.credit)}, at=at)
    balances = await ledger.post(tx, moves, at=at, wallet_events={move.credit: 1 for move in moves})
    after = [balances[move.credit] for move in moves]
    await tx.execute(
        _ANSWER_CREDITS,
        [each.user_id for each in credits],
        [balance.available_minor for balance in after],
        [balance.pending_debits for balance in after],
        request_id,
    )
    await outbox.append(
        tx,
        [
            events.of_wallet(
                each.user_id, amount_minor=each.amount_minor, currency=each.currency, version=balance.events
            )
            for each, balance in zip(credits, after, strict=True)
        ],
    )


def _top_up(row: asyncpg.Record) -> TopUp:
    return replace(TopUp(**row), status=TopUpStatus(row["status"]))
