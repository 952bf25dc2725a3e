"""All SQL of the checkout saga and of later effects: who asked, what was decided, what is still to do.

The only writer of `checkouts` and `order_effects`. The coordinator keeps three facts of a checkout: recorded, decided
and finished; everything between two of them can be run again. Times are the database's own, so that a process with a
wrong clock moves no deadline. `next_run_at` is lease and schedule in one: who takes a row pushes it into the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from mesh import audit, housekeeping, idempotency
from mesh.audit import Command
from mesh.refusals import Refusal
from mesh.writes import Write, write
from svc_order.order import rules as order_rules
from svc_order.order import store as orders
from svc_order.order.rules import Change
from svc_order.order.view import View
from svc_order.split.rules import SellerPart

SWEEP_ROWS = 256

# Whoever is being erased has no key any more, or this waits for the end of it: an erasure locks the key it destroys.
_INSERT = """
INSERT INTO checkouts (order_id, user_id, request_id, fingerprint, method, next_run_at)
SELECT order_id, user_id, request_id, fingerprint, method, now() + make_interval(secs => $6)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::bytea[])
     AS c (order_id, user_id, request_id, fingerprint, method)
     JOIN (SELECT user_id FROM user_keys WHERE user_id = ANY($2::uuid[]) ORDER BY user_id FOR KEY SHARE) AS k
     USING (user_id)
ORDER BY user_id, request_id
ON CONFLICT DO NOTHING
RETURNING order_id
"""
_FIND = """
SELECT c.order_id, c.user_id, c.request_id, c.fingerprint, c.response, c.refusal, c.action_url, c.finished_at
FROM unnest($1::uuid[], $2::text[]) AS k (user_id, request_id) JOIN checkouts c USING (user_id, request_id)
"""
_ANSWERS = """
SELECT order_id, user_id, request_id, fingerprint, response, refusal, action_url, finished_at FROM checkouts
WHERE order_id = ANY($1::uuid[])
"""
_DECIDE = """
UPDATE checkouts c
SET decided_at = now(), response = d.response, refusal = d.refusal, payment_status = d.payment_status, method = NULL,
    action_url = NULL, action_expires_at = NULL, attempts = 0, next_run_at = now() + make_interval(secs => $5)
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::smallint[]) AS d (order_id, response, refusal, payment_status)
WHERE c.order_id = d.order_id AND c.decided_at IS NULL
"""
_TAKE = f"""
UPDATE checkouts c SET next_run_at = now() + make_interval(secs => $1), attempts = c.attempts + 1
FROM (
    SELECT order_id FROM checkouts WHERE finished_at IS NULL AND next_run_at <= now()
    ORDER BY next_run_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
) due
WHERE c.order_id = due.order_id
RETURNING c.order_id, c.method, c.attempts, c.decided_at IS NOT NULL AS decided, c.response IS NOT NULL AS confirmed,
          c.action_url IS NOT NULL AS waits, coalesce(c.action_expires_at <= now(), false) AS expired,
          c.recorded_at < now() - make_interval(secs => $2) AND c.attempts + 1 >= $3 AS overdue
"""
_TAKE_EFFECTS = f"""
UPDATE order_effects e SET next_run_at = now() + make_interval(secs => $1), attempts = e.attempts + 1
FROM (
    SELECT effect_id FROM order_effects
    WHERE finished_at IS NULL AND next_run_at <= now() AND kind IN ('UNDO', 'REFUND', 'SHIP', 'DELIVER')
    ORDER BY next_run_at LIMIT {SWEEP_ROWS} FOR UPDATE SKIP LOCKED
) due
WHERE e.effect_id = due.effect_id
RETURNING e.effect_id, e.order_id, e.kind, e.amount_minor, e.currency, e.release, e.restock, e.sellers,
          e.attempts
"""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose request it is, and what it asks for, as a hash; scoped to PlaceOrder, whose table this is."""

    user_id: UUID
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored under a key: the order, and its answer once there is one (sealed, or a serialized refusal).

    The fingerprint is sealed too. An order `rests` while it waits for its customer.
    """

    order_id: UUID
    user_id: UUID
    request_id: str
    fingerprint: bytes
    response: bytes | None
    refusal: bytes | None
    rests: bool
    finished: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """An order to record: its first entry, its key, its sealed parts, and the command that it comes from."""

    change: Change
    key: Key
    fingerprint: bytes
    sealed: bytes
    method: bytes
    by: Command


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision to store: the order after it, the sealed response or the refusal, and the payment's status."""

    change: Change
    response: bytes | None
    refusal: Refusal | None
    payment_status: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A checkout that this process works on until its lease ends."""

    view: View
    method: bytes | None
    attempts: int
    decided: bool
    confirmed: bool
    waits: bool
    expired: bool
    overdue: bool


@dataclass(frozen=True, slots=True)
class ReturnedUnits:
    """Units of one line of an order that go on the shelf again."""

    line_number: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a decision on an order still has to do elsewhere."""

    effect_id: UUID
    order_id: UUID
    kind: str
    amount_minor: int | None = None
    currency: str | None = None
    release: bool = False
    restock: tuple[ReturnedUnits, ...] = ()
    sellers: tuple[SellerPart, ...] = ()
    attempts: int = 0


async def find_known(connection: asyncpg.Connection, keys: Sequence[Key]) -> dict[tuple[UUID, str], Known]:
    """Return what is stored under each key that was used before."""
    rows = await connection.fetch(_FIND, [k.user_id for k in keys], [k.request_id for k in keys])
    return {(row["user_id"], row["request_id"]): _known(row) for row in rows}


async def list_known(connection: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, Known]:
    """Return what is stored of these orders' checkouts."""
    rows = await connection.fetch(_ANSWERS, list(order_ids))
    return {row["order_id"]: _known(row) for row in rows}


async def record(tx: asyncpg.Connection, items: Sequence[Recorded], *, lease_seconds: float) -> set[UUID]:
    """Record orders and their checkouts; returns those that were.

    Of the others the key or the cart was used before, or the user was erased.
    """
    claiming = Write(
        _INSERT,
        (
            [i.change.order.order_id for i in items],
            [i.key.user_id for i in items],
            [i.key.request_id for i in items],
            [i.fingerprint for i in items],
            [i.method for i in items],
            lease_seconds,
        ),
        name="claimed",
    )
    sealed = {i.change.order.order_id: i.sealed for i in items}
    rows = await write(
        tx,
        claiming,
        *orders.placing([i.change for i in items], sealed, among="claimed"),
        audit.accepting(
            [(i.by, orders.resource(i.change.order.order_id)) for i in items],
            where=f"WHERE resource IN (SELECT '{orders.RESOURCE}' || order_id FROM placed)",
        ),
        returning="SELECT order_id, order_id IN (SELECT order_id FROM placed) AS placed FROM claimed",
    )
    in_vain = [row["order_id"] for row in rows if not row["placed"]]
    if in_vain:
        # The cart stands in a live order. Nothing was stored for this one, so its key is not burned.
        await tx.execute("DELETE FROM checkouts WHERE order_id = ANY($1::uuid[])", in_vain)
    return {row["order_id"] for row in rows if row["placed"]}


async def decide(tx: asyncpg.Connection, decisions: Sequence[Decided], *, lease_seconds: float) -> None:
    """Store decisions on orders that the caller holds, with the answer that their callers get."""
    deciding = Write(
        _DECIDE,
        (
            [d.change.order.order_id for d in decisions],
            [d.response for d in decisions],
            [idempotency.serialize(d.refusal) if d.refusal else None for d in decisions],
            [d.payment_status for d in decisions],
            lease_seconds,
        ),
    )
    await orders.save_changes(tx, [d.change for d in decisions], also=[deciding])


async def wait_for_customer(
    tx: asyncpg.Connection, waiting: Sequence[tuple[UUID, int, str, datetime | None]], *, poll_seconds: float
) -> None:
    """Note what customers have to do: (order, payment status, page, when the offer ends) each."""
    await tx.execute(
        "UPDATE checkouts c SET payment_status = w.status, action_url = w.url, action_expires_at = w.expires_at,"
        " attempts = 0, next_run_at = now() + make_interval(secs => $5)"
        " FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::timestamptz[])"
        " AS w (order_id, status, url, expires_at)"
        " WHERE c.order_id = w.order_id AND c.decided_at IS NULL",
        [w[0] for w in waiting],
        [w[1] for w in waiting],
        [w[2] for w in waiting],
        [w[3] for w in waiting],
        poll_seconds,
    )


async def postpone(connection: asyncpg.Connection, order_ids: Sequence[UUID], *, seconds: float) -> None:
    """Give up the lease of checkouts: they are due again after this time."""
    await connection.execute(
        "UPDATE checkouts SET next_run_at = now() + make_interval(secs => $2)"
        " WHERE order_id = ANY($1::uuid[]) AND finished_at IS NULL",
        list(order_ids),
        seconds,
    )


async def finish(connection: asyncpg.Connection, finished: Sequence[tuple[UUID, int]]) -> None:
    """Mark checkouts as finished: (order, payment status) each; zero keeps the status.

    The numbers of the contract ascend on every way that a payment can go, so news that arrive late never turn it back.
    """
    await connection.execute(
        "UPDATE checkouts c SET finished_at = now(),"
        " payment_status = greatest(c.payment_status, f.status)"
        " FROM unnest($1::uuid[], $2::smallint[]) AS f (order_id, status)"
        " WHERE c.order_id = f.order_id AND c.finished_at IS NULL",
        [f[0] for f in finished],
        [f[1] for f in finished],
    )


async def take_due(
    connection: asyncpg.Connection, *, lease_seconds: float, give_up_seconds: float, give_up_attempts: int
) -> list[Taken]:
    """Take checkouts that nobody works on, the longest due first, at most `SWEEP_ROWS`."""
    rows = await connection.fetch(_TAKE, lease_seconds, give_up_seconds, give_up_attempts)
    views = {v.order.order_id: v for v in await orders.list_views(connection, [r["order_id"] for r in rows])}
    return [
        Taken(
            view=views[r["order_id"]],
            method=r["method"],
            attempts=r["attempts"],
            decided=r["decided"],
            confirmed=r["confirmed"],
            waits=r["waits"],
            expired=r["expired"],
            overdue=r["overdue"],
        )
        for r in rows
        if r["order_id"] in views
    ]


async def decide_cancelled(tx: asyncpg.Connection, order_id: UUID, refusal: Refusal) -> None:
    """Store the refusal as the answer to an undecided checkout whose order its customer has just cancelled."""
    await tx.execute(
        "UPDATE checkouts SET decided_at = now(), refusal = $2, method = NULL, action_url = NULL,"
        " action_expires_at = NULL, next_run_at = now() WHERE order_id = $1 AND decided_at IS NULL",
        order_id,
        idempotency.serialize(refusal),
    )


async def add_effect(tx: asyncpg.Connection, effect: Effect, *, lease_seconds: float) -> None:
    """Store what a decision has to do elsewhere, in the transaction of the decision."""
    await tx.execute(
        "INSERT INTO order_effects (effect_id, order_id, kind, amount_minor, currency, release, restock, sellers,"
        " next_run_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))",
        effect.effect_id,
        effect.order_id,
        effect.kind,
        effect.amount_minor,
        effect.currency,
        effect.release,
        [astuple(units) for units in effect.restock] or None,
        [astuple(part) for part in effect.sellers] or None,
        lease_seconds,
    )


async def take_due_effects(connection: asyncpg.Connection, *, lease_seconds: float) -> list[Effect]:
    """Take effects that nobody works on, the longest due first, at most `SWEEP_ROWS`."""
    rows = await connection.fetch(_TAKE_EFFECTS, lease_seconds)
    return [
        Effect(
            effect_id=r["effect_id"],
            order_id=r["order_id"],
            kind=r["kind"],
            amount_minor=r["amount_minor"],
            currency=r["currency"],
            release=r["release"],
            restock=tuple(ReturnedUnits(*units) for units in r["restock"] or ()),
            sellers=tuple(SellerPart(*part) for part in r["sellers"] or ()),
            attempts=r["attempts"],
        )
        for r in rows
    ]


async def postpone_effect(connection: asyncpg.Connection, effect_id: UUID, *, seconds: float) -> None:
    """Give up the lease of an effect: it is due again after this time."""
    await connection.execute(
        "UPDATE order_effects SET next_run_at = now() + make_interval(secs => $2)"
        " WHERE effect_id = $1 AND finished_at IS NULL",
        effect_id,
        seconds,
    )


async def note_sent_back(
    tx: asyncpg.Connection, order_id: UUID, refund_id: UUID, amount_minor: int, *, at: datetime
) -> None:
    """Show on a cancelled order, once, what its undo sent back: row, journal and public event."""
    order = await orders.lock_order(tx, order_id)
    await orders.save_changes(tx, [order_rules.sent_back(order, refund_id, amount_minor, at=at)])


async def finish_effect(tx: asyncpg.Connection, effect: Effect, *, payment_status: int) -> None:
    """Mark an effect as finished, and note where the payment stands; zero keeps the status."""
    await tx.execute(
        "UPDATE order_effects SET finished_at = now() WHERE effect_id = $1 AND finished_at IS NULL", effect.effect_id
    )
    if payment_status:
        await tx.execute(
            "UPDATE checkouts SET payment_status = greatest(payment_status, $2) WHERE order_id = $1",
            effect.order_id,
            payment_status,
        )


async def forget_fingerprints(tx: asyncpg.Connection, user_id: UUID) -> None:
    """Forget what a user asked for, also where it was stored before fingerprints were sealed."""
    await tx.execute("UPDATE checkouts SET fingerprint = '' WHERE user_id = $1 AND fingerprint <> ''", user_id)


async def prune(tx: asyncpg.Connection) -> int:
    """Forget the keys and answers of checkouts that finished long ago: the keys may be used again. Returns how many."""
    result: str = await tx.execute(
        "UPDATE checkouts SET request_id = 'forgotten:' || order_id, fingerprint = '',"
        " response = CASE WHEN response IS NOT NULL THEN ''::bytea END"
        " WHERE order_id IN (SELECT order_id FROM checkouts"
        " WHERE finished_at < now() - make_interval(days => $1) AND request_id NOT LIKE 'forgotten:%'"
        " ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        idempotency.KEPT_DAYS,
        housekeeping.PRUNE_ROWS,
    )
    return int(result.split()[-1])


def _known(row: Mapping[str, Any]) -> Known:
    return Known(
        order_id=row["order_id"],
        user_id=row["user_id"],
        request_id=row["request_id"],
        fingerprint=row["fingerprint"],
        response=row["response"],
        refusal=row["refusal"],
        rests=row["action_url"] is not None,
        finished=row["finished_at"] is not None,
    )
