"""The only writer of payments, and of what follows from them in the same transaction: ledger, work, events.

Every function takes sets. The order of locks is: payments by order id, then balances (see `ledger.store`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import asyncpg

from mesh import outbox
from mesh.seams import Ids, failpoint
from mesh.writes import Write
from svc_payment.ledger import rules as ledger_rules
from svc_payment.ledger import store as ledger
from svc_payment.payment import effects, events, rules
from svc_payment.payment.rules import Intent, Payment, Status
from svc_payment.settlement import store as settlement
from svc_payment.settlement.store import SubjectKind, Work

NOTICES_KEPT_DAYS = 30
"""Longer than any provider goes on sending; one that comes later still only makes Titan ask."""

_COLUMNS = """
    order_id, payment_id, status, created_at, user_id, provider, amount_minor, currency, fingerprint, captured_minor,
    refunding_minor, refunded_minor, provider_reference, refusal_reason, decline_code, action_url, action_expires_at,
    version
"""
_CLAIM = """
INSERT INTO payments (order_id, payment_id, status, user_id, provider, amount_minor, currency, fingerprint,
                      created_at, changed_at)
SELECT order_id, payment_id, status, user_id, provider, amount_minor, currency, fingerprint, $9, $9
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::bytea[])
     AS p (order_id, payment_id, status, user_id, provider, amount_minor, currency, fingerprint)
ORDER BY order_id
ON CONFLICT (order_id) DO NOTHING
RETURNING order_id
"""
_SAVE = """
UPDATE payments p
SET status = n.status, captured_minor = n.captured_minor, refunding_minor = n.refunding_minor,
    refunded_minor = n.refunded_minor, provider_reference = n.provider_reference, refusal_reason = n.refusal_reason,
    decline_code = n.decline_code, action_url = n.action_url, action_expires_at = n.action_expires_at,
    version = n.version, changed_at = $12
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::timestamptz[], $11::bigint[])
     AS n (order_id, status, captured_minor, refunding_minor, refunded_minor, provider_reference, refusal_reason,
           decline_code, action_url, action_expires_at, version)
WHERE p.order_id = n.order_id
"""
_FIND = f"SELECT {_COLUMNS} FROM payments WHERE order_id = ANY($1::uuid[])"
_LOCK = f"{_FIND} ORDER BY order_id FOR UPDATE"
_FIND_BY_IDS = f"SELECT {_COLUMNS} FROM payments WHERE payment_id = ANY($1::uuid[])"
_LOCK_BY_ID = f"SELECT {_COLUMNS} FROM payments WHERE payment_id = $1 FOR UPDATE"
_LOCK_FREE = f"{_FIND_BY_IDS} ORDER BY order_id FOR UPDATE SKIP LOCKED"
_NOTE_WEBHOOKS = """
INSERT INTO webhook_events (provider, event_id, payment_id, type, received_at)
SELECT provider, event_id, payment_id, type, $5
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) AS n (provider, event_id, payment_id, type)
ORDER BY provider, event_id
ON CONFLICT DO NOTHING
RETURNING provider, event_id
"""


async def authorize(
    tx: asyncpg.Connection, intents: Sequence[Intent], *, ids: Ids, at: datetime
) -> tuple[dict[uuid.UUID, Payment], list[Work]]:
    """Store new intents and decide those on wallets; every order stands at most once in `intents`, in arrival order.

    Returns the payments by order id, stored before or now, and the new work for providers, leased to the caller. Of a
    payment that was stored before, nothing changes.
    """
    opened = {each.order_id: rules.begin(each, payment_id=ids.new(), at=at) for each in intents}
    claimed = await _claim(tx, list(opened.values()), at=at)
    await failpoint("payment.authorize.after_claim")
    payments = {order_id: opened[order_id] for order_id in claimed}
    if len(claimed) < len(intents):
        payments |= await find(tx, [order_id for order_id in opened if order_id not in claimed])
    new = [payments[each.order_id] for each in intents if each.order_id in claimed]
    on_wallets = [each for each in new if each.provider == rules.WALLET and each.status is Status.IN_PROGRESS]
    tokens = {each.order_id: each.card_token for each in intents}
    work = [
        Work(SubjectKind.PAYMENT, each.payment_id, each.provider or "", tokens[each.order_id])
        for each in new
        if each.by_provider
    ]
    await settlement.add(tx, work)
    decided = await _hold(tx, on_wallets)
    free = [each for each in new if each.status is Status.AUTHORIZED]
    saved = await save(tx, [(None, each) for each in (*decided, *free)], ids=ids, at=at)
    payments |= {each.order_id: each for each in saved}
    await failpoint("payment.authorize.before_commit")
    return payments, work


async def void_unknown(
    tx: asyncpg.Connection, order_ids: Sequence[uuid.UUID], *, ids: Ids, at: datetime
) -> set[uuid.UUID]:
    """Leave a tombstone for every order that never came. Returns the orders that had nothing before."""
    return await _claim(tx, [rules.tombstone(each, payment_id=ids.new(), at=at) for each in order_ids], at=at)


async def find(connection: asyncpg.Connection, order_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payment]:
    """Return the payments of these orders, as far as there are any."""
    return {row["order_id"]: _payment(row) for row in await connection.fetch(_FIND, order_ids)}


async def lock(tx: asyncpg.Connection, order_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payment]:
    """Lock the payments of these orders, by order id, and return them as far as there are any."""
    return {row["order_id"]: _payment(row) for row in await tx.fetch(_LOCK, sorted(set(order_ids)))}


async def find_by_ids(connection: asyncpg.Connection, payment_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payment]:
    """Return payments by their own ids, as far as there are any."""
    rows = await connection.fetch(_FIND_BY_IDS, payment_ids)
    return {row["payment_id"]: _payment(row) for row in rows}


async def lock_by_id(tx: asyncpg.Connection, payment_id: uuid.UUID) -> Payment | None:
    """Lock one payment by its own id."""
    row = await tx.fetchrow(_LOCK_BY_ID, payment_id)
    return None if row is None else _payment(row)


async def lock_free(
    tx: asyncpg.Connection, payment_ids: Sequence[uuid.UUID]
) -> tuple[dict[uuid.UUID, Payment], set[uuid.UUID]]:
    """Lock payments by their own ids, in the order of their orders' ids, and wait for none.

    Returns those that are locked now, and the ids of those that another transaction holds.
    """
    locked = {row["payment_id"]: _payment(row) for row in await tx.fetch(_LOCK_FREE, payment_ids)}
    missing = set(payment_ids) - locked.keys()
    return locked, set(await find_by_ids(tx, list(missing))) if missing else missing


async def save(
    tx: asyncpg.Connection,
    changes: Sequence[tuple[Payment | None, Payment]],
    *,
    ids: Ids,
    at: datetime,
) -> list[Payment]:
    """Write changed payments, each beside what it was (None for one claimed in this transaction), and all effects.

    The rows are locked by the caller. Returns the payments as stored, in the order given.
    """
    saved: list[Payment] = []
    announced: list[outbox.Event] = []
    transfers: list[ledger_rules.Transfer] = []
    resolutions: list[ledger_rules.Resolution] = []
    for before, after in changes:
        follows = effects.of_change(before, after, transfer_id=ids.new())
        if follows.event is not None:
            after = replace(after, version=after.version + 1)
            announced.append(events.of_payment(after, follows.event))
        transfers += follows.transfers
        resolutions += follows.resolutions
        saved.append(after)
    await ledger.post(tx, transfers, resolutions, at=at, also=[saving(saved, at=at), outbox.appending(announced)])
    return saved


def saving(payments: Sequence[Payment], *, at: datetime) -> Write | None:
    """Return the write of the rows of changed payments and nothing else; the caller sees to what follows."""
    if not payments:
        return None
    return Write(
        _SAVE,
        (
            [p.order_id for p in payments],
            [p.status.value for p in payments],
            [p.captured_minor for p in payments],
            [p.refunding_minor for p in payments],
            [p.refunded_minor for p in payments],
            [p.provider_reference for p in payments],
            [p.refusal_reason for p in payments],
            [p.decline_code for p in payments],
            [p.action_url for p in payments],
            [p.action_expires_at for p in payments],
            [p.version for p in payments],
            at,
        ),
    )


@dataclass(frozen=True, slots=True)
class NoticeSeen:
    """A provider's notice, as it is kept so that a repetition is known."""

    provider: str
    event_id: str
    payment_id: uuid.UUID
    type: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it unique."""
        return (self.provider, self.event_id)


async def note_webhooks(tx: asyncpg.Connection, notices: Sequence[NoticeSeen], *, at: datetime) -> set[tuple[str, str]]:
    """Keep notices; returns which are new, by provider and event id."""
    rows = await tx.fetch(
        _NOTE_WEBHOOKS,
        [n.provider for n in notices],
        [n.event_id for n in notices],
        [n.payment_id for n in notices],
        [n.type for n in notices],
        at,
    )
    return {(row["provider"], row["event_id"]) for row in rows}


async def prune_notices(tx: asyncpg.Connection, *, at: datetime, limit: int) -> int:
    """Forget at most `limit` notices past their time, the oldest first. Returns how many; fewer means done."""
    result: str = await tx.execute(
        "DELETE FROM webhook_events WHERE (provider, event_id) IN (SELECT provider, event_id FROM webhook_events"
        " WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        at - timedelta(days=NOTICES_KEPT_DAYS),
        limit,
    )
    return int(result.split()[-1])


async def _claim(tx: asyncpg.Connection, payments: Sequence[Payment], *, at: datetime) -> set[uuid.UUID]:
    """Insert the payments whose order has none, in the order of their ids; a twin under way is waited for."""
    rows = await tx.fetch(
        _CLAIM,
        [p.order_id for p in payments],
        [p.payment_id for p in payments],
        [p.status.value for p in payments],
        [p.user_id for p in payments],
        [p.provider for p in payments],
        [p.amount_minor for p in payments],
        [p.currency for p in payments],
        [p.fingerprint for p in payments],
        at,
    )
    return {row["order_id"] for row in rows}


async def _hold(tx: asyncpg.Connection, payments: Sequence[Payment]) -> list[Payment]:
    """Lock the wallets and decide; the payments share one currency or several, each wallet has one."""
    if not payments:
        return []
    accounts = {
        (each.user_id, each.currency): ledger_rules.wallet(each.user_id, each.currency)
        for each in payments
        if each.user_id is not None and each.currency is not None
    }
    balances = await ledger.lock_balances(tx, accounts.values())
    await failpoint("payment.authorize.after_lock")
    decided: dict[uuid.UUID, Payment] = {}
    for currency in {each.currency for each in payments}:
        available = {
            user_id: balances[account].available_minor
            for (user_id, of), account in accounts.items()
            if of == currency and user_id is not None and account in balances
        }
        alike = [each for each in payments if each.currency == currency]
        decided |= {each.order_id: each for each in rules.hold_in_wallets(alike, available)}
    return [decided[each.order_id] for each in payments]


def _payment(row: asyncpg.Record) -> Payment:
    return Payment(**{**row, "status": Status(row["status"])})
