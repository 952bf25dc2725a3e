"""WarehouseService through the real chain, on a real Postgres."""

from __future__ import annotations

import grpc
import pytest

from tests.harness import as_user, reason_of
from titan.inventory.v1 import warehouse_pb2
from titan.inventory.v1 import warehouse_service_pb2 as pb


async def create(shop, code: str, title: str = "Somewhere", priority: int = 5, metadata=None):
    warehouse = warehouse_pb2.Warehouse(warehouse_id=code, title=title, priority=priority)
    request = pb.CreateWarehouseRequest(warehouse=warehouse)
    return (await shop.warehouses.CreateWarehouse(request, metadata=metadata or shop.admin)).warehouse


async def codes(shop) -> list[str]:
    response = await shop.warehouses.ListWarehouses(pb.ListWarehousesRequest(), metadata=shop.admin)
    return [each.warehouse_id for each in response.warehouses]


async def test_warehouses_are_listed_in_the_order_in_which_orders_draw_from_them(shop):
    """`main` is there from the start; the lowest priority comes first, then the code."""
    await create(shop, "north", priority=200)
    await create(shop, "b-close", priority=1)
    await create(shop, "a-close", priority=1)
    assert ["a-close", "b-close", "main", "north"] == await codes(shop)


async def test_create_warehouse_again_gives_the_same_answer(shop):
    """The content is its own key."""
    assert await create(shop, "twice") == await create(shop, "twice")


async def test_create_warehouse_refuses_a_code_that_stands_for_another(shop):
    """Other content under the same code changes nothing."""
    await create(shop, "taken")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(shop, "taken", title="Elsewhere")
    assert "WAREHOUSE_EXISTS" == reason_of(refusal.value)


async def test_create_warehouse_refuses_the_hundred_and_first(shop, db):
    """The list of warehouses is never longer than a hundred."""
    async with db.hot() as tx:
        await tx.execute(
            "INSERT INTO warehouses SELECT 'many-' || n, 'Many', 900"
            " FROM generate_series(1, 100 - (SELECT count(*)::int FROM warehouses)) n"
        )
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(shop, "one-more")
    assert "TOO_MANY_WAREHOUSES" == reason_of(refusal.value)
    assert 100 == len(await codes(shop))


@pytest.mark.parametrize(("code", "title"), [("", "x"), ("Upper", "x"), ("ok", ""), ("ok", "a\x00b"), ("-a", "x")])
async def test_create_warehouse_refuses_input_outside_the_contract(shop, code, title):
    """Codes are typed by people into addresses and labels."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(shop, code, title)
    assert "INVALID_INPUT" == reason_of(refusal.value)


async def test_only_an_admin_adds_a_warehouse(shop):
    """The people of a warehouse do not."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await create(shop, "mine", metadata=as_user(roles=("warehouse",)))
    assert "ACCESS_DENIED" == reason_of(refusal.value)
