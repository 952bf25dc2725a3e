"""InventoryService through the real chain, on a real Postgres: every answer and every refusal."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import grpc
import pytest

from mesh.refusals import Refusal
from mesh.seams import failpoints
from tests.harness import as_user, reason_of, refusal_in
from tests.svc_inventory.conftest import reservation
from titan.inventory.v1 import events_pb2, stock_pb2, warehouse_pb2, warehouse_service_pb2
from titan.inventory.v1 import inventory_service_pb2 as pb


def new_id() -> str:
    return str(uuid4())


def reason(result) -> str:
    """The reason inside a result of a batch, empty where it was done."""
    return Refusal.from_status(result.error).reason if result.HasField("error") else ""


async def refused(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


async def test_get_stock_of_an_unknown_sku_is_zero_everywhere(shop):
    """Nobody has to tell the inventory about a SKU before asking."""
    assert (0, 0, 0) == await shop.stock("never heard of")


async def test_adjust_stock_changes_the_units_on_hand(shop):
    """The answer is the stock after it, by warehouse."""
    sku = await shop.given(10)
    stock = await shop.adjust(sku, -3, reason="broken")
    assert (7, 0, 7) == (stock.on_hand, stock.reserved, stock.available)
    assert [("main", 7)] == [(each.warehouse_id, each.on_hand) for each in stock.warehouses]
    assert "2" == stock.etag


async def test_skus_differ_by_case_alone(shop):
    """Stock codes of real shops do."""
    name = f"case-{uuid4().hex[:8]}"
    await shop.adjust(name + "a", 1)
    await shop.adjust(name + "A", 2)
    assert [1, 2] == [(await shop.stock(name + letter))[0] for letter in "aA"]


async def test_adjust_stock_again_gives_the_same_answer(shop):
    """The second call with the key moves nothing, whatever happened in between."""
    sku = await shop.given(10)
    first = await shop.adjust(sku, 5, request_id=(key := uuid4().hex))
    await shop.adjust(sku, 1)
    assert first == await shop.adjust(sku, 5, request_id=key)
    assert 16 == (await shop.stock(sku))[0]


async def test_adjust_stock_knows_the_default_warehouse_by_its_name(shop):
    """Left out or written out, it is the same request."""
    sku = await shop.given(10)
    first = await shop.adjust(sku, 5, request_id=(key := uuid4().hex))
    assert first == await shop.adjust(sku, 5, request_id=key, warehouse_id="main")


async def test_adjust_stock_refuses_a_key_with_another_body(shop):
    """The key belongs to what it was first used for."""
    sku = await shop.given(10)
    await shop.adjust(sku, 5, request_id=(key := uuid4().hex))
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(shop.adjust(sku, 6, request_id=key))


async def test_adjust_stock_refuses_a_call_without_a_key(shop):
    """A call that moves stock has to be repeatable."""
    request = pb.AdjustStockRequest(sku="a", delta=1)
    call = shop.inventory.AdjustStock(request, metadata=shop.admin)
    assert "IDEMPOTENCY_KEY_REQUIRED" == await refused(call)


async def test_adjust_stock_refuses_to_go_below_what_orders_hold_and_keeps_that_answer(shop, order_id):
    """The refusal is the answer to its key, also after the order has let go."""
    sku = await shop.given(5)
    await shop.reserve((order_id, [(sku, 4)]))
    key = uuid4().hex
    assert "STOCK_BELOW_RESERVED" == await refused(shop.adjust(sku, -2, request_id=key))
    await shop.release(order_id)
    assert "STOCK_BELOW_RESERVED" == await refused(shop.adjust(sku, -2, request_id=key))
    assert (5, 0, 5) == await shop.stock(sku)


async def test_adjust_stock_refuses_more_than_a_thousand_million(shop, db):
    """The units of a SKU fit the contract's numbers."""
    sku = await shop.given(1)
    async with db.hot() as tx:
        await tx.execute("UPDATE stock SET on_hand = 1000000000 WHERE sku = $1", sku)
    assert "STOCK_TOO_LARGE" == await refused(shop.adjust(sku, 1))


async def test_adjust_stock_refuses_an_unknown_warehouse(shop):
    """A typing error does not open a warehouse."""
    assert "WAREHOUSE_NOT_FOUND" == await refused(shop.adjust("a", 1, warehouse_id="nowhere"))


@pytest.mark.parametrize(
    "bad",
    [
        {"sku": ""},
        {"sku": "a\x00b"},
        {"sku": "x" * 65},
        {"delta": 0},
        {"delta": 1_000_001},
        {"delta": -2_000_000},
        {"reason": "x" * 201},
        {"reason": "a\x00b"},
        {"warehouse_id": "NOT A CODE"},
    ],
)
async def test_adjust_stock_refuses_input_outside_the_contract(shop, bad):
    """And changes nothing."""
    request = pb.AdjustStockRequest(**{"sku": "fine", "delta": 1, "request_id": uuid4().hex, **bad})
    assert "INVALID_INPUT" == await refused(shop.inventory.AdjustStock(request, metadata=shop.admin))
    assert (0, 0, 0) == await shop.stock("fine")


async def test_a_customer_may_not_see_or_change_stock(shop):
    """Stock belongs to the people of the shop."""
    shopper = as_user(uuid4())
    assert "ACCESS_DENIED" == await refused(shop.inventory.GetStock(pb.GetStockRequest(sku="a"), metadata=shopper))
    assert "ACCESS_DENIED" == await refused(
        shop.inventory.AdjustStock(pb.AdjustStockRequest(sku="a", delta=1, request_id="k"), metadata=shopper)
    )
    assert "ACCESS_DENIED" == await refused(
        shop.inventory.BatchRelease(pb.BatchReleaseRequest(order_ids=[new_id()]), metadata=shopper)
    )


async def test_batch_adjust_answers_each_adjustment_by_itself(shop):
    """A refused one leaves its neighbours alone; the same SKU twice is two changes, one after the other."""
    sku, other = await shop.given(1), f"new {uuid4().hex[:8]}"
    request = pb.BatchAdjustStockRequest(
        request_id=uuid4().hex,
        adjustments=[
            pb.StockAdjustment(sku=sku, delta=5),
            pb.StockAdjustment(sku=sku, delta=-7),
            pb.StockAdjustment(sku=other, delta=3, warehouse_id="nowhere"),
            pb.StockAdjustment(sku=other, delta=4, reason="arrived"),
            pb.StockAdjustment(sku=sku, delta=-6),
        ],
    )
    response = await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    results = [each.stock.on_hand if each.HasField("stock") else reason(each) for each in response.results]
    assert [6, "STOCK_BELOW_RESERVED", "WAREHOUSE_NOT_FOUND", 4, 0] == results
    assert response == await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    assert (0, 4) == ((await shop.stock(sku))[0], (await shop.stock(other))[0])


async def test_an_adjustment_that_changed_nothing_is_no_accepted_command(shop, db):
    """Nor is a batch all of whose adjustments are refused; one adjustment that counts makes it one."""
    sku = await shop.given(1)

    async def entries() -> int:
        async with db.hot_read() as connection:
            return await connection.fetchval("SELECT count(*) FROM audit_entries WHERE outcome = 'ACCEPTED'")

    before = await entries()
    assert "STOCK_BELOW_RESERVED" == await refused(shop.adjust(sku, -9))
    for deltas, more in (([-7, -8], 0), ([-7, 5], 1)):
        adjustments = [pb.StockAdjustment(sku=sku, delta=delta) for delta in deltas]
        request = pb.BatchAdjustStockRequest(request_id=uuid4().hex, adjustments=adjustments)
        await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
        assert before + more == await entries()


async def test_batch_adjust_refuses_more_than_a_thousand_million(shop, db):
    """Of one SKU, and by itself."""
    sku, other = await shop.given(1), await shop.given(1)
    async with db.hot() as tx:
        await tx.execute("UPDATE stock SET on_hand = 1000000000 WHERE sku = $1", sku)
    adjustments = [pb.StockAdjustment(sku=each, delta=1) for each in (sku, other)]
    request = pb.BatchAdjustStockRequest(request_id=uuid4().hex, adjustments=adjustments)
    response = await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    assert ["STOCK_TOO_LARGE", ""] == [reason(each) for each in response.results]
    assert 2 == (await shop.stock(other))[0]


async def test_batch_adjust_needs_a_key_and_keeps_it_to_what_it_was_used_for(shop):
    """Nothing moves for a call without one, or for another body under it."""
    sku = await shop.given(1)
    request = pb.BatchAdjustStockRequest(adjustments=[pb.StockAdjustment(sku=sku, delta=1)])
    call = shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    assert "IDEMPOTENCY_KEY_REQUIRED" == await refused(call)
    request.request_id = uuid4().hex
    await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    request.adjustments[0].delta = 2
    call = shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(call)
    assert 2 == (await shop.stock(sku))[0]


async def test_batch_adjust_takes_a_thousand_skus(shop):
    """As many as the importer sends at once."""
    prefix = uuid4().hex[:8]
    request = pb.BatchAdjustStockRequest(
        request_id=uuid4().hex,
        adjustments=[pb.StockAdjustment(sku=f"{prefix}-{n}", delta=1000) for n in range(1000)],
    )
    response = await shop.inventory.BatchAdjustStock(request, metadata=shop.admin)
    assert {1000} == {each.stock.available for each in response.results}


async def test_reserve_holds_the_units_of_an_order(shop, order_id):
    """Reserved rises, on hand stays."""
    sku = await shop.given(10)
    [result] = await shop.reserve((order_id, [(sku, 3), (sku, 1)]))
    assert "" == reason(result) and order_id == result.order_id
    expected = [(1, sku, "main", 3), (2, sku, "main", 1)]
    assert expected == [(a.line_number, a.sku, a.warehouse_id, a.quantity) for a in result.allocations]
    assert (10, 4, 6) == await shop.stock(sku)


async def test_reserve_again_gives_the_same_answer(shop, order_id):
    """To the byte, alone or in other company, also when it stands in one batch twice, and after it was shipped."""
    sku, lines = await shop.given(5), None
    lines = [(sku, 2)]
    first = await shop.reserve((order_id, lines))
    assert list(first) == list(await shop.reserve((order_id, lines)))
    together = await shop.reserve((new_id(), [(sku, 1)]), (order_id, lines), (order_id, lines))
    assert [first[0]] * 2 == list(together)[1:]
    await shop.ship(order_id)
    assert list(first) == list(await shop.reserve((order_id, lines)))
    assert (3, 1, 2) == await shop.stock(sku)


async def test_reserve_refuses_out_of_stock_for_ever(shop, order_id):
    """The participant remembers what it answered: stock that arrives later does not turn a no into a yes."""
    sku = await shop.given(2)
    [first] = await shop.reserve((order_id, [(sku, 2), (sku, 1)]))
    assert {"sku": sku, "available": "2", "requested": "3"} == Refusal.from_status(first.error).metadata
    await shop.adjust(sku, 100)
    assert [first] == list(await shop.reserve((order_id, [(sku, 2), (sku, 1)])))
    await shop.release(order_id)
    assert "OUT_OF_STOCK" == reason((await shop.reserve((order_id, [(sku, 2), (sku, 1)])))[0])
    assert (102, 0, 102) == await shop.stock(sku)


async def test_reserve_refuses_a_sku_that_nobody_knows(shop):
    """Whatever its characters; the neighbours are served."""
    sku = await shop.given(1)
    results = await shop.reserve((new_id(), [("ghost", 1)]), (new_id(), [("n%l'\\", 1)]), (new_id(), [(sku, 1)]))
    assert ["OUT_OF_STOCK", "OUT_OF_STOCK", ""] == [reason(each) for each in results]


async def test_reserve_refuses_other_content_under_the_same_order(shop, order_id):
    """An order id stands for its lines; in one batch the first content counts."""
    sku = await shop.given(10)
    results = await shop.reserve((order_id, [(sku, 1)]), (order_id, [(sku, 2)]))
    assert ["", "RESERVATION_CONFLICT"] == [reason(each) for each in results]
    assert "RESERVATION_CONFLICT" == reason((await shop.reserve((order_id, [(sku, 2)])))[0])
    short = new_id()
    await shop.reserve((short, [(sku, 50)]))
    assert "RESERVATION_CONFLICT" == reason((await shop.reserve((short, [(sku, 1)])))[0])
    assert (10, 1, 9) == await shop.stock(sku)


async def test_reserve_after_release_is_refused(shop, order_id):
    """A release leaves a tombstone for an order that it never saw, and wins for ever."""
    sku = await shop.given(10)
    assert [""] == [reason(each) for each in await shop.release(order_id)]
    assert "RESERVATION_RELEASED" == reason((await shop.reserve((order_id, [(sku, 1)])))[0])
    assert (10, 0, 10) == await shop.stock(sku)


async def test_reserve_serves_in_arrival_order(shop):
    """The first that asks gets the last unit, however the ids are sorted."""
    sku = await shop.given(1)
    ids = sorted((new_id() for _ in range(6)), reverse=True)
    results = await shop.reserve(*((each, [(sku, 1)]) for each in ids))
    assert [""] + ["OUT_OF_STOCK"] * 5 == [reason(each) for each in results]


async def test_reserve_refuses_a_line_number_that_stands_twice(shop, order_id):
    """Alone, without its neighbours, and without burning the order id."""
    sku = await shop.given(5)
    bad = reservation(order_id, [(sku, 1), (sku, 1)])
    bad.lines[1].line_number = 1
    request = pb.BatchReserveRequest(reservations=[bad, reservation(new_id(), [(sku, 1)])])
    response = await shop.inventory.BatchReserve(request, metadata=shop.order)
    assert ["INVALID_INPUT", ""] == [reason(each) for each in response.results]
    assert "" == reason((await shop.reserve((order_id, [(sku, 1), (sku, 1)])))[0])


async def test_reserve_draws_from_warehouses_by_priority(shop):
    """One warehouse with enough before two with a part each; a split where none has enough."""
    name = f"w{uuid4().hex[:6]}"
    warehouse = warehouse_pb2.Warehouse(warehouse_id=name, title="Closer", priority=1)
    await shop.warehouses.CreateWarehouse(
        warehouse_service_pb2.CreateWarehouseRequest(warehouse=warehouse), metadata=shop.admin
    )
    sku = await shop.given(5)
    await shop.adjust(sku, 2, warehouse_id=name)
    results = await shop.reserve((new_id(), [(sku, 1)]), (new_id(), [(sku, 2)]), (new_id(), [(sku, 4)]))
    drawn = [[(each.warehouse_id, each.quantity) for each in result.allocations] for result in results]
    assert [[(name, 1)], [("main", 2)], [(name, 1), ("main", 3)]] == drawn
    stock = (await shop.inventory.GetStock(pb.GetStockRequest(sku=sku), metadata=shop.admin)).stock
    assert [(name, 2, 2), ("main", 5, 5)] == [(s.warehouse_id, s.on_hand, s.reserved) for s in stock.warehouses]


async def test_reserve_takes_an_order_of_a_thousand_lines(shop, order_id):
    """The largest order that the contract allows, of few SKUs and many lines."""
    several = [await shop.given(1000) for _ in range(5)]
    [result] = await shop.reserve((order_id, [(several[n % 5], 2) for n in range(1000)]))
    assert 1000 == len(result.allocations)
    assert (1000, 400, 600) == await shop.stock(several[0])
    assert [""] == [reason(each) for each in await shop.release(order_id)]
    assert (1000, 0, 1000) == await shop.stock(several[0])


async def test_reserve_refuses_more_lines_than_a_batch_holds(shop):
    """Five of the largest orders are too many for one call."""
    orders = [(new_id(), [("a", 1)] * 1000) for _ in range(5)]
    assert "INVALID_INPUT" == await refused(shop.reserve(*orders))


async def test_release_lets_go_once(shop, order_id):
    """The second release finds nothing to let go, also within one batch."""
    sku = await shop.given(3)
    await shop.reserve((order_id, [(sku, 2)]))
    assert ["", ""] == [reason(each) for each in await shop.release(order_id, order_id)]
    assert [""] == [reason(each) for each in await shop.release(order_id)]
    assert (3, 0, 3) == await shop.stock(sku)


async def test_release_refuses_a_shipped_order(shop, order_id):
    """Its neighbours are released."""
    sku, other = await shop.given(3), new_id()
    await shop.reserve((order_id, [(sku, 1)]), (other, [(sku, 1)]))
    await shop.ship(order_id)
    assert ["", "RESERVATION_SHIPPED"] == [reason(each) for each in await shop.release(other, order_id)]
    assert (2, 0, 2) == await shop.stock(sku)


async def test_ship_takes_the_units_out_once(shop, order_id):
    """On hand and reserved fall together."""
    sku = await shop.given(3)
    await shop.reserve((order_id, [(sku, 2)]))
    assert ["", ""] == [reason(each) for each in await shop.ship(order_id, order_id)]
    assert [""] == [reason(each) for each in await shop.ship(order_id)]
    assert (1, 0, 1) == await shop.stock(sku)


async def test_ship_refuses_orders_that_hold_nothing(shop):
    """An order that never came, one that was refused, one that was released."""
    sku, refused_order, released = await shop.given(1), new_id(), new_id()
    await shop.reserve((refused_order, [(sku, 2)]), (released, [(sku, 1)]))
    await shop.release(released)
    results = await shop.ship(new_id(), refused_order, released)
    assert ["RESERVATION_NOT_FOUND", "RESERVATION_NOT_FOUND", "RESERVATION_RELEASED"] == [reason(r) for r in results]


async def shipped(shop, *lines: tuple[str, int]) -> str:
    order_id = new_id()
    await shop.reserve((order_id, list(lines)))
    await shop.ship(order_id)
    return order_id


def restock(order_id: str, *lines: tuple[int, str, int], restock_id: str = "") -> pb.Restock:
    return pb.Restock(
        restock_id=restock_id or new_id(),
        order_id=order_id,
        lines=[pb.ReservationLine(line_number=n, sku=sku, quantity=units) for n, sku, units in lines],
    )


async def test_restock_puts_units_back_once(shop):
    """Parts first, then whatever has not come back; each restock id once."""
    sku = await shop.given(10)
    order_id = await shipped(shop, (sku, 4))
    part = restock(order_id, (1, sku, 1))
    assert [""] * 2 == [reason(each) for each in await shop.restock(part, part)]
    assert 7 == (await shop.stock(sku))[0]
    await shop.restock(part)
    rest = restock(order_id)
    await shop.restock(rest)
    await shop.restock(rest)
    assert (10, 0, 10) == await shop.stock(sku)


async def test_restock_refuses_more_than_was_shipped_and_keeps_that_answer(shop):
    """Also when two restocks of one batch ask for the same units."""
    sku = await shop.given(10)
    order_id = await shipped(shop, (sku, 3))
    first, second = restock(order_id, (1, sku, 2)), restock(order_id, (1, sku, 2))
    assert ["", "RESTOCK_TOO_LARGE"] == [reason(each) for each in await shop.restock(first, second)]
    assert ["RESTOCK_TOO_LARGE"] == [reason(each) for each in await shop.restock(second)]
    assert (9, 0, 9) == await shop.stock(sku)


async def test_restock_refuses_an_order_that_has_not_shipped_and_takes_it_later(shop, order_id):
    """Nothing was decided about the restock, so its id is not burned."""
    sku = await shop.given(1)
    back = restock(order_id)
    assert ["RESERVATION_NOT_FOUND"] == [reason(each) for each in await shop.restock(back)]
    await shop.reserve((order_id, [(sku, 1)]))
    assert ["RESERVATION_NOT_FOUND"] == [reason(each) for each in await shop.restock(back)]
    await shop.ship(order_id)
    assert [""] == [reason(each) for each in await shop.restock(back)]
    assert (1, 0, 1) == await shop.stock(sku)


async def test_restock_refuses_other_content_under_the_same_id(shop):
    """A restock id stands for its lines."""
    sku = await shop.given(5)
    order_id = await shipped(shop, (sku, 3))
    first = restock(order_id, (1, sku, 1))
    await shop.restock(first)
    other = restock(order_id, (1, sku, 2), restock_id=first.restock_id)
    assert ["RESERVATION_CONFLICT"] == [reason(each) for each in await shop.restock(other)]
    assert 3 == (await shop.stock(sku))[0]


async def movements(shop, sku: str, **page):
    return await shop.inventory.ListStockMovements(pb.ListStockMovementsRequest(sku=sku, **page), metadata=shop.admin)


async def test_the_journal_tells_the_life_of_an_order(shop, order_id):
    """Newest first, versions without a gap, and each entry was published with the stock after it."""
    sku = await shop.given(5)
    await shop.reserve((order_id, [(sku, 2), (sku, 1)]))
    await shop.ship(order_id)
    await shop.restock(restock(order_id, (1, sku, 1)))
    response = await movements(shop, sku)
    K = stock_pb2.StockMovementKind
    told = [(m.version, K.Name(m.kind)[20:], m.on_hand_delta, m.reserved_delta, m.order_id) for m in response.movements]
    assert [
        (4, "RESTOCKED", 1, 0, order_id),
        (3, "SHIPPED", -3, -3, order_id),
        (2, "RESERVED", 0, 3, order_id),
        (1, "ADJUSTED", 5, 0, ""),
    ] == told


async def test_each_journal_entry_is_published(shop, db, order_id):
    """One StockChanged per version of the SKU, in order, with the totals after it."""
    sku = await shop.given(5)
    await shop.reserve((order_id, [(sku, 2)]))
    await shop.release(order_id)
    async with db.hot_read() as connection:
        rows = await connection.fetch("SELECT * FROM outbox WHERE aggregate_id = $1 ORDER BY seq", sku)
    assert [1, 2, 3] == [row["version"] for row in rows]
    assert {("titan.inventory.v1", "titan.inventory.v1.StockChanged")} == {(r["topic"], r["type"]) for r in rows}
    events = [events_pb2.StockChanged.FromString(row["payload"]) for row in rows]
    assert [(5, 0), (5, 2), (5, 0)] == [(each.on_hand, each.reserved) for each in events]


async def test_list_stock_movements_pages(shop):
    """Every entry once, and the last page has no token."""
    sku = await shop.given(1)
    for _ in range(6):
        await shop.adjust(sku, 1)
    seen, token = [], ""
    while True:
        response = await movements(shop, sku, page_size=3, page_token=token)
        seen += [each.version for each in response.movements]
        token = response.next_page_token
        if not token:
            break
    assert [7, 6, 5, 4, 3, 2, 1] == seen


async def test_list_stock_movements_refuses_a_foreign_token(shop):
    """A token of another SKU is not a token of this one."""
    sku = await shop.given(1)
    await shop.adjust(sku, 1)
    token = (await movements(shop, sku, page_size=1)).next_page_token
    assert "PAGE_TOKEN_INVALID" == await refused(movements(shop, "another", page_token=token))
    assert "PAGE_TOKEN_INVALID" == await refused(movements(shop, sku, page_token="nonsense"))


async def test_the_journal_cannot_be_changed(shop, db):
    """Not even by the package's own role, by mistake."""
    await shop.given(1)
    for statement in (
        "UPDATE stock_movements SET reason = 'x'",
        "DELETE FROM stock_movements",
        "TRUNCATE stock_movements",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            async with db.hot() as tx:
                await tx.execute(statement)


@pytest.mark.parametrize("wrong", ["on_hand = -1", "reserved = -1", "reserved = on_hand + 1", "on_hand = 2000000001"])
async def test_the_database_backs_the_rules(shop, db, wrong):
    """A wrong rule would fail its transaction, not sell what is not there."""
    sku = await shop.given(1)
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.hot() as tx:
            await tx.execute(f"UPDATE stock SET {wrong} WHERE sku = $1", sku)


@pytest.mark.parametrize(
    "place",
    ["reserve.start", "reserve.claimed", "reserve.locked", "reserve.before_commit"],
)
async def test_a_reserve_that_dies_leaves_nothing_and_is_asked_again(shop, order_id, place):
    """At every await of the step: nothing is held, the order id is not burned, and the caller reads nothing of why."""
    sku = await shop.given(2)
    failpoints.arm(f"inventory.{place}", "raise*1")
    assert "INTERNAL" == await refused(shop.reserve((order_id, [(sku, 2)])))
    failpoints.reset()
    assert (2, 0, 2) == await shop.stock(sku)
    assert "" == reason((await shop.reserve((order_id, [(sku, 2)])))[0])
    assert (2, 2, 0) == await shop.stock(sku)


@pytest.mark.parametrize("place", ["release.start", "release.claimed", "release.locked", "release.before_commit"])
async def test_a_release_that_dies_is_asked_again(shop, order_id, place):
    """It ends released, once."""
    sku = await shop.given(2)
    await shop.reserve((order_id, [(sku, 2)]))
    failpoints.arm(f"inventory.{place}", "raise*1")
    assert "INTERNAL" == await refused(shop.release(order_id))
    failpoints.reset()
    assert (2, 2, 0) == await shop.stock(sku)
    await shop.release(order_id)
    assert (2, 0, 2) == await shop.stock(sku)


async def test_orders_and_releases_that_cross_end_in_a_sum(shop, db):
    """Many orders over few SKUs, each reserved, then released or shipped, all at once: the journal still adds up."""
    several = [await shop.given(40) for _ in range(3)]

    async def life(number: int) -> None:
        order_id = new_id()
        lines = [(several[(number + n) % 3], 1 + n) for n in range(3)]
        await asyncio.gather(shop.reserve((order_id, lines)), *([shop.release(order_id)] if number % 3 == 0 else []))
        if number % 3 == 1:
            await shop.ship(order_id)
        if number % 6 == 2:
            await shop.release(order_id)

    await asyncio.gather(*(life(number) for number in range(30)))
    await check_books(db)


async def check_books(db) -> None:
    """On hand and reserved are the sums of the journal, reserved is what live orders hold, versions have no gap."""
    async with db.hot_read() as connection:
        wrong = await connection.fetch(
            """
            WITH journal AS (
                SELECT sku, warehouse_id, sum(on_hand_delta) AS on_hand, sum(reserved_delta) AS reserved
                FROM stock_movements GROUP BY 1, 2
            ), held AS (
                SELECT l.sku, l.warehouse_id, sum(l.quantity) AS units FROM reservation_lines l
                JOIN reservations r USING (order_id) WHERE r.state = 1 GROUP BY 1, 2
            )
            SELECT s.sku FROM stock s
            LEFT JOIN journal j USING (sku, warehouse_id) LEFT JOIN held h USING (sku, warehouse_id)
            WHERE (s.on_hand IS DISTINCT FROM j.on_hand AND s.on_hand < 1000000000)
               OR s.reserved IS DISTINCT FROM j.reserved OR s.reserved <> coalesce(h.units, 0)
            UNION ALL
            SELECT k.sku FROM skus k JOIN stock_movements m USING (sku)
            GROUP BY k.sku, k.version HAVING count(*) <> k.version OR max(m.version) <> k.version
            UNION ALL
            SELECT k.sku FROM skus k JOIN outbox o ON o.aggregate_id = k.sku
            GROUP BY k.sku, k.version HAVING count(*) <> k.version
            """
        )
    assert [] == [row["sku"] for row in wrong]


async def test_the_books_of_this_whole_module_add_up(db):
    """After everything above."""
    await check_books(db)


async def test_refusals_carry_their_metadata(shop):
    """A program learns what to do from the metadata, never from the message."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await shop.adjust("x", 1, warehouse_id="nowhere")
    assert {"warehouse_id": "nowhere"} == refusal_in(refusal.value).metadata


# Long jobs


async def test_set_stock_counts_or_changes(shop, order_id):
    """One after the other; what is counted as it is moves nothing, and what orders hold stays."""
    sku, new = await shop.given(10), f"sku {uuid4().hex[:8]}"
    await shop.reserve((order_id, [(sku, 4)]))
    change = pb.StockChange
    results = await shop.set_stock(
        change(sku=sku, on_hand=7),
        change(sku=sku, delta=2),
        change(sku=sku, on_hand=9),
        change(sku=sku, on_hand=3),
        change(sku=new, on_hand=5, reason="counted"),
        change(sku=new, delta=1, warehouse_id="nowhere"),
        change(sku=new, on_hand=0),
    )

    assert [-3, 2, 0, 0, 5, 0, -5] == [each.on_hand_delta for each in results]
    assert ["", "", "", "STOCK_BELOW_RESERVED", "", "WAREHOUSE_NOT_FOUND", ""] == [reason(each) for each in results]
    assert (9, 4, 5) == await shop.stock(sku)
    assert (0, 0, 0) == await shop.stock(new)
    request = pb.ListStockMovementsRequest(sku=new)
    movements = (await shop.inventory.ListStockMovements(request, metadata=shop.admin)).movements
    assert [(-5, ""), (5, "counted")] == [(each.on_hand_delta, each.reason) for each in movements]


async def test_set_stock_refuses_more_than_a_sku_may_have(shop):
    """The others go on."""
    sku = await shop.given(1_000_000)
    changes = [pb.StockChange(sku=sku, delta=1_000_000)] * 500
    operation_id = str(uuid4())
    for number in range(2):
        results = await shop.set_stock(*changes, operation_id=operation_id, request_id=str(number))
    assert {"", "STOCK_TOO_LARGE"} == {reason(each) for each in results}
    assert 1_000_000_000 == (await shop.stock(sku))[0]


async def test_set_stock_moves_once_under_its_key(shop):
    """A key belongs to its operation; asked again it gives the same answer, and another content is refused."""
    sku, operation_id = await shop.given(1), str(uuid4())
    change = pb.StockChange(sku=sku, delta=5)
    answers = [await shop.set_stock(change, operation_id=operation_id) for _ in range(3)]
    assert [5] * 3 == [each.on_hand_delta for [each] in answers]
    assert (6, 0, 6) == await shop.stock(sku)

    other = pb.StockChange(sku=sku, delta=6)
    assert "IDEMPOTENCY_KEY_REUSED" == await refused(shop.set_stock(other, operation_id=operation_id))
    assert "IDEMPOTENCY_KEY_REQUIRED" == await refused(shop.set_stock(change, request_id=""))
    await shop.set_stock(change)
    assert (11, 0, 11) == await shop.stock(sku)


async def test_set_stock_that_is_only_validated_moves_nothing(shop):
    """Not even a SKU that nobody knew is known then; and the answers are those of the real call."""
    known, new = await shop.given(2), f"sku {uuid4().hex[:8]}"
    changes = [
        pb.StockChange(sku=known, delta=-2),
        pb.StockChange(sku=known, delta=-1),
        pb.StockChange(sku=new, delta=3),
    ]
    operation_id = str(uuid4())
    dry = await shop.set_stock(*changes, operation_id=operation_id, dry=True)

    assert [(2, 0, 2), (0, 0, 0)] == [await shop.stock(known), await shop.stock(new)]
    assert list(dry) == list(await shop.set_stock(*changes, operation_id=operation_id))
    assert [(0, 0, 0), (3, 0, 3)] == [await shop.stock(known), await shop.stock(new)]
