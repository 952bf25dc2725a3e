"""The only writer of refunds. Order of locks: payments by order id, then refunds and shares, then balances."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from mesh import outbox
from mesh.refusals import Refusal
from mesh.seams import failpoint
from mesh.writes import write
from svc_payment.errors import PaymentNotFound
from svc_payment.ledger import store as ledger
from svc_payment.ledger.rules import Transfer
from svc_payment.payment import events
from svc_payment.payment import store as payments
from svc_payment.payment.rules import Payment
from svc_payment.refund import rules
from svc_payment.refund.rules import Asked, Refund, RefundStatus
from svc_payment.settlement import store as settlement
from svc_payment.settlement.store import SubjectKind, Work
from svc_payment.split import rules as split_rules
from svc_payment.split import store as splits

_COLUMNS = "refund_id, order_id, asked_minor, amount_minor, currency, status, created_at, done_at, sold, borne"
_FIND = f"SELECT {_COLUMNS} FROM refunds WHERE refund_id = ANY($1::uuid[])"
_INSERT = f"""
INSERT INTO refunds ({_COLUMNS})
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::timestamptz[], $9::jsonb[], $10::jsonb[])
"""


Borne = tuple[uuid.UUID, splits.Change]
"""A refund, and what it makes of one seller's share."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a refund and its payment stand."""

    refund: Refund
    payment: Payment


async def refund(
    tx: asyncpg.Connection, asked: Sequence[Asked], *, at: datetime
) -> tuple[list[Outcome | Refusal], list[Work]]:
    """Decide refunds in arrival order; returns a result per refund, in their order, and the work for providers.

    What sellers bear is booked with the decision, whenever a provider sends the money: from then on it is not theirs.
    Where nothing is held for them it stays with the refund, and comes off what is held later: a refund holds nothing,
    because the parcel may have arrived long ago, and nobody would release it.
    A twin of a refund waits on its payment's lock, because both name the same order; one that names another order
    meets the primary key.
    """
    locked = await payments.lock(tx, [each.order_id for each in asked])
    known = {row["refund_id"]: _refund(row) for row in await tx.fetch(_FIND, [each.refund_id for each in asked])}
    shares = await splits.find(tx, list(locked))
    await failpoint("payment.refund.after_lock")
    results: list[Outcome | Refusal] = []
    new: list[Refund] = []
    borne: list[Borne] = []
    for each in asked:
        try:
            payment = locked.get(each.order_id)
            if payment is None:
                raise PaymentNotFound("no such payment")
            stored = known.get(each.refund_id)
            if stored is not None:
                rules.refuse_other(stored, each)
            else:
                after, stored = rules.decide(payment, each, at=at)
                before = shares.get(each.order_id, {})
                if each.sold:
                    split_rules.refuse_other(before, each.sold)
                shares[each.order_id] = split_rules.bear(payment, before, stored.amount_minor, each.borne)
                borne += [(stored.refund_id, change) for change in splits.changes_of(before, shares[each.order_id])]
                payment = after
                if stored.status is RefundStatus.DONE and stored.amount_minor:
                    payment = replace(payment, version=payment.version + 1)
                locked[each.order_id], known[each.refund_id] = payment, stored
                new.append(stored)
            results.append(Outcome(stored, payment))
        except Refusal as refusal:
            results.append(refusal)
    work = await _save(tx, new, locked, borne, at=at)
    await failpoint("payment.refund.before_commit")
    return results, work


async def find(connection: asyncpg.Connection, refund_ids: Sequence[uuid.UUID]) -> list[Refund]:
    """Return refunds, as far as they are there."""
    return [_refund(row) for row in await connection.fetch(_FIND, refund_ids)]


async def finish(tx: asyncpg.Connection, refund_id: uuid.UUID, order_id: uuid.UUID, *, at: datetime) -> None:
    """Record that a provider gave the money back: once, because the payment is locked first."""
    payment = (await payments.lock(tx, [order_id]))[order_id]
    (stored,) = await find(tx, [refund_id])
    after, done = rules.finish(payment, stored, at=at)
    if done is stored:
        return
    after = replace(after, version=after.version + 1)
    await tx.execute(
        "UPDATE refunds SET status = $2, done_at = $3 WHERE refund_id = $1", refund_id, done.status.value, done.done_at
    )
    await write(tx, payments.saving([after], at=at))
    await _book(tx, [(after, done)], at=at)


async def _save(
    tx: asyncpg.Connection,
    new: Sequence[Refund],
    locked: dict[uuid.UUID, Payment],
    borne: Sequence[Borne],
    *,
    at: datetime,
) -> list[Work]:
    """Write new refunds, their payments and what sellers bear, book what is done, and store work for the others."""
    if not new:
        return []
    await tx.execute(
        _INSERT,
        [r.refund_id for r in new],
        [r.order_id for r in new],
        [r.asked_minor for r in new],
        [r.amount_minor for r in new],
        [r.currency for r in new],
        [r.status.value for r in new],
        [r.created_at for r in new],
        [r.done_at for r in new],
        [r.sold for r in new],
        [r.borne for r in new],
    )
    touched = [locked[order_id] for order_id in sorted({r.order_id for r in new})]
    await write(tx, payments.saving(touched, at=at))
    work = [
        Work(SubjectKind.REFUND, r.refund_id, locked[r.order_id].provider or "")
        for r in new
        if r.status is RefundStatus.IN_PROGRESS
    ]
    await settlement.add(tx, work)
    done = [r for r in new if r.status is RefundStatus.DONE and r.amount_minor]
    moved = await _bear(tx, borne, locked)
    await _book(tx, _versioned(done, locked), moved, at=at)
    return work


async def _bear(tx: asyncpg.Connection, borne: Sequence[Borne], locked: dict[uuid.UUID, Payment]) -> list[Transfer]:
    """Write what has become of sellers' shares, one after the other; returns what has to move for it."""
    last = {(after.order_id, after.seller_id): (before, after) for _, (before, after) in borne}
    await write(tx, splits.saving(list(last.values())))
    return [
        transfer
        for refund_id, (before, after) in borne
        for transfer in split_rules.transfers(
            before, after, group_id=locked[after.order_id].payment_id, refund_id=refund_id
        )
    ]


def _versioned(done: Sequence[Refund], locked: dict[uuid.UUID, Payment]) -> list[tuple[Payment, Refund]]:
    """Give each of several refunds of one payment its own event version, counting up to the payment's."""
    left = {order_id: sum(1 for r in done if r.order_id == order_id) for order_id in {r.order_id for r in done}}
    versioned = []
    for each in done:
        left[each.order_id] -= 1
        payment = locked[each.order_id]
        versioned.append((replace(payment, version=payment.version - left[each.order_id]), each))
    return versioned


async def _book(
    tx: asyncpg.Connection,
    done: Sequence[tuple[Payment, Refund]],
    moved: Sequence[Transfer] = (),
    *,
    at: datetime,
) -> None:
    """Tell of refunds that are done and book them, with what else moves, at once: balances are locked in one order."""
    await outbox.append(
        tx,
        [events.of_refund(payment, refund_id=each.refund_id, amount_minor=each.amount_minor) for payment, each in done],
    )
    await ledger.post(tx, [*moved, *(rules.transfer(payment, each) for payment, each in done)], at=at)


def _refund(row: asyncpg.Record) -> Refund:
    return Refund(**{**row, "status": RefundStatus(row["status"])})
