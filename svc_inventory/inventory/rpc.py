"""InventoryService on the wire: decodes, calls the store, encodes. No SQL, and no decision about stock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from google.rpc import status_pb2

from mesh import audit, idempotency, pages
from mesh.batcher import Batcher
from mesh.database import Database
from mesh.identity import caller_of
from mesh.refusals import InvalidInput, Refusal
from mesh.seams import failpoint
from svc_inventory.inventory import rules, store
from svc_inventory.inventory.rules import Line, Shelf, Wanted
from svc_inventory.inventory.store import Adjustment, Reserved, RestockWanted
from titan.inventory.v1 import inventory_service_pb2 as pb
from titan.inventory.v1 import inventory_service_pb2_grpc, stock_pb2

MAIN_WAREHOUSE = "main"
ADJUST = "titan.inventory.v1.InventoryService/AdjustStock"
BATCH_ADJUST = "titan.inventory.v1.InventoryService/BatchAdjustStock"
SET_STOCK = "titan.inventory.v1.InventoryService/BatchSetStock"
LIST_MOVEMENTS = "titan.inventory.v1.InventoryService/ListStockMovements"
MAX_LINES_A_BATCH = 4096

_Adjusting = TypeVar("_Adjusting", pb.AdjustStockRequest, pb.StockAdjustment, pb.StockChange)


class InventoryServicer(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Serves InventoryService from one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Calls that arrive while one transaction runs share the next one: a SKU that everybody wants is then locked
        # once for all of them.
        self._reserving: Batcher[list[Wanted], list[Reserved | Refusal]] = Batcher(
            self._reserve,
            name="inventory.reserve",
            max_items=256,
            max_weight=MAX_LINES_A_BATCH,
            weight=lambda orders: sum(len(each.lines) for each in orders),
            max_waiting=1024,
        )

    async def close(self) -> None:
        """Answer what waits, and take nothing new."""
        await self._reserving.close()

    async def GetStock(self, request: pb.GetStockRequest, context: Any) -> pb.GetStockResponse:
        """Has no refusals of its own."""
        async with self._db.hot_read() as connection:
            shelf = await store.find_shelf(connection, request.sku)
        return pb.GetStockResponse(stock=stock_to_wire(shelf))

    async def AdjustStock(self, request: pb.AdjustStockRequest, context: Any) -> pb.AdjustStockResponse:
        """Refuses with STOCK_BELOW_RESERVED, STOCK_TOO_LARGE or WAREHOUSE_NOT_FOUND."""
        wanted = [_adjustment(_canonical(request))]

        async def answer(tx: asyncpg.Connection) -> bytes | Refusal:
            adjusted = (await store.save_adjusted(tx, wanted))[0]
            if isinstance(adjusted, Refusal):
                return adjusted
            await audit.accept(tx, f"inventory/{request.sku}", audit.command(request.request_id))
            order = await store.list_warehouse_ids(tx)
            return pb.AdjustStockResponse(stock=stock_to_wire(adjusted.shelf, order)).SerializeToString()

        user_id = caller_of().require_user_id()
        return pb.AdjustStockResponse.FromString(await self._once(user_id, ADJUST, request, answer))

    async def BatchAdjustStock(self, request: pb.BatchAdjustStockRequest, context: Any) -> pb.BatchAdjustStockResponse:
        """Results carry STOCK_BELOW_RESERVED, STOCK_TOO_LARGE or WAREHOUSE_NOT_FOUND."""
        wanted = [_adjustment(_canonical(each)) for each in request.adjustments]

        async def answer(tx: asyncpg.Connection) -> bytes:
            adjusted = await store.save_adjusted(tx, wanted)
            if not all(isinstance(each, Refusal) for each in adjusted):
                await audit.accept(tx, "inventory", audit.command(request.request_id))
            order = await store.list_warehouse_ids(tx)
            results = [
                pb.AdjustStockResult(error=each.to_status())
                if isinstance(each, Refusal)
                else pb.AdjustStockResult(stock=stock_to_wire(each.shelf, order))
                for each in adjusted
            ]
            return pb.BatchAdjustStockResponse(results=results).SerializeToString()

        user_id = caller_of().require_user_id()
        return pb.BatchAdjustStockResponse.FromString(await self._once(user_id, BATCH_ADJUST, request, answer))

    async def BatchSetStock(self, request: pb.BatchSetStockRequest, context: Any) -> pb.BatchSetStockResponse:
        """Results carry STOCK_BELOW_RESERVED, STOCK_TOO_LARGE or WAREHOUSE_NOT_FOUND."""
        wanted = [_change(_canonical(each)) for each in request.changes]

        async def answer(tx: asyncpg.Connection) -> bytes:
            adjusted = await store.save_adjusted(tx, wanted, validate_only=request.validate_only)
            results = [
                pb.SetStockResult(error=each.to_status())
                if isinstance(each, Refusal)
                else pb.SetStockResult(on_hand_delta=each.delta)
                for each in adjusted
            ]
            return pb.BatchSetStockResponse(results=results).SerializeToString()

        if request.validate_only:
            return pb.BatchSetStockResponse.FromString(await self._db.transact(answer))
        operation_id = UUID(request.operation_id)
        return pb.BatchSetStockResponse.FromString(await self._once(operation_id, SET_STOCK, request, answer))

    async def ListStockMovements(
        self, request: pb.ListStockMovementsRequest, context: Any
    ) -> pb.ListStockMovementsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        size = pages.page_size(request.page_size)
        before = pages.decode_number(request.page_token, LIST_MOVEMENTS, request.sku)
        async with self._db.hot_read() as connection:
            found = await store.list_movements(connection, request.sku, before=before, limit=size + 1)
        page = found[:size]
        token = pages.encode(LIST_MOVEMENTS, [page[-1].version], request.sku) if len(found) > size else ""
        return pb.ListStockMovementsResponse(
            movements=[_movement_to_wire(each) for each in page], next_page_token=token
        )

    async def BatchReserve(self, request: pb.BatchReserveRequest, context: Any) -> pb.BatchReserveResponse:
        """Results carry OUT_OF_STOCK, RESERVATION_RELEASED, RESERVATION_CONFLICT or INVALID_INPUT."""
        if sum(len(each.lines) for each in request.reservations) > MAX_LINES_A_BATCH:
            raise InvalidInput.of("reservations", f"more than {MAX_LINES_A_BATCH} lines together")
        results = [pb.ReserveResult(order_id=each.order_id) for each in request.reservations]
        wanted: list[Wanted] = []
        places: list[int] = []
        for place, each in enumerate(request.reservations):
            try:
                wanted.append(_wanted(each))
                places.append(place)
            except Refusal as refusal:
                results[place].error.CopyFrom(refusal.to_status())
        answers = await self._reserving.submit(wanted) if wanted else []
        for place, answer in zip(places, answers, strict=True):
            if isinstance(answer, Refusal):
                results[place].error.CopyFrom(answer.to_status())
            else:
                results[place].allocations.extend(
                    stock_pb2.Allocation(
                        line_number=each.line_number,
                        sku=each.sku,
                        warehouse_id=each.warehouse_id,
                        quantity=each.quantity,
                    )
                    for each in answer
                )
        return pb.BatchReserveResponse(results=results)

    async def BatchRelease(self, request: pb.BatchReleaseRequest, context: Any) -> pb.BatchReleaseResponse:
        """Results carry RESERVATION_SHIPPED."""
        order_ids = [UUID(each) for each in request.order_ids]
        answers = await self._db.transact(lambda tx: store.save_released(tx, order_ids))
        await failpoint("inventory.release.after_commit")
        return pb.BatchReleaseResponse(results=_effects(request.order_ids, answers))

    async def BatchShip(self, request: pb.BatchShipRequest, context: Any) -> pb.BatchShipResponse:
        """Results carry RESERVATION_NOT_FOUND or RESERVATION_RELEASED."""
        order_ids = [UUID(each) for each in request.order_ids]
        answers = await self._db.transact(lambda tx: store.save_shipped(tx, order_ids))
        await failpoint("inventory.ship.after_commit")
        return pb.BatchShipResponse(results=_effects(request.order_ids, answers))

    async def BatchRestock(self, request: pb.BatchRestockRequest, context: Any) -> pb.BatchRestockResponse:
        """Results carry RESERVATION_NOT_FOUND, RESTOCK_TOO_LARGE or RESERVATION_CONFLICT."""
        wanted = [
            RestockWanted(
                restock_id=UUID(each.restock_id),
                order_id=UUID(each.order_id),
                fingerprint=idempotency.fingerprint(each),
                lines=_lines(each.lines),
            )
            for each in request.restocks
        ]
        answers = await self._db.transact(lambda tx: store.save_restocked(tx, wanted))
        await failpoint("inventory.restock.after_commit")
        return pb.BatchRestockResponse(results=_effects([each.order_id for each in request.restocks], answers))

    async def _reserve(self, calls: list[list[Wanted]]) -> list[list[Reserved | Refusal]]:
        """Run the orders of many calls as one set, in arrival order; one list of answers per call."""
        together = [each for orders in calls for each in orders]
        answers = iter(await self._db.transact(lambda tx: store.save_reservations(tx, together)))
        await failpoint("inventory.reserve.after_commit")
        return [[next(answers) for _ in orders] for orders in calls]

    async def _once(
        self,
        asker_id: UUID,
        method: str,
        request: pb.AdjustStockRequest | pb.BatchAdjustStockRequest | pb.BatchSetStockRequest,
        answer: Callable[[asyncpg.Connection], Awaitable[bytes | Refusal]],
    ) -> bytes:
        """Return the answer to a request id of a user or an operation, made now or kept from before.

        Raises:
            Refusal: That was the answer.
        """
        claim = idempotency.Claim(asker_id, method, request.request_id, idempotency.fingerprint(request))
        made = await idempotency.once(self._db, claim, answer)
        await failpoint("inventory.adjust.after_commit")
        return made


def stock_to_wire(shelf: Shelf, warehouse_order: Sequence[str] = ()) -> stock_pb2.Stock:
    """Return the stock of a SKU as the contract writes it; the version is its etag."""
    rank = {name: place for place, name in enumerate(warehouse_order)}
    return stock_pb2.Stock(
        sku=shelf.sku,
        on_hand=shelf.on_hand,
        reserved=shelf.reserved,
        available=shelf.on_hand - shelf.reserved,
        warehouses=[
            stock_pb2.WarehouseStock(
                warehouse_id=level.warehouse_id,
                on_hand=level.on_hand,
                reserved=level.reserved,
                available=level.available,
            )
            for level in sorted(shelf.levels, key=lambda level: rank.get(level.warehouse_id, 0))
        ],
        etag=str(shelf.version),
    )


def _movement_to_wire(stored: store.StoredMovement) -> stock_pb2.StockMovement:
    each = stored.movement
    movement = stock_pb2.StockMovement(
        version=stored.version,
        kind=int(each.kind),  # type: ignore[arg-type]
        warehouse_id=each.warehouse_id,
        on_hand_delta=each.on_hand_delta,
        reserved_delta=each.reserved_delta,
        order_id=str(each.order_id) if each.order_id else "",
        reason=each.reason,
    )
    movement.record_time.FromDatetime(stored.recorded_at)
    return movement


def _effects(order_ids: Sequence[str], answers: Sequence[Refusal | None]) -> list[pb.StockEffectResult]:
    nothing: status_pb2.Status | None = None
    return [
        pb.StockEffectResult(order_id=order_id, error=nothing if answer is None else answer.to_status())
        for order_id, answer in zip(order_ids, answers, strict=True)
    ]


def _canonical(each: _Adjusting) -> _Adjusting:
    """Write the default out, so that two ways of asking for one thing have one fingerprint."""
    each.warehouse_id = each.warehouse_id or MAIN_WAREHOUSE
    return each


def _adjustment(each: pb.AdjustStockRequest | pb.StockAdjustment) -> Adjustment:
    return Adjustment(each.sku, each.warehouse_id, each.delta, each.reason)


def _change(each: pb.StockChange) -> Adjustment:
    counted = each.on_hand if each.HasField("on_hand") else None
    return Adjustment(each.sku, each.warehouse_id, each.delta, each.reason, counted)


def _wanted(reservation: pb.Reservation) -> Wanted:
    lines = _lines(reservation.lines)
    rules.check_lines(lines)
    return Wanted(UUID(reservation.order_id), idempotency.fingerprint(reservation), lines)


def _lines(lines: Sequence[pb.ReservationLine]) -> tuple[Line, ...]:
    return tuple(Line(each.line_number, each.sku, each.quantity) for each in lines)
