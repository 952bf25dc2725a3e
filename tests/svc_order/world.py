"""The other packages as svc_order sees them, written by hand: small, in memory, idempotent, and able to misbehave."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from google.rpc import status_pb2

from mesh.refusals import Refusal, Unavailable
from titan.cart.v1 import cart_pb2, cart_service_pb2, cart_service_pb2_grpc
from titan.catalog.v1 import product_pb2, product_service_pb2, product_service_pb2_grpc
from titan.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc, stock_pb2
from titan.payment.v1 import (
    payment_pb2,
    payment_service_pb2,
    payment_service_pb2_grpc,
    refund_pb2,
    refund_service_pb2,
    refund_service_pb2_grpc,
    split_service_pb2,
    split_service_pb2_grpc,
)
from titan.type.v1 import money_pb2

STATUS = payment_pb2.PaymentStatus


class OutOfStock(Refusal):
    """There is not enough of a SKU."""


class ReservationNotFound(Refusal):
    """The order has not left the warehouse."""


class ReservationReleased(Refusal):
    """The order was released, and stays so."""


class PaymentDeclined(Refusal):
    """The provider refused the card."""


class InsufficientFunds(Refusal):
    """The wallet holds less than the order costs."""


class ProviderUnknown(Refusal):
    """Nobody takes such cards."""


class CurrencyNotSupported(Refusal):
    """Nobody takes money of that currency."""


class PaymentConflict(Refusal):
    """The order asked before for another amount."""


class PaymentVoided(Refusal):
    """The payment was voided, and stays so."""


class PaymentCaptured(Refusal):
    """The money was taken already."""


class PaymentNotCaptured(Refusal):
    """No money was taken."""


@dataclass
class World:
    """What is in stock, what things cost, who pays, and which calls hang, or fail how often before they work."""

    prices: dict[str, int] = field(default_factory=lambda: {"mug": 500, "tea": 250, "pot": 1999})
    currencies: dict[str, str] = field(default_factory=dict)
    sellers: dict[str, str] = field(default_factory=dict)
    stock: dict[str, int] = field(default_factory=lambda: {"mug": 1000, "tea": 1000, "pot": 1000})
    reserved: dict[str, dict[str, int] | None] = field(default_factory=dict)
    shipped: set[str] = field(default_factory=set)
    restocked: dict[str, dict[int, int]] = field(default_factory=dict)
    payments: dict[str, int] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)
    borne: dict[str, dict[str, int]] = field(default_factory=dict)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    released: dict[str, dict[str, int]] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    carts: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    decline: set[str] = field(default_factory=set)
    refuse_payment: Refusal | None = None
    slow_seconds: float = 0.0
    asked_for_action: dict[str, bool] = field(default_factory=dict)
    fail: Counter[str] = field(default_factory=Counter)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    batch_sizes: list[int] = field(default_factory=list)
    captures: Counter[str] = field(default_factory=Counter)
    slow_ready: set[str] = field(default_factory=set)
    conflicts: bool = False

    def enter(self, name: str) -> None:
        """Count a call, and fail it while the world says so."""
        self.calls[name] += 1
        if self.fail[name] > 0:
            self.fail[name] -= 1
            raise Unavailable(f"{name} is away")

    async def enter_when_free(self, name: str) -> None:
        """Count a call, and let it hang until its event, if it has one."""
        self.enter(name)
        if name in self.hold:
            await self.hold[name].wait()

    def servicers(self) -> dict[str, object]:
        """Every fake, by full gRPC service name."""
        return {
            "titan.cart.v1.CartService": Carts(self),
            "titan.catalog.v1.ProductService": Products(self),
            "titan.inventory.v1.InventoryService": Inventory(self),
            "titan.payment.v1.PaymentService": Payments(self),
            "titan.payment.v1.RefundService": Refunds(self),
            "titan.payment.v1.SplitService": Splits(self),
        }


def _status(refusal: Refusal) -> status_pb2.Status:
    return refusal.to_status()


class Carts(cart_service_pb2_grpc.CartServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchGetCarts(self, request: Any, context: Any) -> cart_service_pb2.BatchGetCartsResponse:
        await self._world.enter_when_free("carts")
        found = []
        for user_id in request.user_ids:
            cart_id, lines = self._world.carts.get(user_id, ("", {}))
            if cart_id in self._world.closed:
                cart_id, lines = "", {}
            wired = [cart_pb2.CartLine(sku=sku, quantity=quantity) for sku, quantity in lines.items()]
            found.append(cart_pb2.CartContents(user_id=user_id, cart_id=cart_id, lines=wired))
        return cart_service_pb2.BatchGetCartsResponse(carts=found)

    async def BatchCloseCarts(self, request: Any, context: Any) -> cart_service_pb2.BatchCloseCartsResponse:
        await self._world.enter_when_free("close")
        for cart in request.carts:
            self._close(cart)
        return cart_service_pb2.BatchCloseCartsResponse()

    def _close(self, cart: Any) -> None:
        """What was not ordered moves to the next cart, once."""
        world = self._world
        cart_id, lines = world.carts.get(cart.user_id, ("", {}))
        if cart_id == cart.cart_id and cart_id not in world.closed and cart.lines:
            left = Counter(lines)
            left.subtract({line.sku: line.quantity for line in cart.lines})
            if left := +left:
                world.carts[cart.user_id] = (str(uuid4()), dict(left))
        world.closed.add(cart.cart_id)


class Products(product_service_pb2_grpc.ProductServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchGetVariants(self, request: Any, context: Any) -> product_service_pb2.BatchGetVariantsResponse:
        self._world.enter("variants")
        variants = []
        for sku in request.skus:
            price = self._world.prices.get(sku)
            variant = product_pb2.SellableVariant(sku=sku, found=price is not None)
            if price is not None:
                variant.product_id, variant.title = "01890000-0000-7000-8000-000000000001", sku.title()
                variant.price.CopyFrom(
                    money_pb2.Money(currency_code=self._world.currencies.get(sku, "GBP"), minor_units=price)
                )
                variant.tax_rate_basis_points, variant.seller_id = 2000, self._world.sellers.get(sku, "house")
            variants.append(variant)
        return product_service_pb2.BatchGetVariantsResponse(variants=variants)


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """`reserved[order]` is what an order holds; None is the tombstone of a release."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchReserve(self, request: Any, context: Any) -> inventory_service_pb2.BatchReserveResponse:
        await self._world.enter_when_free("reserve")
        self._world.batch_sizes.append(len(request.reservations))
        return inventory_service_pb2.BatchReserveResponse(results=[self._reserve(r) for r in request.reservations])

    def _reserve(self, asked: Any) -> inventory_service_pb2.ReserveResult:
        world = self._world
        result = inventory_service_pb2.ReserveResult(order_id=asked.order_id)
        if asked.order_id in world.reserved and world.reserved[asked.order_id] is None:
            result.error.CopyFrom(_status(ReservationReleased("released")))
            return result
        if asked.order_id not in world.reserved:
            wanted: Counter[str] = Counter()
            for line in asked.lines:
                wanted[line.sku] += line.quantity
            short = [sku for sku, units in wanted.items() if world.stock.get(sku, 0) < units]
            if short:
                result.error.CopyFrom(_status(OutOfStock("not enough", sku=short[0])))
                return result
            for sku, units in wanted.items():
                world.stock[sku] -= units
            world.reserved[asked.order_id] = dict(wanted)
        for line in asked.lines:
            result.allocations.append(
                stock_pb2.Allocation(
                    line_number=line.line_number, sku=line.sku, warehouse_id="main", quantity=line.quantity
                )
            )
        return result

    async def BatchRelease(self, request: Any, context: Any) -> inventory_service_pb2.BatchReleaseResponse:
        self._world.enter("release")
        for order_id in request.order_ids:
            for sku, units in (self._world.reserved.get(order_id) or {}).items():
                self._world.stock[sku] += units
            self._world.reserved[order_id] = None
        return inventory_service_pb2.BatchReleaseResponse(results=_effects(request.order_ids))

    async def BatchShip(self, request: Any, context: Any) -> inventory_service_pb2.BatchShipResponse:
        self._world.enter("ship")
        self._world.shipped.update(request.order_ids)
        return inventory_service_pb2.BatchShipResponse(results=_effects(request.order_ids))

    async def BatchRestock(self, request: Any, context: Any) -> inventory_service_pb2.BatchRestockResponse:
        self._world.enter("restock")
        results = _effects([each.order_id for each in request.restocks])
        for each, result in zip(request.restocks, results, strict=True):
            if each.order_id not in self._world.shipped:
                result.error.CopyFrom(_status(ReservationNotFound("nothing has left")))
            elif each.restock_id not in self._world.restocked:
                self._world.restocked[each.restock_id] = {line.line_number: line.quantity for line in each.lines}
                for line in each.lines:
                    self._world.stock[line.sku] += line.quantity
        return inventory_service_pb2.BatchRestockResponse(results=results)


def _effects(order_ids: Any) -> list[inventory_service_pb2.StockEffectResult]:
    return [inventory_service_pb2.StockEffectResult(order_id=order_id) for order_id in order_ids]


class Payments(payment_service_pb2_grpc.PaymentServiceServicer):
    """Card tokens: tok_slow is in progress until `slow_ready`, tok_action asks until `asked_for_action` is True."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchAuthorize(self, request: Any, context: Any) -> payment_service_pb2.BatchAuthorizeResponse:
        self._world.enter("authorize")
        return payment_service_pb2.BatchAuthorizeResponse(results=[self._authorize(i) for i in request.intents])

    def _authorize(self, intent: Any) -> payment_service_pb2.AuthorizeResult:
        world, order_id, token = self._world, intent.order_id, intent.method.card.token
        result = payment_service_pb2.AuthorizeResult(order_id=order_id)
        stored = world.payments.get(order_id)
        if stored == STATUS.PAYMENT_STATUS_VOIDED:
            result.error.CopyFrom(_status(PaymentVoided("voided")))
        elif token == "tok_declined" or intent.user_id in world.decline:
            stored = STATUS.PAYMENT_STATUS_REFUSED
            result.error.CopyFrom(_status(PaymentDeclined("declined")))
        elif world.refuse_payment is not None:
            stored = STATUS.PAYMENT_STATUS_REFUSED
            result.error.CopyFrom(_status(world.refuse_payment))
        elif token == "tok_slow" and order_id not in world.slow_ready and stored is None:
            result.status = STATUS.PAYMENT_STATUS_IN_PROGRESS
            return result
        elif token == "tok_action" and not world.asked_for_action.get(order_id):
            world.asked_for_action.setdefault(order_id, False)
            result.status = STATUS.PAYMENT_STATUS_ACTION_REQUIRED
            result.next_action.url = f"https://bank.example/{order_id}"
            result.next_action.expire_time.GetCurrentTime()
            result.next_action.expire_time.seconds += 600
            return result
        elif stored is None:
            stored = STATUS.PAYMENT_STATUS_AUTHORIZED
        if world.conflicts:
            result.error.CopyFrom(_status(PaymentConflict("asked before for something else")))
        world.amounts[order_id] = intent.amount.minor_units
        world.payments[order_id] = result.status = stored
        return result

    async def BatchCapture(self, request: Any, context: Any) -> payment_service_pb2.BatchCaptureResponse:
        self._world.enter("capture")
        results = []
        for order_id in request.order_ids:
            result = payment_service_pb2.PaymentEffectResult(order_id=order_id, done=True)
            if self._world.payments.get(order_id) == STATUS.PAYMENT_STATUS_VOIDED:
                result.error.CopyFrom(_status(PaymentVoided("voided")))
            elif self._world.payments[order_id] == STATUS.PAYMENT_STATUS_AUTHORIZED:
                self._world.payments[order_id] = STATUS.PAYMENT_STATUS_CAPTURED
                self._world.captures[order_id] += 1
            result.status = self._world.payments[order_id]
            results.append(result)
        return payment_service_pb2.BatchCaptureResponse(results=results)

    async def BatchVoid(self, request: Any, context: Any) -> payment_service_pb2.BatchVoidResponse:
        self._world.enter("void")
        results = []
        for order_id in request.order_ids:
            result = payment_service_pb2.PaymentEffectResult(order_id=order_id, done=True)
            if self._world.payments.get(order_id) in (STATUS.PAYMENT_STATUS_CAPTURED, STATUS.PAYMENT_STATUS_REFUNDED):
                result.error.CopyFrom(_status(PaymentCaptured("captured")))
            else:
                self._world.payments[order_id] = STATUS.PAYMENT_STATUS_VOIDED
            result.status = self._world.payments[order_id]
            results.append(result)
        return payment_service_pb2.BatchVoidResponse(results=results)


class Refunds(refund_service_pb2_grpc.RefundServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchRefund(self, request: Any, context: Any) -> refund_service_pb2.BatchRefundResponse:
        self._world.enter("refund")
        results = []
        for intent in request.intents:
            result = refund_service_pb2.RefundResult(refund_id=intent.refund_id)
            if self._world.payments.get(intent.order_id) not in (
                STATUS.PAYMENT_STATUS_CAPTURED,
                STATUS.PAYMENT_STATUS_REFUNDED,
                STATUS.PAYMENT_STATUS_PARTIALLY_REFUNDED,
            ):
                result.error.CopyFrom(_status(PaymentNotCaptured("not captured")))
            else:
                whole = self._world.amounts[intent.order_id]
                amount = intent.amount.minor_units if intent.HasField("amount") else whole
                self._world.refunds[intent.refund_id] = intent.order_id
                if intent.sold:
                    self._world.borne[intent.refund_id] = _by_seller(intent.borne)
                status = "REFUNDED" if amount == whole else "PARTIALLY_REFUNDED"
                result.payment_status = STATUS.Value(f"PAYMENT_STATUS_{status}")
                result.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=amount))
                self._world.payments[intent.order_id] = result.payment_status
                result.status = refund_pb2.REFUND_STATUS_DONE
            results.append(result)
        return refund_service_pb2.BatchRefundResponse(results=results)


class Splits(split_service_pb2_grpc.SplitServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    async def BatchHoldShares(self, request: Any, context: Any) -> split_service_pb2.BatchHoldSharesResponse:
        self._world.enter("hold_shares")
        return split_service_pb2.BatchHoldSharesResponse(results=self._split(request, self._world.held))

    async def BatchReleaseShares(self, request: Any, context: Any) -> split_service_pb2.BatchReleaseSharesResponse:
        self._world.enter("release_shares")
        return split_service_pb2.BatchReleaseSharesResponse(results=self._split(request, self._world.released))

    def _split(self, request: Any, kept: dict[str, dict[str, int]]) -> list[split_service_pb2.OrderSharesResult]:
        results = [split_service_pb2.OrderSharesResult(order_id=each.order_id) for each in request.orders]
        for each, result in zip(request.orders, results, strict=True):
            if self._world.payments.get(each.order_id) == STATUS.PAYMENT_STATUS_AUTHORIZED:
                result.error.CopyFrom(_status(PaymentNotCaptured("not captured")))
            else:
                kept[each.order_id] = _by_seller(each.sold)
        return results


def _by_seller(amounts: Any) -> dict[str, int]:
    return {each.seller_id: each.amount_minor for each in amounts}


async def until(condition: Any, *, seconds: float = 5.0) -> None:
    """Wait until a condition holds; the background work of a saga has no other signal."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.01)


def code_of(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    """Return the status code of a failed call."""
    return error.code()
