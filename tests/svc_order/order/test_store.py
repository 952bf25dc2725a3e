"""What the store gives for what its caller knows already."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from svc_order.order import store
from tests.svc_order.conftest import Shop


async def test_a_known_order_is_the_stored_one_and_a_changed_one_is_read_again(shop: Shop):
    """The caller's copy counts while nothing has changed; a version further, the row does."""
    order_id = UUID((await shop.place()).order_id)
    async with shop.db.hot() as tx:
        stored = (await store.lock_orders(tx, [order_id]))[order_id]
        old = replace(stored, version=stored.version - 1, total_minor=0)
        assert {order_id: stored} == await store.lock_known(tx, [stored])
        assert {order_id: stored} == await store.lock_known(tx, [old])


async def test_an_order_as_it_was_placed_is_the_one_that_is_stored(shop: Shop, monkeypatch):
    """To the microsecond: the saga decides from what was recorded, without reading it again."""
    placed = []
    begin = shop.saga.start
    monkeypatch.setattr(shop.saga, "start", lambda order, *more: (placed.append(order), begin(order, *more)))
    await shop.place(lines=[("mug", 2), ("tea", 1)])
    (order,) = placed
    async with shop.db.hot() as tx:
        stored = (await store.lock_orders(tx, [order.order_id]))[order.order_id]
    changed = {"status", "allocations", "version", "updated_at"}
    fields = {name: getattr(stored, name) for name in stored.__slots__ if name not in changed}
    assert fields == {name: getattr(order, name) for name in fields}
