"""Adjustments: units on hand as somebody counted or received them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_inventory.errors import WarehouseNotFound
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import Movement, Shelf
from svc_inventory.inventory.store.journal import save_movements
from svc_inventory.inventory.store.shelves import list_warehouse_ids, lock_shelves


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change of the units on hand that somebody asks for."""

    sku: str
    warehouse_id: str
    delta: int
    reason: str


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
    await save_movements(tx, shelves, moved)
    await failpoint("inventory.adjust.before_commit")
    return answers
