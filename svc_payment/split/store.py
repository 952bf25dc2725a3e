"""The only writer of sellers' shares. Order of locks: payments by order id, which hold their shares, then balances."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh.refusals import Refusal
from mesh.seams import failpoint
from mesh.writes import Write
from svc_payment.errors import PaymentNotFound
from svc_payment.ledger import store as ledger
from svc_payment.payment import store as payments
from svc_payment.payment.rules import Payment
from svc_payment.split import rules
from svc_payment.split.rules import Share, Shares, Sold

_COLUMNS = "order_id, seller_id, currency, sold_minor, refunded_minor, fee_basis_points, held_at, released_at"
_SAVE = f"""
INSERT INTO seller_shares ({_COLUMNS})
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[], $7::timestamptz[],
                     $8::timestamptz[])
ON CONFLICT (order_id, seller_id) DO UPDATE
SET refunded_minor = excluded.refunded_minor, released_at = excluded.released_at
"""
# Of the refunds' own table, which svc_payment/refund/store.py writes: their payment is locked, so none is added.
_EARLIER = """
SELECT order_id, amount_minor, borne FROM refunds WHERE order_id = ANY($1::uuid[]) ORDER BY created_at, refund_id
"""
_BALANCES = """
SELECT a.currency, COALESCE(sum(b.posted_credits - b.posted_debits) FILTER (WHERE a.code = 'escrow'), 0)::bigint,
       COALESCE(sum(b.posted_credits - b.posted_debits) FILTER (WHERE a.code = 'payable'), 0)::bigint,
       COALESCE(sum(b.pending_debits) FILTER (WHERE a.code = 'payable'), 0)::bigint
FROM accounts a JOIN balances b USING (account_id) WHERE a.seller_id = $1 GROUP BY a.currency ORDER BY a.currency
"""


Change = tuple[Share | None, Share]
"""A share beside what it was."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An order, and what other sellers than the house sold of it."""

    order_id: uuid.UUID
    sold: Sold


@dataclass(frozen=True, slots=True)
class Balance:
    """What a seller has in one currency, in minor units."""

    currency: str
    escrow_minor: int
    payable_minor: int
    paying_out_minor: int


async def split(
    tx: asyncpg.Connection, asked: Sequence[Asked], *, release: bool, fee_basis_points: int, at: datetime
) -> list[Refusal | None]:
    """Hold the shares of orders, or release them; returns a refusal or None per order, in their order."""
    locked = await payments.lock(tx, [each.order_id for each in asked])
    shares = await find(tx, list(locked))
    earlier = await _earlier(tx, [each for each in locked.values() if each.order_id not in shares])
    await failpoint("payment.split.after_lock")
    before = dict(shares)
    results: list[Refusal | None] = []
    for each in asked:
        try:
            payment = locked.get(each.order_id)
            if payment is None:
                raise PaymentNotFound("no such payment")
            known = shares.get(each.order_id, {})
            held = rules.hold(
                payment,
                each.sold,
                known,
                earlier=earlier.get(each.order_id, ()),
                fee_basis_points=fee_basis_points,
                at=at,
            )
            shares[each.order_id] = rules.release(held, at=at) if release else held
            results.append(None)
        except Refusal as refusal:
            results.append(refusal)
    changes = [change for order_id in shares for change in changes_of(before.get(order_id, {}), shares[order_id])]
    await ledger.open_accounts(tx, rules.accounts([is_now for was, is_now in changes if was is None]), at=at)
    moved = [
        transfer
        for was, is_now in changes
        for transfer in rules.transfers(was, is_now, group_id=locked[is_now.order_id].payment_id)
    ]
    await ledger.post(tx, moved, at=at, also=[saving(changes)])
    await failpoint("payment.split.before_commit")
    return results


def changes_of(before: Shares, after: Shares) -> list[Change]:
    """Return what of an order's shares is new or changed, by seller."""
    return [(before.get(each), after[each]) for each in sorted(after) if before.get(each) != after[each]]


def saving(changes: Sequence[Change]) -> Write | None:
    """Return the write of changed shares; the caller sees to what moves."""
    shares = [after for _, after in changes]
    if not shares:
        return None
    return Write(
        _SAVE,
        (
            [s.order_id for s in shares],
            [s.seller_id for s in shares],
            [s.currency for s in shares],
            [s.sold_minor for s in shares],
            [s.refunded_minor for s in shares],
            [s.fee_basis_points for s in shares],
            [s.held_at for s in shares],
            [s.released_at for s in shares],
        ),
    )


async def find(connection: asyncpg.Connection, order_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Shares]:
    """Return the shares of orders, by order and seller; the house's orders have none."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM seller_shares WHERE order_id = ANY($1::uuid[])", order_ids)
    found: dict[uuid.UUID, dict[str, Share]] = {}
    for row in rows:
        found.setdefault(row["order_id"], {})[row["seller_id"]] = Share(*row)
    return dict(found)


async def _earlier(tx: asyncpg.Connection, locked: Sequence[Payment]) -> dict[uuid.UUID, list[tuple[int, Sold]]]:
    """Return the refunds of payments that are locked, by order, the oldest first."""
    with_refunds = [each.order_id for each in locked if each.refunded_minor or each.refunding_minor]
    found: dict[uuid.UUID, list[tuple[int, Sold]]] = {}
    if with_refunds:
        for order_id, amount_minor, borne in await tx.fetch(_EARLIER, with_refunds):
            found.setdefault(order_id, []).append((amount_minor, borne or {}))
    return found


async def balances(connection: asyncpg.Connection, seller_id: str) -> list[Balance]:
    """Return what a seller has, by currency; nothing of one that never sold."""
    return [Balance(*row) for row in await connection.fetch(_BALANCES, seller_id)]


async def list_newest(
    connection: asyncpg.Connection, seller_id: str, *, before: uuid.UUID | None, limit: int
) -> list[Share]:
    """Return at most `limit` shares of a seller, of orders before one, the newest order first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM seller_shares WHERE seller_id = $1 AND ($2::uuid IS NULL OR order_id < $2)"
        " ORDER BY order_id DESC LIMIT $3",
        seller_id,
        before,
        limit,
    )
    return [Share(*row) for row in rows]
