"""The steps of a saga: each asks a participant until it has answered, and turns the answer into what happened.

Every step may be run again at any time. A participant that is slow is asked again after growing pauses; one that takes
longer than a run may last raises `Later`, and the sweeper comes back to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from mesh.batcher import Batcher
from mesh.refusals import Refusal
from mesh.seams import failpoint
from mesh.telemetry import get_logger
from svc_order.checkout.participants import CartOrdered, Participants, Split, ToPay, ToRefund, ToRestock
from svc_order.order.lines import Allocations
from svc_order.order.rules import Order
from titan.inventory.v1 import inventory_service_pb2
from titan.payment.v1 import payment_pb2, payment_service_pb2, refund_pb2, refund_service_pb2

log = get_logger("order.steps")

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
ASK_SECONDS = 3.0
"""How long one run asks a participant that is still at it, before it leaves the order to the sweeper."""


class Later(Exception):
    """This run can't go on now; the sweeper runs the order again after a pause."""

    def __init__(self, seconds: float = LONGEST_PAUSE_SECONDS) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Undone:
    """Where the payment of an undone order stands, and what went back under which refund, if it had been taken."""

    payment_status: int
    refund_id: UUID | None = None
    refunded_minor: int = 0


class Steps:
    """What the saga does to stock, money and carts."""

    def __init__(self, participants: Participants) -> None:
        self._ask = participants

    async def reserve(self, order: Order) -> inventory_service_pb2.ReserveResult:
        """Hold the stock of an order; the result carries its refusal."""
        return await step("reserve", self._ask.reserve, order)  # type: ignore[no-any-return]

    async def authorize(
        self, order: Order, method: payment_pb2.PaymentMethod, on_slow: Callable[[], None]
    ) -> payment_service_pb2.AuthorizeResult:
        """Hold the money of an order; the result carries its refusal. `on_slow` is told when the provider thinks.

        Raises:
            Later: The provider has not answered yet.
        """

        def answered(paid: payment_service_pb2.AuthorizeResult) -> bool:
            if paid.status == payment_pb2.PAYMENT_STATUS_IN_PROGRESS:
                on_slow()
                return False
            return True

        return await _until(answered, "authorize", self._ask.authorize, ToPay(order, method))

    async def close_cart(self, cart: CartOrdered) -> bool:
        """Close the cart that an order consumed; False when it is still open, because nobody could be asked.

        The order counts either way, so its caller is not kept waiting.
        """
        try:
            await step("close", self._ask.close_cart, cart)
        except Refusal as refusal:
            log.warning("an ordered cart stays open", cart_id=str(cart.cart_id), why=refusal.reason)
            return False
        return True

    async def capture(self, order_id: UUID) -> int:
        """Take the money; returns where the payment stands. An order that was voided meanwhile is not captured."""
        captured = await _until(_done, "capture", self._ask.capture, order_id)
        if captured.HasField("error"):
            refusal = Refusal.from_status(captured.error)
            if refusal.reason != "PAYMENT_VOIDED":
                raise refusal
        return int(captured.status)

    async def undo(self, order_id: UUID) -> Undone:
        """Let go of stock and money, or send the money back where it was taken; returns when it is back.

        Raises:
            Later: The money is still on its way here, or back.
        """
        await self.release(order_id)
        voided = await _until(_done, "void", self._ask.void, order_id)
        if not voided.HasField("error"):
            return Undone(int(voided.status))
        refusal = Refusal.from_status(voided.error)
        if refusal.reason != "PAYMENT_CAPTURED":
            raise refusal
        refund_id = uuid5(order_id, "undo")
        refunded = await self.refund(ToRefund(refund_id, order_id))
        return Undone(int(refunded.payment_status), refund_id, refunded.amount.minor_units)

    async def refund(self, refund: ToRefund) -> refund_service_pb2.RefundResult:
        """Send money back; returns how much is back, and where the payment stands.

        Raises:
            Later: The money is still on its way here, or back.
        """
        refunded = await _until(_sent_back, "refund", self._ask.refund, refund)
        _refuse_until_captured(refunded)
        return refunded

    async def hold_shares(self, split: Split) -> None:
        """Have what sellers sold of a captured order held for them.

        Raises:
            Later: The money is still on its way here.
        """
        _refuse_until_captured(await step("hold_shares", self._ask.hold_shares, split))

    async def release_shares(self, split: Split) -> None:
        """Have what sellers sold of an order that has arrived released to them.

        Raises:
            Later: The money is still on its way here.
        """
        _refuse_until_captured(await step("release_shares", self._ask.release_shares, split))

    async def release(self, order_id: UUID) -> None:
        """Let go of what an order holds."""
        _refuse_error(await step("release", self._ask.release, order_id))

    async def ship(self, order_id: UUID) -> None:
        """Take what an order holds out of the warehouse."""
        _refuse_error(await step("ship", self._ask.ship, order_id))

    async def restock(self, restock: ToRestock) -> None:
        """Put units that came back on the shelf again.

        Raises:
            Later: The warehouse has not heard yet that the parcel left.
        """
        restocked = await step("restock", self._ask.restock, restock)
        if restocked.HasField("error"):
            refusal = Refusal.from_status(restocked.error)
            raise Later if refusal.reason == "RESERVATION_NOT_FOUND" else refusal


def allocations_of(reserved: inventory_service_pb2.ReserveResult) -> Allocations:
    """Return where the units of an order are held."""
    by_line: dict[int, tuple[tuple[str, int], ...]] = {}
    for each in reserved.allocations:
        by_line[each.line_number] = (*by_line.get(each.line_number, ()), (each.warehouse_id, each.quantity))
    return by_line


async def step(name: str, batcher: Batcher[Any, Any], item: Any) -> Any:
    """Have an item ride in the next batch of a step, between the step's two failpoints."""
    await failpoint(f"saga.{name}.before")
    result = await batcher.submit(item)
    await failpoint(f"saga.{name}.after")
    return result


async def _until(answered: Callable[[Any], bool], name: str, batcher: Batcher[Any, Any], item: Any) -> Any:
    ends, pause = time.monotonic() + ASK_SECONDS, FIRST_PAUSE_SECONDS
    while not answered(result := await step(name, batcher, item)):
        if time.monotonic() > ends:
            raise Later
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return result


def _done(result: payment_service_pb2.PaymentEffectResult) -> bool:
    return result.done or result.HasField("error")


def _sent_back(result: Any) -> bool:
    return result.status == refund_pb2.REFUND_STATUS_DONE or result.HasField("error")


def _refuse_error(result: Any) -> None:
    if result.HasField("error"):
        raise Refusal.from_status(result.error)


def _refuse_until_captured(result: Any) -> None:
    if result.HasField("error"):
        refusal = Refusal.from_status(result.error)
        raise Later if refusal.reason == "PAYMENT_NOT_CAPTURED" else refusal
