"""What the saga asks of stock, money and carts: each a batch of all orders that stand at that step.

Every participant is idempotent by order id (or refund id), so anything here may be asked again at any time. Nothing is
decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mesh.batcher import Batcher
from mesh.clients import Clients
from svc_order.checkout.store import ReturnedUnits
from svc_order.order.lines import Line
from svc_order.order.rules import Order
from svc_order.order.values import money
from svc_order.split.rules import SellerPart
from titan.cart.v1 import cart_pb2, cart_service_pb2, cart_service_pb2_grpc
from titan.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from titan.order.v1 import order_pb2
from titan.payment.v1 import (
    payment_pb2,
    payment_service_pb2,
    payment_service_pb2_grpc,
    refund_service_pb2,
    refund_service_pb2_grpc,
    split_pb2,
    split_service_pb2,
    split_service_pb2_grpc,
)

CAPTURE_GATHER_SECONDS = 0.1
"""How long a capture waits for company: its order is confirmed and answered, so nobody waits for it."""


@dataclass(frozen=True, slots=True)
class ToPay:
    """An order and how it is paid."""

    order: Order
    method: payment_pb2.PaymentMethod


@dataclass(frozen=True, slots=True)
class ToRefund:
    """Money to send back; without an amount all that was captured and not yet refunded. Who bears it, where others than
    the house sold of the order."""

    refund_id: UUID
    order_id: UUID
    amount_minor: int | None = None
    currency: str | None = None
    sellers: tuple[SellerPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """An order, and what other sellers than the house sold of it."""

    order_id: UUID
    sellers: tuple[SellerPart, ...]


@dataclass(frozen=True, slots=True)
class ToRestock:
    """Units of a parcel that came back; the restock has the id of the refund that they came back with."""

    restock_id: UUID
    order_id: UUID
    lines: tuple[ReturnedUnits, ...]


@dataclass(frozen=True, slots=True)
class CartOrdered:
    """A cart that an order consumed, its owner, and the quantities by SKU that the order took.

    The cart may hold more: what was added after it was priced belongs to its owner's next cart.
    """

    user_id: UUID
    cart_id: UUID
    quantities: Mapping[str, int]

    @classmethod
    def by(cls, user_id: UUID, cart_id: UUID, lines: Iterable[Line | order_pb2.OrderLine]) -> CartOrdered:
        """Return what lines of an order, also as its answer shows them, take of a cart."""
        quantities: Counter[str] = Counter()
        for line in lines:
            quantities[line.sku] += line.quantity
        return cls(user_id, cart_id, dict(quantities))


class Participants:
    """A batcher per thing that can be asked; `submit` answers the participant's own result for that order."""

    def __init__(self, clients: Clients) -> None:
        self._inventory = clients.get(inventory_service_pb2_grpc.InventoryServiceStub)
        self._payments = clients.get(payment_service_pb2_grpc.PaymentServiceStub)
        self._refunds = clients.get(refund_service_pb2_grpc.RefundServiceStub)
        self._splits = clients.get(split_service_pb2_grpc.SplitServiceStub)
        self._carts = clients.get(cart_service_pb2_grpc.CartServiceStub)
        self.reserve: Batcher[Order, inventory_service_pb2.ReserveResult] = Batcher(
            self._reserve, name="order.reserve", weight=lambda order: len(order.lines)
        )
        self.authorize: Batcher[ToPay, payment_service_pb2.AuthorizeResult] = Batcher(
            self._authorize, name="order.authorize"
        )
        self.close_cart: Batcher[CartOrdered, None] = Batcher(
            self._close, name="order.close", weight=lambda cart: len(cart.quantities)
        )
        self.refund: Batcher[ToRefund, refund_service_pb2.RefundResult] = Batcher(self._refund, name="order.refund")
        self.capture = self._by_order(
            "order.capture",
            self._payments.BatchCapture,
            payment_service_pb2.BatchCaptureRequest,
            gather_seconds=CAPTURE_GATHER_SECONDS,
        )
        self.void = self._by_order("order.void", self._payments.BatchVoid, payment_service_pb2.BatchVoidRequest)
        self.release = self._by_order(
            "order.release", self._inventory.BatchRelease, inventory_service_pb2.BatchReleaseRequest
        )
        self.restock: Batcher[ToRestock, inventory_service_pb2.StockEffectResult] = Batcher(
            self._restock, name="order.restock", weight=lambda restock: len(restock.lines)
        )
        self.hold_shares: Batcher[Split, split_service_pb2.OrderSharesResult] = Batcher(
            self._hold_shares, name="order.hold_shares", weight=lambda split: len(split.sellers)
        )
        self.release_shares: Batcher[Split, split_service_pb2.OrderSharesResult] = Batcher(
            self._release_shares, name="order.release_shares", weight=lambda split: len(split.sellers)
        )
        self.ship = self._by_order("order.ship", self._inventory.BatchShip, inventory_service_pb2.BatchShipRequest)

    async def close(self) -> None:
        """Let what waits be asked, and take nothing new."""
        for batcher in (self.reserve, self.authorize, self.close_cart, self.refund, self.capture, self.void):
            await batcher.close()
        for effect in (self.release, self.ship, self.restock, self.hold_shares, self.release_shares):
            await effect.close()

    @staticmethod
    def _by_order(name: str, call: Any, request_class: type, *, gather_seconds: float = 0.0) -> Batcher[UUID, Any]:
        async def run(order_ids: list[UUID]) -> Sequence[Any]:
            response = await call(request_class(order_ids=[str(order_id) for order_id in order_ids]))
            return list(response.results)

        return Batcher(run, name=name, gather_seconds=gather_seconds)

    async def _reserve(self, orders: list[Order]) -> Sequence[inventory_service_pb2.ReserveResult]:
        request = inventory_service_pb2.BatchReserveRequest(
            reservations=[
                inventory_service_pb2.Reservation(
                    order_id=str(order.order_id),
                    lines=[
                        inventory_service_pb2.ReservationLine(
                            line_number=line.number, sku=line.sku, quantity=line.quantity
                        )
                        for line in order.lines
                    ],
                )
                for order in orders
            ]
        )
        return list((await self._inventory.BatchReserve(request)).results)

    async def _authorize(self, orders: list[ToPay]) -> Sequence[payment_service_pb2.AuthorizeResult]:
        request = payment_service_pb2.BatchAuthorizeRequest(
            intents=[
                payment_service_pb2.PaymentIntent(
                    order_id=str(pay.order.order_id),
                    user_id=str(pay.order.user_id),
                    amount=money(pay.order.total_minor, pay.order.currency),
                    method=pay.method,
                )
                for pay in orders
            ]
        )
        return list((await self._payments.BatchAuthorize(request)).results)

    async def _close(self, ordered: list[CartOrdered]) -> Sequence[None]:
        carts = [
            cart_service_pb2.CartToClose(
                user_id=str(each.user_id),
                cart_id=str(each.cart_id),
                lines=[cart_pb2.CartLine(sku=sku, quantity=units) for sku, units in each.quantities.items()],
            )
            for each in ordered
        ]
        await self._carts.BatchCloseCarts(cart_service_pb2.BatchCloseCartsRequest(carts=carts))
        return [None] * len(ordered)

    async def _restock(self, restocks: list[ToRestock]) -> Sequence[inventory_service_pb2.StockEffectResult]:
        wanted = [
            inventory_service_pb2.Restock(
                restock_id=str(each.restock_id),
                order_id=str(each.order_id),
                lines=[
                    inventory_service_pb2.ReservationLine(
                        line_number=units.line_number, sku=units.sku, quantity=units.quantity
                    )
                    for units in each.lines
                ],
            )
            for each in restocks
        ]
        request = inventory_service_pb2.BatchRestockRequest(restocks=wanted)
        return list((await self._inventory.BatchRestock(request)).results)

    async def _refund(self, refunds: list[ToRefund]) -> Sequence[refund_service_pb2.RefundResult]:
        intents = []
        for refund in refunds:
            intent = refund_service_pb2.RefundIntent(refund_id=str(refund.refund_id), order_id=str(refund.order_id))
            if refund.amount_minor is not None:
                intent.amount.CopyFrom(money(refund.amount_minor, refund.currency or ""))
            for part in refund.sellers:
                intent.sold.add(seller_id=part.seller_id, amount_minor=part.sold_minor)
                intent.borne.add(seller_id=part.seller_id, amount_minor=part.borne_minor)
            intents.append(intent)
        return list((await self._refunds.BatchRefund(refund_service_pb2.BatchRefundRequest(intents=intents))).results)

    async def _hold_shares(self, splits: list[Split]) -> Sequence[split_service_pb2.OrderSharesResult]:
        request = split_service_pb2.BatchHoldSharesRequest(orders=map(_shares, splits))
        return list((await self._splits.BatchHoldShares(request)).results)

    async def _release_shares(self, splits: list[Split]) -> Sequence[split_service_pb2.OrderSharesResult]:
        request = split_service_pb2.BatchReleaseSharesRequest(orders=map(_shares, splits))
        return list((await self._splits.BatchReleaseShares(request)).results)


def _shares(split: Split) -> split_service_pb2.OrderShares:
    return split_service_pb2.OrderShares(
        order_id=str(split.order_id),
        sold=[split_pb2.SellerAmount(seller_id=each.seller_id, amount_minor=each.sold_minor) for each in split.sellers],
    )
