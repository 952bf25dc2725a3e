"""Movements: the journal of stock, and all that each entry changes with it.

The only writer of `stock` and `stock_movements`, and of the versions in `skus`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from mesh import outbox
from mesh.writes import Write, write
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import Entry, Movement, MovementKind
from titan.inventory.v1 import events_pb2

TOPIC = "titan.inventory.v1"
STOCK_CHANGED = "titan.inventory.v1.StockChanged"

_SAVE_LEVELS = """
UPDATE stock s SET on_hand = s.on_hand + d.on_hand, reserved = s.reserved + d.reserved
FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS d (sku, warehouse_id, on_hand, reserved)
WHERE s.sku = d.sku AND s.warehouse_id = d.warehouse_id
RETURNING s.sku
"""
_INSERT_MOVEMENTS = """
INSERT INTO stock_movements (sku, version, kind, warehouse_id, on_hand_delta, reserved_delta, order_id, reason)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::int[], $6::int[], $7::uuid[], $8::text[])
"""
_SAVE_VERSIONS = """
UPDATE skus k SET version = v.version FROM unnest($1::text[], $2::bigint[]) AS v (sku, version) WHERE k.sku = v.sku
"""


@dataclass(frozen=True, slots=True)
class StoredMovement:
    """One entry of the journal as it was recorded."""

    movement: Movement
    version: int
    recorded_at: datetime


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


async def save_movements(
    tx: asyncpg.Connection,
    shelves: rules.Shelves,
    moved: Sequence[Movement],
    also: Sequence[Write | None] = (),
) -> None:
    """Write what movements change: levels, journal, versions, and one event per journal entry.

    `also` is what the caller has to write beside it, elsewhere.
    """
    if not moved:
        await write(tx, *also)
        return
    entries = rules.post(shelves, moved)
    if any(each.kind is MovementKind.ADJUSTED for each in moved):
        # Only an adjustment can be the first of a SKU in a warehouse.
        await tx.execute(
            "INSERT INTO stock (sku, warehouse_id) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
            [each.sku for each in moved],
            [each.warehouse_id for each in moved],
        )
    newest = {entry.movement.sku: entry.version for entry in entries}
    levels = _sums(moved)
    rows = await write(
        tx,
        *also,
        _leveling(levels),
        _entering(entries),
        Write(_SAVE_VERSIONS, (list(newest), list(newest.values()))),
        outbox.appending([_event(entry) for entry in entries]),
        returning="SELECT count(*) AS found FROM leveled",
    )
    if rows[0]["found"] != len(levels):
        raise AssertionError(f"{rows[0]['found']} of {len(levels)} levels: a movement has no stock row")


def _sums(moved: Sequence[Movement]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return by how much movements change each level: (on hand, reserved) by (SKU, warehouse)."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for each in moved:
        on_hand, reserved = sums.get((each.sku, each.warehouse_id), (0, 0))
        sums[each.sku, each.warehouse_id] = (on_hand + each.on_hand_delta, reserved + each.reserved_delta)
    return sums


def _leveling(sums: Mapping[tuple[str, str], tuple[int, int]]) -> Write:
    return Write(
        _SAVE_LEVELS,
        (
            [sku for sku, _ in sums],
            [warehouse_id for _, warehouse_id in sums],
            [on_hand for on_hand, _ in sums.values()],
            [reserved for _, reserved in sums.values()],
        ),
        name="leveled",
    )


def _entering(entries: Sequence[Entry]) -> Write:
    moved = [entry.movement for entry in entries]
    return Write(
        _INSERT_MOVEMENTS,
        (
            [each.sku for each in moved],
            [entry.version for entry in entries],
            [int(each.kind) for each in moved],
            [each.warehouse_id for each in moved],
            [each.on_hand_delta for each in moved],
            [each.reserved_delta for each in moved],
            [each.order_id for each in moved],
            [each.reason for each in moved],
        ),
    )


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
