"""What may happen to stock: pure decisions over shelves that the caller has read and locked.

A shelf is one SKU over all warehouses, in the order in which orders draw from them. Decisions become movements, and
`post` turns movements into journal entries with versions and totals. Nothing here waits, and no argument is changed.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from mesh.refusals import InvalidInput
from svc_inventory.errors import (
    OutOfStock,
    ReservationNotFound,
    ReservationReleased,
    ReservationShipped,
    RestockTooLarge,
    StockBelowReserved,
    StockTooLarge,
)

MAX_UNITS_PER_SKU = 1_000_000_000


class MovementKind(enum.IntEnum):
    """What a stock movement was; the values are those of the contract and of the journal."""

    ADJUSTED = 1
    RESERVED = 2
    RELEASED = 3
    SHIPPED = 4
    RESTOCKED = 5


class ReservationState(enum.IntEnum):
    """How an order stands with the inventory; the values are those of the table."""

    RESERVED = 1
    RELEASED = 2
    SHIPPED = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class Level:
    """The units of one SKU in one warehouse."""

    warehouse_id: str
    on_hand: int
    reserved: int

    @property
    def available(self) -> int:
        """Units that can be ordered."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Shelf:
    """One SKU over all warehouses; `version` is that of its newest journal entry, 0 before the first."""

    sku: str
    version: int
    levels: tuple[Level, ...] = ()

    @property
    def on_hand(self) -> int:
        """Units in all warehouses."""
        return sum(level.on_hand for level in self.levels)

    @property
    def reserved(self) -> int:
        """Units that orders hold in all warehouses."""
        return sum(level.reserved for level in self.levels)


Shelves = Mapping[str, Shelf]


@dataclass(frozen=True, slots=True)
class Line:
    """Units of one SKU that one order line asks for."""

    line_number: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """One order that asks for units; `fingerprint` tells its content from another."""

    order_id: UUID
    fingerprint: bytes
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Allocation:
    """Units of one order line in one warehouse; `restocked` of them have come back after they were shipped."""

    line_number: int
    sku: str
    warehouse_id: str
    quantity: int
    restocked: int = 0


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of one SKU in one warehouse, before it has its place in the journal."""

    sku: str
    warehouse_id: str
    kind: MovementKind
    on_hand_delta: int
    reserved_delta: int
    order_id: UUID | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A movement in its place: the version of the SKU's journal, and the SKU's totals after it."""

    movement: Movement
    version: int
    on_hand: int
    reserved: int


def check_lines(lines: Sequence[Line]) -> None:
    """Check what the contract cannot say of an order's lines.

    Raises:
        InvalidInput: A line number stands twice.
    """
    if len({line.line_number for line in lines}) != len(lines):
        raise InvalidInput.of("lines.line_number", "stands twice in one order")


def reserve(wanted: Sequence[Wanted], shelves: Shelves) -> list[tuple[Allocation, ...] | OutOfStock]:
    """Decide which orders get their units, in arrival order: all lines of an order, or none.

    A line is taken from the first warehouse that has all of it, and split over the warehouses in their order where
    none has. Returns one entry per order, in their order: its allocations in the order of its lines, or the refusal,
    which names the first SKU that is short.
    """
    free = {sku: {level.warehouse_id: level.available for level in shelf.levels} for sku, shelf in shelves.items()}
    left = {sku: sum(levels.values()) for sku, levels in free.items()}
    answers: list[tuple[Allocation, ...] | OutOfStock] = []
    for order in wanted:
        asked: Counter[str] = Counter()
        for line in order.lines:
            asked[line.sku] += line.quantity
        short = next((sku for sku, units in asked.items() if units > left.get(sku, 0)), None)
        if short is not None:
            answers.append(OutOfStock(sku=short, available=left.get(short, 0), requested=asked[short]))
            continue
        answers.append(tuple(each for line in order.lines for each in _take(line, free[line.sku])))
        for sku, units in asked.items():
            left[sku] -= units
    return answers


def _take(line: Line, free: dict[str, int]) -> Iterable[Allocation]:
    whole = next((name for name, units in free.items() if units >= line.quantity), None)
    rest = line.quantity
    for name in [whole] if whole is not None else list(free):
        units = min(rest, free[name])
        if units > 0:
            free[name] -= units
            rest -= units
            yield Allocation(line.line_number, line.sku, name, units)


def release(state: ReservationState) -> bool:
    """Return whether a release has units to let go; a released or refused order has none.

    Raises:
        ReservationShipped: The units have left.
    """
    if state is ReservationState.SHIPPED:
        raise ReservationShipped("the order has left the warehouse")
    return state is ReservationState.RESERVED


def ship(state: ReservationState | None) -> bool:
    """Return whether a shipment has units to take out; a shipped order has none left.

    Raises:
        ReservationNotFound: The order never held anything.
        ReservationReleased: The order let its units go.
    """
    if state is ReservationState.RELEASED:
        raise ReservationReleased("the order was released")
    if state is None or state is ReservationState.REFUSED:
        raise ReservationNotFound("the order holds nothing")
    return state is ReservationState.RESERVED


def restock(lines: Sequence[Line], allocations: Sequence[Allocation]) -> list[int]:
    """Decide where the units of a shipped order go when they come back: to the warehouses that they left.

    Without lines everything goes back that has not yet. Returns the units per allocation, in their order.

    Raises:
        RestockTooLarge: A line would bring back more than it took and has not returned, or another SKU.
    """
    if not lines:
        return [each.quantity - each.restocked for each in allocations]
    back = [0] * len(allocations)
    for line in lines:
        rest = line.quantity
        for place, each in enumerate(allocations):
            if each.line_number == line.line_number and each.sku == line.sku and rest:
                units = min(rest, each.quantity - each.restocked - back[place])
                back[place] += units
                rest -= units
        if rest:
            raise RestockTooLarge(
                f"line {line.line_number}: {rest} of {line.sku} more than was shipped and has not come back",
                sku=line.sku,
                line_number=line.line_number,
            )
    return back


def delta_to(shelf: Shelf, warehouse_id: str, counted: int) -> int:
    """Return by how many units a warehouse differs from what was counted there."""
    return counted - _level(shelf, warehouse_id).on_hand


def _level(shelf: Shelf, warehouse_id: str) -> Level:
    return next((each for each in shelf.levels if each.warehouse_id == warehouse_id), Level(warehouse_id, 0, 0))


def adjust(shelf: Shelf, *, warehouse_id: str, delta: int, reason: str) -> Movement:
    """Return the movement that changes the units on hand.

    Raises:
        StockBelowReserved: Less would be on hand in the warehouse than orders hold there.
        StockTooLarge: More than a thousand million units of the SKU would be on hand.
    """
    level = _level(shelf, warehouse_id)
    if level.on_hand + delta < level.reserved:
        raise StockBelowReserved(
            f"{shelf.sku} in {warehouse_id}: {level.on_hand} on hand, {level.reserved} of them held by orders",
            sku=shelf.sku,
            warehouse_id=warehouse_id,
            on_hand=level.on_hand,
            reserved=level.reserved,
        )
    if shelf.on_hand + delta > MAX_UNITS_PER_SKU:
        raise StockTooLarge(f"{shelf.sku}: more than {MAX_UNITS_PER_SKU} units", sku=shelf.sku, on_hand=shelf.on_hand)
    return Movement(shelf.sku, warehouse_id, MovementKind.ADJUSTED, delta, 0, None, reason)


_SIGNS = {
    MovementKind.RESERVED: (0, 1),
    MovementKind.RELEASED: (0, -1),
    MovementKind.SHIPPED: (-1, -1),
    MovementKind.RESTOCKED: (1, 0),
}


def movements(kind: MovementKind, order_id: UUID, units: Iterable[tuple[str, str, int]]) -> list[Movement]:
    """Return the movements of one order, one per SKU and warehouse, from (sku, warehouse, units) of its lines."""
    on_hand, reserved = _SIGNS[kind]
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for sku, warehouse_id, quantity in units:
        sums[sku, warehouse_id] += quantity
    return [
        Movement(sku, warehouse_id, kind, on_hand * quantity, reserved * quantity, order_id)
        for (sku, warehouse_id), quantity in sums.items()
        if quantity
    ]


def post(shelves: Shelves, moved: Sequence[Movement]) -> list[Entry]:
    """Give movements their places in the journals of their SKUs; versions go on from the shelves' without a gap."""
    now = {sku: (shelf.version, shelf.on_hand, shelf.reserved) for sku, shelf in shelves.items()}
    entries: list[Entry] = []
    for each in moved:
        version, on_hand, reserved = now[each.sku]
        after = (version + 1, on_hand + each.on_hand_delta, reserved + each.reserved_delta)
        if not 0 <= after[2] <= after[1]:
            raise AssertionError(f"{each.sku}: {after[1]} on hand and {after[2]} reserved after {each.kind.name}")
        now[each.sku] = after
        entries.append(Entry(each, *after))
    return entries


def move(shelf: Shelf, movement: Movement) -> Shelf:
    """Return a shelf after one movement, as the next decision about the same SKU sees it."""
    levels = list(shelf.levels)
    for place, level in enumerate(levels):
        if level.warehouse_id == movement.warehouse_id:
            levels[place] = Level(
                level.warehouse_id,
                level.on_hand + movement.on_hand_delta,
                level.reserved + movement.reserved_delta,
            )
            break
    else:
        levels.append(Level(movement.warehouse_id, movement.on_hand_delta, movement.reserved_delta))
    return Shelf(shelf.sku, shelf.version + 1, tuple(levels))
