"""Orders made again from their journals, on real Postgres: what every kind of order was, it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from mesh import projections
from svc_order.order.projection import ORDERS
from tests.svc_order.conftest import Shop
from tests.svc_order.order.test_rpc import SUPPORT, cancel, captured, give_back, imported, read, refund, refused, ship


@pytest.fixture
async def keeper(shop: Shop) -> AsyncIterator[asyncpg.Connection]:
    connection = await shop.db.connect_alone("rebuild")
    yield connection
    await connection.close()


async def every_kind(shop: Shop) -> list[str]:
    """Return orders that are confirmed, refused, cancelled, shipped, returned, refunded, imported, and of a cart."""
    user = uuid4()
    orders = [await captured(shop, user) for _ in range(4)]
    await cancel(shop, orders[0].order_id, user, "changed my mind")
    for order in orders[1:3]:
        await ship(shop, order.order_id, "T1")
    await give_back(shop, orders[1].order_id, [(1, 1), (2, 1)])
    await refund(shop, orders[2].order_id, user, roles=SUPPORT)
    assert "OUT_OF_STOCK" == await refused(shop.place(user, lines=[("mug", 10_000)]))
    return [*(order.order_id for order in orders), await imported(shop, user)]


async def set_column(shop: Shop, order_id: str, change: str) -> None:
    async with shop.db.hot() as tx:
        await tx.execute(f"UPDATE orders SET {change} WHERE order_id = $1", UUID(order_id))


async def test_orders_that_are_made_again_are_what_they_were(shop: Shop, keeper: asyncpg.Connection) -> None:
    """Whole rows, of every kind of order, in steps; an owner sees no difference."""
    user = uuid4()
    mine = (await captured(shop, user)).order_id
    before = await read(shop, mine, user)
    await every_kind(shop)
    told: list[tuple[int, int]] = []
    outcome = await projections.rebuild(keeper, ORDERS, lambda done, of: told.append((done, of)))
    assert outcome.same, outcome.differences
    assert told[-1][0] == told[-1][1] and before == await read(shop, mine, user)
    assert outcome.rows >= 7 and outcome.entries > outcome.rows


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("refunded_minor = 1", "refunded_minor"),
        ("lines = jsonb_set(lines, '{0,5}', '9')", "lines"),
        ("returned = '{\"1\": 1}'", "returned"),
        ("sealed = '\\x00'", "sealed"),
        ("effective_at = effective_at - interval '1 microsecond'", "effective_at"),
        ("status = 'SHIPPED', version = version + 1", "status, version"),
    ],
)
async def test_a_row_that_was_tampered_with_is_found_and_made_again(
    shop: Shop, keeper: asyncpg.Connection, change: str, column: str
) -> None:
    """Each by its order and the columns that differ."""
    order_id = (await captured(shop, uuid4())).order_id
    await set_column(shop, order_id, change)
    found = await projections.compare(keeper, ORDERS)
    assert (f"orders {order_id}: {column} differ from the journal",) == found.differences
    assert not (await projections.rebuild(keeper, ORDERS)).same
    assert (await projections.compare(keeper, ORDERS)).same


async def test_a_journal_with_a_gap_leaves_the_orders_alone(shop: Shop, keeper: asyncpg.Connection) -> None:
    """What can't be folded is not guessed at."""
    order_id = (await captured(shop, uuid4())).order_id
    broken: Any = keeper.transaction()
    await broken.start()
    await keeper.execute(
        "INSERT INTO order_events SELECT order_id, 9, type, payload, sealed, recorded_at, effective_at"
        " FROM order_events WHERE order_id = $1 AND version = 2",
        UUID(order_id),
    )
    for table in ORDERS.tables:
        await keeper.execute(f"CREATE TEMPORARY TABLE {table.draft} (LIKE {table.name})")
    with pytest.raises(ValueError, match=f"the journal of {order_id} breaks at version 9"):
        await ORDERS.draft(keeper, lambda done, of: None)
    await broken.rollback()
