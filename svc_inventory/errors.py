"""Every refusal of the inventory domain."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class OutOfStock(Refusal):
    """There is not enough of a SKU; the metadata says which, what is available and what was requested."""

    def __init__(self, *, sku: str, available: int, requested: int) -> None:
        super().__init__(
            f"{requested} of {sku} requested, {available} available",
            sku=sku,
            available=available,
            requested=requested,
        )


class ReservationReleased(Refusal):
    """The order was released, and stays so."""


class ReservationConflict(Refusal):
    """The order, or the restock, was asked for before with other content."""

    code = grpc.StatusCode.ALREADY_EXISTS


class ReservationShipped(Refusal):
    """The order's units have left the warehouse."""


class ReservationNotFound(Refusal):
    """The order holds nothing."""

    code = grpc.StatusCode.NOT_FOUND


class RestockTooLarge(Refusal):
    """More would come back than was shipped."""


class StockBelowReserved(Refusal):
    """There would be less on hand than orders hold."""


class StockTooLarge(Refusal):
    """There would be more than a thousand million units of a SKU."""


class WarehouseNotFound(Refusal):
    """No such warehouse."""

    code = grpc.StatusCode.NOT_FOUND


class WarehouseExists(Refusal):
    """The code stands for another warehouse."""

    code = grpc.StatusCode.ALREADY_EXISTS


class TooManyWarehouses(Refusal):
    """There are a hundred warehouses already."""
