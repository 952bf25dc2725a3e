"""CheckoutService on the wire: decode, quote, record, wait for the saga, encode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from mesh import audit, calls, idempotency
from mesh.identity import Caller, caller_of
from mesh.refusals import Overloaded, Refusal
from mesh.seams import Clock
from svc_order.checkout.convoy import Convoy, Ride
from svc_order.checkout.intake import Ask, Intake, Placement, Priced
from svc_order.checkout.rules import Agreed, Wanted, check_expected
from svc_order.checkout.saga import Saga
from svc_order.checkout.store import Key, Known
from svc_order.checkout.waiting import Answer
from svc_order.errors import ImporterRequired
from svc_order.order import wire
from svc_order.order.effective import check_effective
from svc_order.order.reads import Reads
from svc_order.order.values import datetime_of, money
from titan.order.v1 import checkout_service_pb2 as pb
from titan.order.v1 import checkout_service_pb2_grpc, order_pb2

ANSWER_MARGIN_SECONDS = 0.5
"""What is kept of the caller's time to answer PENDING in."""
UNTIMED_SECONDS = 10.0
"""How long a call without a deadline waits."""


class CheckoutServicer(checkout_service_pb2_grpc.CheckoutServiceServicer):
    """The way from a cart to an order."""

    def __init__(self, intake: Intake, saga: Saga, reads: Reads, clock: Clock) -> None:
        self._intake = intake
        self._saga = saga
        self._reads = reads
        self._clock = clock
        self._convoy = Convoy()

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: Any) -> pb.PlaceOrderResponse:
        """Refuses with every reason of the contract's comment; a stored refusal comes back as it was."""
        caller = caller_of(context)
        self._check_importer(request, caller)
        ride = await self._convoy.join()
        try:
            return await self._place(request, caller, ride)
        finally:
            ride.leave()

    async def _place(self, request: pb.PlaceOrderRequest, caller: Caller, ride: Ride) -> pb.PlaceOrderResponse:
        user_id = caller.require_user_id()
        key = Key(user_id, request.request_id, idempotency.fingerprint(request))
        priced = await self._price(request, key)
        found = await self._record(request, key, priced) if isinstance(priced, Priced) else priced
        if not request.payment.HasField("wallet"):
            ride.leave()  # a provider takes its time, and a batch of one is all it gets
        if isinstance(found, UUID):
            return await self._settle(found)
        stored = (await self._saga.answers.open_known([found]))[0]
        if stored is not None:
            return _unwrap(stored)
        return await self._pending(found.order_id) if found.rests else await self._settle(found.order_id)

    async def QuoteOrder(self, request: pb.QuoteOrderRequest, context: Any) -> pb.QuoteOrderResponse:
        """Refuses with CART_EMPTY, SKU_NOT_SOLD, TOTAL_TOO_LARGE or CURRENCY_MIXED."""
        caller = caller_of(context)
        _refuse_agreed_prices(request.lines, caller)
        found = await self._intake.quote(Ask(caller.require_user_id(), _wanted(request.lines)))
        assert isinstance(found, Priced), "without a key nothing is found under it"
        quote = found.quote
        return pb.QuoteOrderResponse(
            quote=order_pb2.Quote(
                lines=wire.lines_to_wire(quote.lines, quote.currency, {}, {}),
                total=money(quote.total_minor, quote.currency),
                tax=money(quote.tax_minor, quote.currency),
                shipping=money(quote.shipping_minor, quote.currency),
            )
        )

    async def _price(self, request: pb.PlaceOrderRequest, key: Key) -> Known | Priced:
        """Return what the order costs, as its caller expects, or what is stored under its key."""
        try:
            priced = await self._intake.quote(Ask(key.user_id, _wanted(request.lines), key, _agreed(request)))
            if isinstance(priced, Priced):
                check_expected(
                    priced.quote,
                    expected_minor=request.expected_total.minor_units,
                    expected_currency=request.expected_total.currency_code,
                )
            return priced
        except Overloaded:
            raise  # one more query for each call that is shed would not help
        except Refusal:
            # A twin may have been recorded since the key was looked up; it has closed the cart that is empty now.
            known = await self._intake.find_known(key)
            if known is None:
                raise
            return known

    async def _record(self, request: pb.PlaceOrderRequest, key: Key, priced: Priced) -> Known | UUID:
        if self._saga.full:
            raise Overloaded("too many orders are being placed", retry_after_seconds=1)
        personal = wire.seal_text(request.shipping_address, request.contact_email)
        effective_at = datetime_of(request.effective_time) if request.HasField("effective_time") else None
        recorded = await self._intake.records.submit(
            Placement(
                key=key,
                priced=priced,
                personal=personal,
                method=request.payment.SerializeToString(),
                effective_at=effective_at,
                by=audit.command(request.request_id),
            )
        )
        if isinstance(recorded, Known):
            return recorded
        self._saga.start(recorded, personal, request.payment)
        return recorded.order_id

    async def _settle(self, order_id: UUID) -> pb.PlaceOrderResponse:
        """Wait for the decision; an order that waits for its customer, or for too long, is answered as PENDING."""
        left = calls.remaining_seconds()
        seconds = max(0.0, (left if left is not None else UNTIMED_SECONDS) - ANSWER_MARGIN_SECONDS)
        answer = await self._saga.answers.waiting.wait(order_id, seconds=seconds)
        return await self._pending(order_id) if answer is None else _unwrap(answer)

    async def _pending(self, order_id: UUID) -> pb.PlaceOrderResponse:
        """Return the order as PENDING; one that was decided this very moment gets its stored answer."""
        order = await self._reads.get(order_id, owner_id=None)
        if order.status != order_pb2.ORDER_STATUS_PENDING:
            answer = await self._saga.answers.find(order_id)
            if answer is not None:
                return _unwrap(answer)
        return pb.PlaceOrderResponse(order=order)

    def _check_importer(self, request: pb.PlaceOrderRequest, caller: Caller) -> None:
        _refuse_agreed_prices(request.lines, caller)
        brings = request.HasField("agreed_shipping") or request.HasField("agreed_discount")
        if brings and "importer" not in caller.roles:
            raise ImporterRequired("only importers may bring shipping and discounts")
        if request.HasField("effective_time"):
            check_effective(request.effective_time, caller, now=self._clock.now())


def _refuse_agreed_prices(lines: Iterable[pb.PlaceOrderLine], caller: Caller) -> None:
    if "importer" not in caller.roles and any(line.HasField("agreed_price") for line in lines):
        raise ImporterRequired("only importers may bring a price")


def _wanted(lines: Iterable[pb.PlaceOrderLine]) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(line.sku, line.quantity, line.agreed_price.minor_units, line.agreed_price.currency_code)
        if line.HasField("agreed_price")
        else Wanted(line.sku, line.quantity)
        for line in lines
    )


def _agreed(request: pb.PlaceOrderRequest) -> Agreed:
    brought = [getattr(request, name) for name in ("agreed_shipping", "agreed_discount") if request.HasField(name)]
    return Agreed(
        request.agreed_shipping.minor_units,
        request.agreed_discount.minor_units,
        frozenset(amount.currency_code for amount in brought),
    )


def _unwrap(answer: Answer) -> pb.PlaceOrderResponse:
    if answer.refusal is not None:
        raise answer.refusal
    assert answer.response is not None, "an answer is a response or a refusal"
    return answer.response
