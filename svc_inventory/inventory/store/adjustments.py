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
    """One change of the units on hand that somebody asks for: by `delta`, or to what they `counted`."""

    sku: str
    warehouse_id: str
    delta: int
    reason: str
    counted: int | None = None


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A SKU after an adjustment, and by how many units that changed it."""

    shelf: Shelf
    delta: int


async def save_adjusted(
    tx: asyncpg.Connection, adjustments: Sequence[Adjustment], *, validate_only: bool = False
) -> list[Adjusted | Refusal]:
    """Change the units on hand of many SKUs, one after the other; or only say what would become of each.

    Returns one entry per adjustment, in their order: what it did, or StockBelowReserved, StockTooLarge or
    WarehouseNotFound, which leave the others alone. What is counted as it is moves nothing.
    """
    known = set(await list_warehouse_ids(tx))
    wanted = sorted({each.sku for each in adjustments if each.warehouse_id in known})
    if not validate_only:
        await tx.execute(
            'INSERT INTO skus (sku) SELECT sku FROM unnest($1::text[]) AS s (sku) ORDER BY sku COLLATE "C"'
            " ON CONFLICT DO NOTHING",
            wanted,
        )
    await failpoint("inventory.adjust.claimed")
    shelves = await lock_shelves(tx, wanted)
    await failpoint("inventory.adjust.locked")
    now = {sku: shelves.get(sku) or Shelf(sku, 0) for sku in wanted}
    answers: list[Adjusted | Refusal] = []
    moved: list[Movement] = []
    for each in adjustments:
        try:
            if each.warehouse_id not in known:
                raise WarehouseNotFound(f"no warehouse {each.warehouse_id}", warehouse_id=each.warehouse_id)
            shelf = now[each.sku]
            delta = each.delta if each.counted is None else rules.delta_to(shelf, each.warehouse_id, each.counted)
            if delta:
                movement = rules.adjust(shelf, warehouse_id=each.warehouse_id, delta=delta, reason=each.reason)
                now[each.sku] = rules.move(shelf, movement)
                moved.append(movement)
        except Refusal as refusal:
            answers.append(refusal)
            continue
        answers.append(Adjusted(now[each.sku], delta))
    if not validate_only:
        await save_movements(tx, shelves, moved)
        await failpoint("inventory.adjust.before_commit")
    return answers
