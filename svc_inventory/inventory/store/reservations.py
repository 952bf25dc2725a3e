"""Reservations: who holds which units, from the claim of an order to its release or shipment.

The only writer of `reservations` and of new `reservation_lines`. What was answered is kept, so asking again gives the
same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from google.rpc import status_pb2

from mesh import idempotency
from mesh.refusals import Refusal
from mesh.seams import failpoint
from mesh.writes import Write
from svc_inventory.errors import ReservationConflict, ReservationReleased
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import Allocation, MovementKind, ReservationState, Wanted
from svc_inventory.inventory.store.journal import save_movements
from svc_inventory.inventory.store.shelves import lock_shelves

Reserved = tuple[Allocation, ...]
"""Where the units of an order are held."""


async def save_reservations(tx: asyncpg.Connection, wanted: Sequence[Wanted]) -> list[Reserved | Refusal]:
    """Hold the units of many orders, in arrival order; all lines of an order, or none.

    Returns one entry per order, in their order: the allocations, or the refusal. An order that was here before gets its
    earlier answer: the same allocations, the same OutOfStock, ReservationReleased, or ReservationConflict for other
    content.
    """
    first: dict[UUID, Wanted] = {}
    for each in wanted:
        first.setdefault(each.order_id, each)
    await failpoint("inventory.reserve.start")
    fingerprints = [each.fingerprint for each in first.values()]
    rows = await tx.fetch(_CLAIM_ORDERS, list(first), fingerprints, int(ReservationState.RESERVED))
    fresh = {row["order_id"] for row in rows}
    await failpoint("inventory.reserve.claimed")
    arrived = [each for each in first.values() if each.order_id in fresh]
    shelves = await lock_shelves(tx, {line.sku for each in arrived for line in each.lines})
    await failpoint("inventory.reserve.locked")
    decided = dict(zip([each.order_id for each in arrived], rules.reserve(arrived, shelves), strict=True))
    held: dict[UUID, Reserved] = {}
    refused: dict[UUID, Refusal] = {}
    for order_id, answer in decided.items():
        if isinstance(answer, Refusal):
            refused[order_id] = answer
        else:
            held[order_id] = answer
    moved = [
        movement
        for order_id, allocations in held.items()
        for movement in rules.movements(MovementKind.RESERVED, order_id, _units(allocations))
    ]
    await save_movements(tx, shelves, moved, also=[_refusing(refused), _allocating(held)])
    await failpoint("inventory.reserve.before_commit")
    known = await _find_reservations(tx, [order_id for order_id in first if order_id not in fresh])
    known |= {each.order_id: _Known(ReservationState.RESERVED, each.fingerprint, None) for each in arrived}
    kept = await list_allocations(tx, [o for o, k in known.items() if o not in fresh and k.state in _HELD])
    return [_answer_again(each, known[each.order_id], decided.get(each.order_id), kept) for each in wanted]


_HELD = (ReservationState.RESERVED, ReservationState.SHIPPED)


def _answer_again(
    wanted: Wanted, known: _Known, decided: Reserved | Refusal | None, kept: Mapping[UUID, Reserved]
) -> Reserved | Refusal:
    if known.state is ReservationState.RELEASED:
        return ReservationReleased("the order was released")
    if known.fingerprint != wanted.fingerprint:
        return ReservationConflict("the order was reserved before with other lines")
    if decided is not None:
        return decided
    if known.refusal is not None:
        return Refusal.from_status(status_pb2.Status.FromString(known.refusal))
    return kept[wanted.order_id]


# A claim says RESERVED at once, and the few that are refused say so later in the same transaction: one write an order.
_CLAIM_ORDERS = """
INSERT INTO reservations (order_id, state, fingerprint)
SELECT order_id, $3, fingerprint
FROM unnest($1::uuid[], $2::bytea[]) AS o (order_id, fingerprint)
ORDER BY order_id
ON CONFLICT DO NOTHING
RETURNING order_id
"""
_REFUSE_ORDERS = """
UPDATE reservations r SET state = $3, refusal = d.refusal
FROM unnest($1::uuid[], $2::bytea[]) AS d (order_id, refusal) WHERE r.order_id = d.order_id
"""
_INSERT_ALLOCATIONS = """
INSERT INTO reservation_lines (order_id, place, line_number, sku, warehouse_id, quantity)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::int[])
"""


@dataclass(frozen=True, slots=True)
class _Known:
    state: ReservationState
    fingerprint: bytes | None
    refusal: bytes | None


async def _find_reservations(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, _Known]:
    if not order_ids:
        return {}
    rows = await tx.fetch(
        "SELECT order_id, state, fingerprint, refusal FROM reservations WHERE order_id = ANY($1::uuid[])", order_ids
    )
    return {row["order_id"]: _Known(ReservationState(row["state"]), row["fingerprint"], row["refusal"]) for row in rows}


async def list_allocations(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, Reserved]:
    """Return the allocations of each order in the order in which they were made."""
    found: dict[UUID, list[Allocation]] = {order_id: [] for order_id in order_ids}
    if not found:
        return {}
    rows = await tx.fetch(
        "SELECT order_id, line_number, sku, warehouse_id, quantity, restocked FROM reservation_lines"
        " WHERE order_id = ANY($1::uuid[]) ORDER BY order_id, place",
        order_ids,
    )
    for order_id, *rest in rows:
        found[order_id].append(Allocation(*rest))
    return {order_id: tuple(allocations) for order_id, allocations in found.items()}


def _refusing(refused: Mapping[UUID, Refusal]) -> Write | None:
    if not refused:
        return None
    serialized = [idempotency.serialize(each) for each in refused.values()]
    return Write(_REFUSE_ORDERS, (list(refused), serialized, int(ReservationState.REFUSED)))


def _allocating(held: Mapping[UUID, Reserved]) -> Write | None:
    rows = [(order_id, place, each) for order_id, made in held.items() for place, each in enumerate(made)]
    if not rows:
        return None
    return Write(
        _INSERT_ALLOCATIONS,
        (
            [order_id for order_id, _, _ in rows],
            [place for _, place, _ in rows],
            [each.line_number for _, _, each in rows],
            [each.sku for _, _, each in rows],
            [each.warehouse_id for _, _, each in rows],
            [each.quantity for _, _, each in rows],
        ),
    )


async def save_released(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Refusal | None]:
    """Let go of what orders hold, and leave a tombstone for those that never came.

    Returns one entry per order, in their order: None where it is done, or ReservationShipped.
    """
    await failpoint("inventory.release.start")
    await tx.execute(
        "INSERT INTO reservations (order_id, state) SELECT DISTINCT order_id, $2::smallint"
        " FROM unnest($1::uuid[]) AS o (order_id) ORDER BY order_id ON CONFLICT DO NOTHING",
        order_ids,
        int(ReservationState.RELEASED),
    )
    await failpoint("inventory.release.claimed")
    states = await lock_states(tx, order_ids)
    answers: list[Refusal | None] = []
    going: dict[UUID, None] = {}
    for order_id in order_ids:
        try:
            if rules.release(states[order_id]):
                going[order_id] = None
            answers.append(None)
        except Refusal as refusal:
            answers.append(refusal)
    await _end(tx, list(going), ReservationState.RELEASED, MovementKind.RELEASED, step="release")
    await failpoint("inventory.release.before_commit")
    return answers


async def save_shipped(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Refusal | None]:
    """Take what orders hold out of the warehouses.

    Returns one entry per order, in their order: None where it is done, ReservationNotFound or ReservationReleased.
    """
    await failpoint("inventory.ship.start")
    states = await lock_states(tx, order_ids)
    await failpoint("inventory.ship.claimed")
    answers: list[Refusal | None] = []
    going: dict[UUID, None] = {}
    for order_id in order_ids:
        try:
            if rules.ship(states.get(order_id)):
                going[order_id] = None
            answers.append(None)
        except Refusal as refusal:
            answers.append(refusal)
    await _end(tx, list(going), ReservationState.SHIPPED, MovementKind.SHIPPED, step="ship")
    await failpoint("inventory.ship.before_commit")
    return answers


async def lock_states(tx: asyncpg.Connection, order_ids: Iterable[UUID]) -> dict[UUID, ReservationState]:
    """Lock the reservations of orders by id and return where each stands; unknown orders are left out."""
    rows = await tx.fetch(
        "SELECT order_id, state FROM reservations WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE",
        list(set(order_ids)),
    )
    return {row["order_id"]: ReservationState(row["state"]) for row in rows}


async def _end(
    tx: asyncpg.Connection, order_ids: Sequence[UUID], state: ReservationState, kind: MovementKind, *, step: str
) -> None:
    """End the reservations of locked orders, and move their units."""
    if not order_ids:
        return
    allocations = await list_allocations(tx, order_ids)
    shelves = await lock_shelves(tx, {each.sku for made in allocations.values() for each in made})
    await failpoint(f"inventory.{step}.locked")
    await tx.execute(
        "UPDATE reservations SET state = $2, updated_at = now() WHERE order_id = ANY($1::uuid[])", order_ids, int(state)
    )
    moved = [
        movement
        for order_id in order_ids
        for movement in rules.movements(kind, order_id, _units(allocations[order_id]))
    ]
    await save_movements(tx, shelves, moved)


def _units(allocations: Iterable[Allocation]) -> list[tuple[str, str, int]]:
    return [(each.sku, each.warehouse_id, each.quantity) for each in allocations]
