"""All SQL of the inventory: set-based, on raw asyncpg, in the one lock order of Titan: claims by id, then SKUs by key.

Each operation is one transaction over many orders: claim them, lock their SKUs (one row each, however many orders want
it), let `rules` decide, and write one statement per table. What was answered is kept, so asking again gives the same
answer. This module never decides by itself whether an order gets its units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from google.rpc import status_pb2

from mesh import idempotency, outbox
from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_inventory.errors import (
    ReservationConflict,
    ReservationNotFound,
    ReservationReleased,
    WarehouseNotFound,
)
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import (
    Allocation,
    Entry,
    Level,
    Line,
    Movement,
    MovementKind,
    ReservationState,
    Shelf,
    Wanted,
)
from titan.inventory.v1 import events_pb2

TOPIC = "titan.inventory.v1"
STOCK_CHANGED = "titan.inventory.v1.StockChanged"

Reserved = tuple[Allocation, ...]
"""Where the units of an order are held."""


@dataclass(frozen=True, slots=True)
class RestockWanted:
    """Units of an order that came back; no lines mean everything that has not come back yet."""

    restock_id: UUID
    order_id: UUID
    fingerprint: bytes
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change of the units on hand that somebody asks for."""

    sku: str
    warehouse_id: str
    delta: int
    reason: str


@dataclass(frozen=True, slots=True)
class StoredMovement:
    """One entry of the journal as it was recorded."""

    movement: Movement
    version: int
    recorded_at: datetime


# Reserve


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
    await _save_refused(tx, refused)
    await _save_allocations(tx, held)
    await failpoint("inventory.reserve.saved")
    moved = [
        movement
        for order_id, allocations in held.items()
        for movement in rules.movements(MovementKind.RESERVED, order_id, _units(allocations))
    ]
    await _save_movements(tx, shelves, moved)
    await failpoint("inventory.reserve.before_commit")
    known = await _find_reservations(tx, [order_id for order_id in first if order_id not in fresh])
    known |= {each.order_id: _Known(ReservationState.RESERVED, each.fingerprint, None) for each in arrived}
    kept = await _list_allocations(tx, [o for o, k in known.items() if o not in fresh and k.state in _HELD])
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


async def _list_allocations(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> dict[UUID, Reserved]:
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


async def _save_refused(tx: asyncpg.Connection, refused: Mapping[UUID, Refusal]) -> None:
    if refused:
        await tx.execute(
            "UPDATE reservations r SET state = $3, refusal = d.refusal"
            " FROM unnest($1::uuid[], $2::bytea[]) AS d (order_id, refusal) WHERE r.order_id = d.order_id",
            list(refused),
            [idempotency.serialize(each) for each in refused.values()],
            int(ReservationState.REFUSED),
        )


async def _save_allocations(tx: asyncpg.Connection, held: Mapping[UUID, Reserved]) -> None:
    rows = [(order_id, place, each) for order_id, made in held.items() for place, each in enumerate(made)]
    if rows:
        await tx.execute(
            "INSERT INTO reservation_lines (order_id, place, line_number, sku, warehouse_id, quantity)"
            " SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::int[])",
            [order_id for order_id, _, _ in rows],
            [place for _, place, _ in rows],
            [each.line_number for _, _, each in rows],
            [each.sku for _, _, each in rows],
            [each.warehouse_id for _, _, each in rows],
            [each.quantity for _, _, each in rows],
        )


# Release and ship


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
    states = await _lock_states(tx, order_ids)
    answers: list[Refusal | None] = []
    going: dict[UUID, None] = {}
    for order_id in order_ids:
        try:
            if rules.release(states[order_id]):
                going[order_id] = None
            answers.append(None)
        except Refusal as refusal:
            answers.append(refusal)
    await _end(tx, list(going), ReservationState.RELEASED, MovementKind.RELEASED)
    await failpoint("inventory.release.before_commit")
    return answers


async def save_shipped(tx: asyncpg.Connection, order_ids: Sequence[UUID]) -> list[Refusal | None]:
    """Take what orders hold out of the warehouses.

    Returns one entry per order, in their order: None where it is done, ReservationNotFound or ReservationReleased.
    """
    await failpoint("inventory.ship.start")
    states = await _lock_states(tx, order_ids)
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
    await _end(tx, list(going), ReservationState.SHIPPED, MovementKind.SHIPPED)
    await failpoint("inventory.ship.before_commit")
    return answers


async def _lock_states(tx: asyncpg.Connection, order_ids: Iterable[UUID]) -> dict[UUID, ReservationState]:
    rows = await tx.fetch(
        "SELECT order_id, state FROM reservations WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE",
        list(set(order_ids)),
    )
    return {row["order_id"]: ReservationState(row["state"]) for row in rows}


async def _end(tx: asyncpg.Connection, order_ids: Sequence[UUID], state: ReservationState, kind: MovementKind) -> None:
    """End the reservations of locked orders, and move their units."""
    if not order_ids:
        return
    allocations = await _list_allocations(tx, order_ids)
    shelves = await lock_shelves(tx, {each.sku for made in allocations.values() for each in made})
    await failpoint(f"inventory.{kind.name.lower()}.locked")
    await tx.execute(
        "UPDATE reservations SET state = $2, updated_at = now() WHERE order_id = ANY($1::uuid[])", order_ids, int(state)
    )
    moved = [
        movement
        for order_id in order_ids
        for movement in rules.movements(kind, order_id, _units(allocations[order_id]))
    ]
    await _save_movements(tx, shelves, moved)


def _units(allocations: Iterable[Allocation]) -> list[tuple[str, str, int]]:
    return [(each.sku, each.warehouse_id, each.quantity) for each in allocations]


# Restock


async def save_restocked(tx: asyncpg.Connection, wanted: Sequence[RestockWanted]) -> list[Refusal | None]:
    """Put units of shipped orders back on hand, once per restock id.

    Returns one entry per restock, in their order: None where it is done, ReservationNotFound, RestockTooLarge or
    ReservationConflict. Whether an order has shipped may still change, so ReservationNotFound is not kept; the others
    are.
    """
    first: dict[UUID, RestockWanted] = {}
    for each in wanted:
        first.setdefault(each.restock_id, each)
    await failpoint("inventory.restock.start")
    rows = await tx.fetch(
        "INSERT INTO restocks (restock_id, order_id, fingerprint)"
        " SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS r (restock_id, order_id, fingerprint)"
        " ORDER BY restock_id ON CONFLICT DO NOTHING RETURNING restock_id",
        list(first),
        [each.order_id for each in first.values()],
        [each.fingerprint for each in first.values()],
    )
    fresh = {row["restock_id"] for row in rows}
    await failpoint("inventory.restock.claimed")
    arrived = [each for each in first.values() if each.restock_id in fresh]
    states = await _lock_states(tx, [each.order_id for each in arrived])
    shipped = [order_id for order_id, state in states.items() if state is ReservationState.SHIPPED]
    allocations = await _list_allocations(tx, shipped)
    shelves = await lock_shelves(tx, {each.sku for made in allocations.values() for each in made})
    await failpoint("inventory.restock.locked")
    decided = await _restock(tx, arrived, allocations, shelves)
    await failpoint("inventory.restock.before_commit")
    rows = await tx.fetch(
        "SELECT restock_id, fingerprint, refusal FROM restocks WHERE restock_id = ANY($1::uuid[])",
        [restock_id for restock_id in first if restock_id not in fresh],
    )
    known = {each.restock_id: (each.fingerprint, decided[each.restock_id]) for each in arrived}
    for row in rows:
        kept = row["refusal"]
        refusal = None if kept is None else Refusal.from_status(status_pb2.Status.FromString(kept))
        known[row["restock_id"]] = (row["fingerprint"], refusal)
    return [
        known[each.restock_id][1]
        if known[each.restock_id][0] == each.fingerprint
        else ReservationConflict("the restock was asked for before with other content")
        for each in wanted
    ]


async def _restock(
    tx: asyncpg.Connection,
    arrived: Sequence[RestockWanted],
    allocations: dict[UUID, Reserved],
    shelves: rules.Shelves,
) -> dict[UUID, Refusal | None]:
    decided: dict[UUID, Refusal | None] = {}
    moved: list[Movement] = []
    returned: list[tuple[UUID, int, int]] = []
    for each in arrived:
        made = allocations.get(each.order_id)
        if made is None:
            decided[each.restock_id] = ReservationNotFound("nothing of the order was shipped")
            continue
        try:
            back = rules.restock(each.lines, made)
        except Refusal as refusal:
            decided[each.restock_id] = refusal
            continue
        decided[each.restock_id] = None
        returned += [(each.order_id, place, units) for place, units in enumerate(back) if units]
        pairs = list(zip(made, back, strict=True))
        moved += rules.movements(
            MovementKind.RESTOCKED, each.order_id, [(was.sku, was.warehouse_id, units) for was, units in pairs]
        )
        allocations[each.order_id] = tuple(
            Allocation(was.line_number, was.sku, was.warehouse_id, was.quantity, was.restocked + units)
            for was, units in pairs
        )
    await _save_restocks(tx, decided, returned)
    await _save_movements(tx, shelves, moved)
    return decided


async def _save_restocks(
    tx: asyncpg.Connection, decided: Mapping[UUID, Refusal | None], returned: Sequence[tuple[UUID, int, int]]
) -> None:
    open_ids = [each for each, answer in decided.items() if isinstance(answer, ReservationNotFound)]
    if open_ids:
        await tx.execute("DELETE FROM restocks WHERE restock_id = ANY($1::uuid[])", open_ids)
    refused = {each: answer for each, answer in decided.items() if answer is not None and each not in set(open_ids)}
    if refused:
        await tx.execute(
            "UPDATE restocks r SET refusal = d.refusal FROM unnest($1::uuid[], $2::bytea[]) AS d (restock_id, refusal)"
            " WHERE r.restock_id = d.restock_id",
            list(refused),
            [idempotency.serialize(answer) for answer in refused.values()],
        )
    if returned:
        # Two restocks of one batch may bring back parts of one line, so the units are summed before the join.
        await tx.execute(
            "UPDATE reservation_lines l SET restocked = l.restocked + d.units FROM ("
            " SELECT order_id, place, sum(units)::int AS units"
            " FROM unnest($1::uuid[], $2::int[], $3::int[]) AS b (order_id, place, units) GROUP BY order_id, place"
            ") AS d WHERE l.order_id = d.order_id AND l.place = d.place",
            [order_id for order_id, _, _ in returned],
            [place for _, place, _ in returned],
            [units for _, _, units in returned],
        )


# Adjust


async def save_adjusted(tx: asyncpg.Connection, adjustments: Sequence[Adjustment]) -> list[Shelf | Refusal]:
    """Change the units on hand of many SKUs, one after the other.

    Returns one entry per adjustment, in their order: the shelf after it, or StockBelowReserved, StockTooLarge or
    WarehouseNotFound, which leave the others alone.
    """
    known = set(await list_warehouse_ids(tx))
    wanted = sorted({each.sku for each in adjustments if each.warehouse_id in known})
    await tx.execute(
        'INSERT INTO skus (sku) SELECT sku FROM unnest($1::text[]) AS s (sku) ORDER BY sku COLLATE "C"'
        " ON CONFLICT DO NOTHING",
        wanted,
    )
    await failpoint("inventory.adjust.claimed")
    shelves = await lock_shelves(tx, wanted)
    await failpoint("inventory.adjust.locked")
    now = dict(shelves)
    answers: list[Shelf | Refusal] = []
    moved: list[Movement] = []
    for each in adjustments:
        try:
            if each.warehouse_id not in known:
                raise WarehouseNotFound(f"no warehouse {each.warehouse_id}", warehouse_id=each.warehouse_id)
            movement = rules.adjust(now[each.sku], warehouse_id=each.warehouse_id, delta=each.delta, reason=each.reason)
        except Refusal as refusal:
            answers.append(refusal)
            continue
        now[each.sku] = rules.move(now[each.sku], movement)
        moved.append(movement)
        answers.append(now[each.sku])
    await _save_movements(tx, shelves, moved)
    await failpoint("inventory.adjust.before_commit")
    return answers


# Stock and journal


async def lock_shelves(tx: asyncpg.Connection, skus: Iterable[str]) -> dict[str, Shelf]:
    """Lock SKUs in key order and return their shelves; a SKU that never had stock is left out.

    The levels are read by a second statement: a statement that waited for a lock still sees the levels of before.
    """
    # Only printable ASCII can have stock, and some of the rest (NUL) Postgres does not even take.
    wanted = [sku for sku in skus if sku.isascii() and sku.isprintable()]
    if not wanted:
        return {}
    rows = await tx.fetch("SELECT sku, version FROM skus WHERE sku = ANY($1::text[]) ORDER BY sku FOR UPDATE", wanted)
    versions: dict[str, int] = {row["sku"]: row["version"] for row in rows}
    return await _read_shelves(tx, versions)


async def find_shelf(connection: asyncpg.Connection, sku: str) -> Shelf:
    """Return the shelf of a SKU, empty where it never had stock."""
    rows = await connection.fetch(
        "SELECT k.version, s.warehouse_id, s.on_hand, s.reserved FROM skus k LEFT JOIN stock s USING (sku)"
        " LEFT JOIN warehouses w USING (warehouse_id) WHERE k.sku = $1 ORDER BY w.priority, w.warehouse_id",
        sku,
    )
    levels = tuple(Level(*row[1:]) for row in rows if row["warehouse_id"] is not None)
    return Shelf(sku, rows[0]["version"] if rows else 0, levels)


async def list_warehouse_ids(connection: asyncpg.Connection) -> list[str]:
    """Return the codes of the warehouses in the order in which orders draw from them."""
    rows = await connection.fetch("SELECT warehouse_id FROM warehouses ORDER BY priority, warehouse_id")
    return [row["warehouse_id"] for row in rows]


async def list_movements(
    connection: asyncpg.Connection, sku: str, *, before: int | None, limit: int
) -> list[StoredMovement]:
    """Return at most `limit` entries of a SKU's journal below a version, the newest first."""
    rows = await connection.fetch(
        "SELECT sku, warehouse_id, kind, on_hand_delta, reserved_delta, order_id, reason, version, recorded_at"
        " FROM stock_movements WHERE sku = $1 AND ($2::bigint IS NULL OR version < $2) ORDER BY version DESC LIMIT $3",
        sku,
        before,
        limit,
    )
    return [
        StoredMovement(
            Movement(row[0], row[1], MovementKind(row[2]), row[3], row[4], row[5], row[6]), row["version"], row[8]
        )
        for row in rows
    ]


async def _read_shelves(tx: asyncpg.Connection, versions: Mapping[str, int]) -> dict[str, Shelf]:
    levels: dict[str, list[Level]] = {sku: [] for sku in versions}
    rows = await tx.fetch(
        "SELECT s.sku, s.warehouse_id, s.on_hand, s.reserved FROM stock s JOIN warehouses w USING (warehouse_id)"
        " WHERE s.sku = ANY($1::text[]) ORDER BY w.priority, w.warehouse_id",
        list(versions),
    )
    for sku, *rest in rows:
        levels[sku].append(Level(*rest))
    return {sku: Shelf(sku, version, tuple(levels[sku])) for sku, version in versions.items()}


async def _save_movements(tx: asyncpg.Connection, shelves: rules.Shelves, moved: Sequence[Movement]) -> None:
    """Write what movements change: levels, journal, versions, and one event per journal entry."""
    if not moved:
        return
    entries = rules.post(shelves, moved)
    await _save_levels(tx, moved)
    await tx.execute(
        "INSERT INTO stock_movements"
        " (sku, version, kind, warehouse_id, on_hand_delta, reserved_delta, order_id, reason)"
        " SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::int[], $6::int[],"
        " $7::uuid[], $8::text[])",
        [each.sku for each in moved],
        [entry.version for entry in entries],
        [int(each.kind) for each in moved],
        [each.warehouse_id for each in moved],
        [each.on_hand_delta for each in moved],
        [each.reserved_delta for each in moved],
        [each.order_id for each in moved],
        [each.reason for each in moved],
    )
    newest = {entry.movement.sku: entry.version for entry in entries}
    await tx.execute(
        "UPDATE skus k SET version = v.version FROM unnest($1::text[], $2::bigint[]) AS v (sku, version)"
        " WHERE k.sku = v.sku",
        list(newest),
        list(newest.values()),
    )
    await outbox.append(tx, [_event(entry) for entry in entries])


async def _save_levels(tx: asyncpg.Connection, moved: Sequence[Movement]) -> None:
    sums: dict[tuple[str, str], list[int]] = {}
    for each in moved:
        level = sums.setdefault((each.sku, each.warehouse_id), [0, 0])
        level[0] += each.on_hand_delta
        level[1] += each.reserved_delta
    columns = (
        [sku for sku, _ in sums],
        [warehouse_id for _, warehouse_id in sums],
        [on_hand for on_hand, _ in sums.values()],
        [reserved for _, reserved in sums.values()],
    )
    if any(each.kind is MovementKind.ADJUSTED for each in moved):
        # Only an adjustment can be the first of a SKU in a warehouse.
        await tx.execute(
            "INSERT INTO stock (sku, warehouse_id) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
            *columns[:2],
        )
    result = await tx.execute(
        "UPDATE stock s SET on_hand = s.on_hand + d.on_hand, reserved = s.reserved + d.reserved"
        " FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS d (sku, warehouse_id, on_hand, reserved)"
        " WHERE s.sku = d.sku AND s.warehouse_id = d.warehouse_id",
        *columns,
    )
    if int(result.split()[-1]) != len(sums):
        raise AssertionError(f"{result} for {len(sums)} levels: a movement has no stock row")


def _event(entry: Entry) -> outbox.Event:
    each = entry.movement
    payload = events_pb2.StockChanged(
        sku=each.sku,
        kind=int(each.kind),  # type: ignore[arg-type]
        warehouse_id=each.warehouse_id,
        on_hand_delta=each.on_hand_delta,
        reserved_delta=each.reserved_delta,
        on_hand=entry.on_hand,
        reserved=entry.reserved,
        order_id=str(each.order_id) if each.order_id else "",
    )
    return outbox.Event(TOPIC, STOCK_CHANGED, each.sku, entry.version, payload.SerializeToString())
