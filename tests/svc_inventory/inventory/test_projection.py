"""Stock made again from its movements."""

from __future__ import annotations

from uuid import uuid4

import pytest

from mesh import projections
from svc_inventory.inventory.store.projection import STOCK
from titan.inventory.v1 import inventory_service_pb2 as pb


@pytest.fixture
async def keeper(db):
    connection = await db.connect_alone("rebuild")
    yield connection
    await connection.close()


async def busy(shop) -> str:
    """Return a SKU that was delivered, held, let go, shipped and brought back, among others."""
    sku = await shop.given(20)
    held, gone, away = (str(uuid4()) for _ in range(3))
    await shop.reserve((held, [(sku, 3)]), (gone, [(sku, 2)]), (away, [(sku, 5), (await shop.given(1), 1)]))
    await shop.release(gone)
    await shop.ship(away)
    line = pb.ReservationLine(line_number=1, sku=sku, quantity=2)
    await shop.restock(pb.Restock(restock_id=str(uuid4()), order_id=away, lines=[line]))
    return sku


async def test_stock_that_is_made_again_is_what_it_was(shop, keeper):
    """Every level and every version; the next order goes on from there."""
    sku = await busy(shop)
    before = await shop.stock(sku)
    outcome = await projections.rebuild(keeper, STOCK)
    assert outcome.same, outcome.differences
    assert (17, 3, 14) == before == await shop.stock(sku)
    await shop.reserve((str(uuid4()), [(sku, 14)]))
    assert (17, 17, 0) == await shop.stock(sku)
    assert (await projections.compare(keeper, STOCK)).same


async def test_a_level_that_was_tampered_with_is_found_and_made_again(shop, keeper, db):
    """Units out of nowhere, and a version that would burn the next movement's place."""
    sku, other = await busy(shop), await busy(shop)
    async with db.hot() as tx:
        await tx.execute("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = $1", sku)
        await tx.execute("UPDATE skus SET version = version + 1 WHERE sku = $1", other)
    wrong = {f"stock {sku}/main: on_hand differ from the journal", f"skus {other}: version differ from the journal"}
    assert wrong == set((await projections.compare(keeper, STOCK)).differences)
    assert wrong == set((await projections.rebuild(keeper, STOCK)).differences)
    assert (17, 3, 14) == await shop.stock(sku)
    assert (await projections.compare(keeper, STOCK)).same


async def test_a_sku_that_was_never_moved_is_no_difference(shop, keeper, db):
    """Its row only waits to be locked."""
    async with db.hot() as tx:
        await tx.execute("INSERT INTO skus (sku) VALUES ($1)", f"sku {uuid4().hex}")
    assert (await projections.compare(keeper, STOCK)).same


async def test_movements_with_a_gap_are_no_journal(shop, keeper):
    sku = await shop.given(1)
    transaction = keeper.transaction()
    await transaction.start()
    await keeper.execute(
        "INSERT INTO stock_movements (sku, version, kind, warehouse_id, on_hand_delta, reserved_delta)"
        " VALUES ($1, 3, 1, 'main', 1, 0)",
        sku,
    )
    with pytest.raises(ValueError, match=f"the journal of {sku} has a gap"):
        await STOCK.draft(keeper, lambda done, of: None)
    await transaction.rollback()
