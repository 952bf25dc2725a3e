"""The decisions about stock, without a database."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.refusals import InvalidInput, Refusal
from svc_inventory.errors import (
    OutOfStock,
    ReservationNotFound,
    ReservationReleased,
    ReservationShipped,
    RestockTooLarge,
    StockBelowReserved,
    StockTooLarge,
)
from svc_inventory.inventory import rules
from svc_inventory.inventory.rules import (
    Allocation,
    Level,
    Line,
    Movement,
    MovementKind,
    ReservationState,
    Shelf,
    Wanted,
)


def order(number: int, *lines: tuple[str, int]) -> Wanted:
    """An order of (sku, quantity) lines."""
    return Wanted(UUID(int=number), b"", tuple(Line(n, sku, units) for n, (sku, units) in enumerate(lines, 1)))


def shelf(sku: str, *levels: tuple[int, int], version: int = 0) -> Shelf:
    """A SKU with (on hand, reserved) in warehouses w1, w2 ..., drawn from in this order."""
    return Shelf(sku, version, tuple(Level(f"w{n}", *level) for n, level in enumerate(levels, 1)))


def shelves(*each: Shelf) -> dict[str, Shelf]:
    return {one.sku: one for one in each}


def test_reserve_takes_a_line_from_the_first_warehouse_that_has_all_of_it():
    """A parcel from one place is cheaper than two, so an earlier warehouse with too little is passed over."""
    [answer] = rules.reserve([order(1, ("a", 5))], shelves(shelf("a", (3, 0), (6, 0), (9, 0))))
    assert (Allocation(1, "a", "w2", 5),) == answer


def test_reserve_splits_a_line_where_no_warehouse_has_all_of_it():
    """The split draws from the warehouses in their order, from free units alone."""
    [answer] = rules.reserve([order(1, ("a", 7))], shelves(shelf("a", (5, 2), (9, 8), (4, 0))))
    assert (Allocation(1, "a", "w1", 3), Allocation(1, "a", "w2", 1), Allocation(1, "a", "w3", 3)) == answer


def test_reserve_gives_an_order_all_of_its_lines_or_none():
    """A short line frees the others of its order for the next one."""
    answers = rules.reserve(
        [order(1, ("a", 2), ("b", 1)), order(2, ("a", 2))], shelves(shelf("a", (2, 0)), shelf("b", (1, 1)))
    )
    assert isinstance(answers[0], OutOfStock)
    assert (Allocation(1, "a", "w1", 2),) == answers[1]


def test_reserve_counts_a_sku_that_stands_in_two_lines_once():
    """Two lines of three are six units, and the refusal says so."""
    [answer] = rules.reserve([order(1, ("a", 3), ("a", 3))], shelves(shelf("a", (5, 0))))
    assert isinstance(answer, OutOfStock)
    assert {"sku": "a", "available": "5", "requested": "6"} == answer.metadata


def test_reserve_refuses_a_sku_that_never_had_stock():
    """Nothing is known of it, so nothing is available."""
    [answer] = rules.reserve([order(1, ("ghost", 1))], {})
    assert isinstance(answer, OutOfStock)
    assert "0" == answer.metadata["available"]


skus = st.sampled_from(["a", "b", "B", "c"])
lines = st.lists(st.tuples(skus, st.integers(1, 9)), min_size=1, max_size=5)
levels = st.lists(
    st.integers(0, 20).flatmap(lambda on_hand: st.tuples(st.just(on_hand), st.integers(0, on_hand))), max_size=3
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=12), st.dictionaries(skus, levels))
def test_reserve_agrees_with_a_shop_that_serves_one_order_after_the_other(orders, stock):
    """The naive model: look at the whole stock, serve the order if there is enough, go on to the next."""
    wanted = [order(number, *each) for number, each in enumerate(orders)]
    shop = shelves(*(shelf(sku, *each) for sku, each in stock.items()))
    left = {sku: sum(h - r for h, r in each) for sku, each in stock.items()}
    free = Counter({(s.sku, level.warehouse_id): level.available for s in shop.values() for level in s.levels})

    answers = rules.reserve(wanted, shop)

    for each, answer in zip(wanted, answers, strict=True):
        asked: Counter[str] = Counter()
        for line in each.lines:
            asked[line.sku] += line.quantity
        enough = all(units <= left.get(sku, 0) for sku, units in asked.items())
        assert enough == (not isinstance(answer, Refusal))
        if isinstance(answer, Refusal):
            assert asked[answer.metadata["sku"]] > left.get(answer.metadata["sku"], 0)
            continue
        for sku, units in asked.items():
            left[sku] -= units
        for line in each.lines:
            parts = [part for part in answer if part.line_number == line.line_number]
            assert line.quantity == sum(part.quantity for part in parts)
            assert {line.sku} == {part.sku for part in parts}
            could = [w for (sku, w), units in free.items() if sku == line.sku and units >= line.quantity]
            assert 1 == len(parts) or not could
            for part in parts:
                free[part.sku, part.warehouse_id] -= part.quantity
    assert all(units >= 0 for units in free.values())

    moved = [
        movement
        for each, answer in zip(wanted, answers, strict=True)
        if not isinstance(answer, Refusal)
        for movement in rules.movements(
            MovementKind.RESERVED, each.order_id, [(p.sku, p.warehouse_id, p.quantity) for p in answer]
        )
    ]
    entries = rules.post(shop, moved)
    for sku, one in shop.items():
        mine = [entry for entry in entries if entry.movement.sku == sku]
        assert list(range(1, len(mine) + 1)) == [entry.version for entry in mine]
        if mine:
            assert one.reserved + sum(e.movement.reserved_delta for e in mine) == mine[-1].reserved <= mine[-1].on_hand


def test_check_lines_refuses_a_line_number_that_stands_twice():
    """Later steps name a line by its number."""
    with pytest.raises(InvalidInput):
        rules.check_lines([Line(1, "a", 1), Line(1, "b", 1)])


def test_release_lets_go_of_a_reserved_order_only():
    """A released or refused order has nothing left to let go."""
    assert rules.release(ReservationState.RESERVED)
    assert not rules.release(ReservationState.RELEASED)
    assert not rules.release(ReservationState.REFUSED)


def test_release_refuses_a_shipped_order():
    """What has left the warehouse comes back as a restock, not as a release."""
    with pytest.raises(ReservationShipped):
        rules.release(ReservationState.SHIPPED)


def test_ship_takes_out_a_reserved_order_once():
    """The second time there is nothing left to take out."""
    assert rules.ship(ReservationState.RESERVED)
    assert not rules.ship(ReservationState.SHIPPED)


@pytest.mark.parametrize(
    ("state", "refusal"),
    [
        (None, ReservationNotFound),
        (ReservationState.REFUSED, ReservationNotFound),
        (ReservationState.RELEASED, ReservationReleased),
    ],
)
def test_ship_refuses_an_order_that_holds_nothing(state, refusal):
    """Nothing leaves for an order that never came, was refused, or was let go."""
    with pytest.raises(refusal):
        rules.ship(state)


OUT = [Allocation(1, "a", "w1", 3, 1), Allocation(1, "a", "w2", 2), Allocation(2, "b", "w1", 1)]


def test_restock_without_lines_brings_back_what_has_not_come_back():
    """One unit of the first allocation is back already."""
    assert [2, 2, 1] == rules.restock([], OUT)


def test_restock_of_a_line_goes_to_the_warehouses_it_left():
    """In the order in which they gave."""
    assert [2, 1, 0] == rules.restock([Line(1, "a", 3)], OUT)


@pytest.mark.parametrize("line", [Line(1, "a", 5), Line(2, "a", 1), Line(9, "a", 1)])
def test_restock_refuses_more_than_was_shipped(line):
    """One unit too many, another SKU than the line's, a line that the order does not have."""
    with pytest.raises(RestockTooLarge):
        rules.restock([line], OUT)


def test_restock_refuses_a_line_that_asks_twice_for_the_same_units():
    """Each line of the request sees what the ones before it took."""
    with pytest.raises(RestockTooLarge):
        rules.restock([Line(1, "a", 3), Line(1, "a", 2)], OUT)


def test_adjust_changes_the_units_on_hand():
    """Down to what orders hold."""
    movement = rules.adjust(shelf("a", (5, 2)), warehouse_id="w1", delta=-3, reason="broken")
    assert Movement("a", "w1", MovementKind.ADJUSTED, -3, 0, None, "broken") == movement
    assert shelf("a", (2, 2), version=1) == rules.move(shelf("a", (5, 2)), movement)


def test_adjust_refuses_to_go_below_what_orders_hold():
    """Also in a warehouse that has nothing of the SKU."""
    with pytest.raises(StockBelowReserved):
        rules.adjust(shelf("a", (5, 2), (9, 0)), warehouse_id="w1", delta=-4, reason="")
    with pytest.raises(StockBelowReserved):
        rules.adjust(shelf("a", (5, 2)), warehouse_id="w2", delta=-1, reason="")


def test_adjust_refuses_more_units_than_a_thousand_million():
    """Over all warehouses together, so that sums fit the contract."""
    with pytest.raises(StockTooLarge):
        rules.adjust(shelf("a", (600_000_000, 0), (400_000_000, 0)), warehouse_id="w1", delta=1, reason="")


def test_post_refuses_what_no_rule_allows():
    """An assertion that stays on: a wrong rule stops the transaction."""
    with pytest.raises(AssertionError):
        rules.post(shelves(shelf("a", (1, 0))), [Movement("a", "w1", MovementKind.RESERVED, 0, 2)])


@pytest.mark.parametrize(
    ("kind", "on_hand", "reserved"),
    [
        (MovementKind.RESERVED, 0, 5),
        (MovementKind.RELEASED, 0, -5),
        (MovementKind.SHIPPED, -5, -5),
        (MovementKind.RESTOCKED, 5, 0),
    ],
)
def test_movements_of_an_order_are_summed_by_sku_and_warehouse(kind, on_hand, reserved):
    """Held units are still on hand, shipped ones neither; what moves nothing is no movement."""
    units = [("a", "w1", 2), ("a", "w2", 1), ("a", "w1", 3), ("b", "w1", 0)]
    first, second = rules.movements(kind, UUID(int=1), units)
    assert (first.sku, first.warehouse_id, first.kind, first.order_id) == ("a", "w1", kind, UUID(int=1))
    assert (first.on_hand_delta, first.reserved_delta) == (on_hand, reserved)
    assert (second.warehouse_id, abs(second.on_hand_delta or second.reserved_delta)) == ("w2", 1)


def test_post_gives_every_movement_its_version_and_the_totals_after_it():
    """Each SKU counts on from its own shelf, and every entry sees the one before it."""
    shop = shelves(shelf("a", (4, 1), (2, 0), version=7), shelf("b", (1, 0)))
    moved = [
        Movement("a", "w1", MovementKind.RESERVED, 0, 2),
        Movement("b", "w1", MovementKind.ADJUSTED, 3, 0),
        Movement("a", "w1", MovementKind.SHIPPED, -3, -3),
    ]
    entries = rules.post(shop, moved)
    assert [entry.movement for entry in entries] == moved
    assert [(e.version, e.on_hand, e.reserved) for e in entries] == [(8, 6, 3), (1, 4, 0), (9, 3, 0)]


def test_move_changes_one_warehouse_and_finds_room_for_a_new_one():
    """The next decision about the SKU sees it, in the order in which orders draw from warehouses."""
    before = shelf("a", (4, 1), (2, 2), version=3)
    after = rules.move(before, Movement("a", "w2", MovementKind.SHIPPED, -1, -1))
    assert after == Shelf("a", 4, (Level("w1", 4, 1), Level("w2", 1, 1)))
    assert rules.move(before, Movement("a", "w9", MovementKind.ADJUSTED, 5, 0)).levels[-1] == Level("w9", 5, 0)


def test_orders_of_one_batch_share_what_there_is():
    """What one took of a warehouse is gone for the next, whose line is split over what is left."""
    first, second, third = rules.reserve(
        [order(1, ("a", 3)), order(2, ("a", 4)), order(3, ("a", 1))], shelves(shelf("a", (5, 0), (2, 0)))
    )
    assert [(part.warehouse_id, part.quantity) for part in first] == [("w1", 3)]
    assert [(part.warehouse_id, part.quantity) for part in second] == [("w1", 2), ("w2", 2)]
    assert isinstance(third, Refusal)
    assert third.metadata["available"] == "0"


def test_adjust_takes_a_sku_to_its_limit_and_into_a_new_warehouse():
    """The last unit that may be is one."""
    almost = shelf("a", (rules.MAX_UNITS_PER_SKU - 1, 0))
    assert rules.adjust(almost, warehouse_id="w1", delta=1, reason="").on_hand_delta == 1
    assert rules.adjust(shelf("a"), warehouse_id="w7", delta=0, reason="").warehouse_id == "w7"
