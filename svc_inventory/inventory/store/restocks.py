"""Restocks: units of shipped orders that came back, once per restock id.

The only writer of `restocks`, and of how much came back of each reserved line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from google.rpc import status_pb2

from mesh import idempotency
from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_inventory.errors import ReservationConflict, ReservationNotFound
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import Allocation, Line, Movement, MovementKind, ReservationState
from svc_inventory.inventory.store.journal import save_movements
from svc_inventory.inventory.store.reservations import Reserved, list_allocations, lock_states
from svc_inventory.inventory.store.shelves import lock_shelves


@dataclass(frozen=True, slots=True)
class RestockWanted:
    """Units of an order that came back; no lines mean everything that has not come back yet."""

    restock_id: UUID
    order_id: UUID
    fingerprint: bytes
    lines: tuple[Line, ...]


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
    states = await lock_states(tx, [each.order_id for each in arrived])
    shipped = [order_id for order_id, state in states.items() if state is ReservationState.SHIPPED]
    allocations = await list_allocations(tx, shipped)
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
    await save_movements(tx, shelves, moved)
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
