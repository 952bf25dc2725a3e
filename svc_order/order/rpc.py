"""OrderService on the wire: decode, ask the rules, store the decision with its effect, encode."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from mesh import audit, idempotency, pages, powers
from mesh.database import Database
from mesh.identity import Caller, caller_of
from mesh.powers import Reach
from mesh.refusals import Overloaded
from mesh.seams import Clock, Ids, failpoint
from mesh.vault.vault import Vault
from mesh.writes import Write
from svc_order.checkout import store as checkouts
from svc_order.checkout.effects import Effects
from svc_order.checkout.store import Effect
from svc_order.credit_note import store as credit_notes
from svc_order.errors import OrderCancelled, OrderNotFound
from svc_order.invoice import store as invoices
from svc_order.order import erasure, export, journal, refunds, rules, sold, store, wire
from svc_order.order.effective import check_effective
from svc_order.order.reads import Reads, view_within
from svc_order.order.rules import OrderStatus
from svc_order.order.values import datetime_of
from svc_order.settings import OrderSettings
from svc_order.split import rules as split
from titan.order.v1 import order_pb2, order_service_pb2_grpc
from titan.order.v1 import order_service_pb2 as pb

WATCH_SECONDS = 0.25
"""How often a watched order is looked at."""
WATCHES_PER_USER = 5
_LIST = "OrderService.ListOrders"
_USER_LIST = "OrderService.ListUserOrders"
_SELLER_LIST = "OrderService.ListSellerOrders"
_REFUND = "OrderService.CreateRefund"

_T = TypeVar("_T")
_Dated = pb.ShipOrderRequest | pb.DeliverOrderRequest | pb.CreateRefundRequest


class OrderServicer(order_service_pb2_grpc.OrderServiceServicer):
    """Orders that were placed."""

    def __init__(
        self,
        db: Database,
        reads: Reads,
        effects: Effects,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        settings: OrderSettings,
    ) -> None:
        self._db = db
        self._reads = reads
        self._effects = effects
        self._vault = vault
        self._watches: Counter[UUID] = Counter()
        self._clock = clock
        self._ids = ids
        self._lease_seconds = settings.lease_seconds

    async def GetOrder(self, request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:
        """Refuses with ORDER_NOT_FOUND or TICKET_REQUIRED."""
        reach = powers.reach(request.ticket_id)
        return pb.GetOrderResponse(order=await self._reads.get_within(UUID(request.order_id), reach))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Any) -> pb.ListOrdersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        user_id = caller_of(context).require_user_id()
        before, size = pages.decode_id(request.page_token, _LIST, user_id), pages.page_size(request.page_size)
        found = await self._reads.list_of_user(user_id, before=before, limit=size + 1)
        shown = pages.fitting(found[:size])
        more = pages.encode(_LIST, [shown[-1].order_id], user_id) if len(found) > len(shown) else ""
        return pb.ListOrdersResponse(orders=shown, next_page_token=more)

    async def ListSellerOrders(self, request: pb.ListSellerOrdersRequest, context: Any) -> pb.ListSellerOrdersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        seller_id, wanted = request.seller_id, request.status
        before = pages.decode_id(request.page_token, _SELLER_LIST, seller_id, wanted)
        size = pages.page_size(request.page_size)
        if not powers.may_read_of(seller_id):  # as if nothing had been sold of them
            return pb.ListSellerOrdersResponse()
        looked_at = sold.SEARCHED_ORDERS if wanted else size + 1
        async with self._db.hot_read() as connection:
            found = await store.list_of_seller(connection, seller_id, before=before, limit=looked_at)
            chosen, last = sold.page(found, wire.status_of(wanted), size=size, looked_at=looked_at)
            orders = await store.list_orders(connection, chosen)
        messages = [wire.sold_to_wire(order, seller_id) for order in orders]
        shown = pages.fitting(messages)
        if len(shown) < len(messages):
            last = UUID(shown[-1].order_id)
        more = pages.encode(_SELLER_LIST, [str(last)], seller_id, wanted) if last else ""
        return pb.ListSellerOrdersResponse(orders=shown, next_page_token=more)

    async def ListOrderEvents(self, request: pb.ListOrderEventsRequest, context: Any) -> pb.ListOrderEventsResponse:
        """Refuses with ORDER_NOT_FOUND or TICKET_REQUIRED."""
        order_id, reach = UUID(request.order_id), powers.reach(request.ticket_id)
        async with self._db.hot_read() as connection:
            view = await view_within(connection, order_id, reach)
            entries = await store.list_entries(connection, order_id)
        events, status = [], OrderStatus.PENDING
        for entry in entries:
            events.append(wire.entry_to_wire(entry, status, view.order.currency))
            status = wire.status_after(entry, status)
        return pb.ListOrderEventsResponse(events=events)

    async def GetOrderAsOf(self, request: pb.GetOrderAsOfRequest, context: Any) -> pb.GetOrderAsOfResponse:
        """Refuses with ORDER_NOT_FOUND or TICKET_REQUIRED."""
        order_id, reach = UUID(request.order_id), powers.reach(request.ticket_id)
        async with self._db.hot_read() as connection:
            view = await view_within(connection, order_id, reach)
            entries = await store.list_entries(connection, order_id)
        recorded = request.timeline == order_pb2.TIMELINE_RECORDED
        by_then = journal.as_of(entries, datetime_of(request.as_of_time), recorded=recorded)
        if not by_then:
            raise OrderNotFound("the order had not been placed by then")
        shown = replace(view, order=journal.replay(order_id, by_then), payment_status=0, action_url=None)
        return pb.GetOrderAsOfResponse(order=await self._reads.opened_for(shown, reach.user_id))

    async def WatchOrder(self, request: pb.WatchOrderRequest, context: Any) -> AsyncIterator[pb.WatchOrderResponse]:
        """Refuses with ORDER_NOT_FOUND, and with OVERLOADED a user who watches too much already."""
        owner_id, order_id = caller_of(context).require_user_id(), UUID(request.order_id)
        if self._watches[owner_id] >= WATCHES_PER_USER:
            raise Overloaded(f"a user watches at most {WATCHES_PER_USER} orders at a time", retry_after_seconds=1)
        self._watches[owner_id] += 1
        try:
            seen = None
            while True:
                mark = await self._reads.mark(order_id)
                if mark.text != seen:
                    yield pb.WatchOrderResponse(order=await self._reads.get(order_id, owner_id=owner_id))
                    seen = mark.text
                if mark.final:
                    return
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            self._watches[owner_id] -= 1
            if not self._watches[owner_id]:
                del self._watches[owner_id]

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Any) -> pb.CancelOrderResponse:
        """Refuses with ORDER_NOT_FOUND or ORDER_NOT_CANCELLABLE."""
        order_id, owner_id = UUID(request.order_id), caller_of(context).require_user_id()
        words = await self._seal_words(order_id, request.reason, owner_id=owner_id)

        async def write(tx: asyncpg.Connection) -> Effect | None:
            order = await store.lock_order(tx, order_id, owner_id=owner_id)
            change = rules.cancel(order, at=self._clock.now())
            if change.entry is None:
                return None
            effect = Effect(self._ids.new(), order_id, "UNDO")
            await store.save_changes(tx, [change], words, also=[_accepted(order_id)])
            if order.status is OrderStatus.PENDING:
                refusal = OrderCancelled(
                    "the order was cancelled by its customer", order_id=order_id, cause=rules.CUSTOMER
                )
                await checkouts.decide_cancelled(tx, order_id, refusal)
            await checkouts.add_effect(tx, effect, lease_seconds=self._lease_seconds)
            return effect

        self._run(await self._change(write))
        return pb.CancelOrderResponse(order=await self._reads.get(order_id, owner_id=owner_id))

    async def ShipOrder(self, request: pb.ShipOrderRequest, context: Any) -> pb.ShipOrderResponse:
        """Refuses with ORDER_NOT_FOUND, ORDER_NOT_SHIPPABLE, TRACKING_CODE_CONFLICT or IMPORTER_REQUIRED."""
        order_id, caller = UUID(request.order_id), caller_of(context)
        effective_at = self._effective(request, caller)

        async def write(tx: asyncpg.Connection) -> Effect | None:
            order = await store.lock_order(tx, order_id)
            change = rules.ship(order, request.tracking_code, at=self._clock.now(), effective_at=effective_at)
            if change.entry is None:
                return None
            await store.save_changes(tx, [change], also=[_accepted(order_id)])
            if change.order.status is order.status:  # it had left before
                return None
            await invoices.issue(tx, change.order, at=change.entry.recorded_at, effective_at=change.entry.effective_at)
            if order.refunded_minor:  # before there was an invoice to correct
                await self._credit_earlier(tx, change.order, change.entry)
            effect = Effect(self._ids.new(), order_id, "SHIP")
            await checkouts.add_effect(tx, effect, lease_seconds=self._lease_seconds)
            return effect

        effect = await self._change(write)
        self._run(effect)
        return pb.ShipOrderResponse(order=await self._shown(order_id, caller, sent_off=effect is not None))

    async def DeliverOrder(self, request: pb.DeliverOrderRequest, context: Any) -> pb.DeliverOrderResponse:
        """Refuses with ORDER_NOT_FOUND, ORDER_NOT_DELIVERABLE or IMPORTER_REQUIRED."""
        order_id, caller = UUID(request.order_id), caller_of(context)
        effective_at = self._effective(request, caller)

        async def write(tx: asyncpg.Connection) -> Effect | None:
            order = await store.lock_order(tx, order_id)
            change = rules.deliver(order, at=self._clock.now(), effective_at=effective_at)
            if change.entry is None:
                return None
            await store.save_changes(tx, [change], also=[_accepted(order_id)])
            if not split.has_sellers(order):
                return None
            effect = Effect(self._ids.new(), order_id, "DELIVER", sellers=split.sold(order))
            await checkouts.add_effect(tx, effect, lease_seconds=self._lease_seconds)
            return effect

        self._run(await self._change(write))
        return pb.DeliverOrderResponse(order=await self._shown(order_id, caller))

    async def CreateRefund(self, request: pb.CreateRefundRequest, context: Any) -> pb.CreateRefundResponse:
        """Refuses with ORDER_NOT_FOUND, ORDER_NOT_REFUNDABLE, ORDER_NOT_RETURNABLE, RETURN_EXCEEDS_LINE,
        SUPPORT_REQUIRED, REFUND_EXCEEDS_ORDER, REFUND_AMOUNT_INVALID, REFUND_LIMIT_EXCEEDED, TICKET_REQUIRED or
        IMPORTER_REQUIRED."""
        order_id, reach = UUID(request.order_id), powers.reach(request.ticket_id)
        user_id = reach.user_id
        asked, units = request.HasField("amount"), refunds.returned(request)
        effective_at = self._effective(request, caller_of(context))
        with reach.hiding(OrderNotFound) as owner_id:
            words = await self._seal_words(order_id, request.reason, owner_id=owner_id)

        async def write(tx: asyncpg.Connection) -> tuple[pb.CreateRefundResponse, Effect | None]:
            stored = await idempotency.claim(
                tx,
                user_id=user_id,
                method=_REFUND,
                request_id=request.request_id,
                fingerprint=idempotency.fingerprint(request),
            )
            if stored is not None:
                return pb.CreateRefundResponse.FromString(stored), None
            order = await store.lock_order(tx, order_id, owner_id=reach.owner_id)
            by_owner = refunds.is_owners_wish(order, reach)
            has_sellers = split.has_sellers(order)
            entries = await store.list_entries(tx, order_id) if has_sellers or request.of_shipping else []
            change = rules.refund(
                order,
                self._ids.new(),
                amount_minor=request.amount.minor_units if asked else None,
                currency=request.amount.currency_code if asked else None,
                by_owner=by_owner,
                at=self._clock.now(),
                effective_at=effective_at,
                units=units,
                shipping_left_minor=rules.shipping_left(order, entries) if request.of_shipping else None,
            )
            if not by_owner:
                refunds.check_limit(change.order)
            sellers: tuple[split.SellerPart, ...] = ()
            so_far: split.Parts = {split.HOUSE: order.refunded_minor}
            if has_sellers:
                so_far = split.borne_so_far(order, entries)
                change = split.divided(order, change, units, so_far)
                sellers = split.bearing(order, change)
            if order.status in rules.LEFT:
                await refunds.credit(tx, change, so_far)
            effect = replace(refunds.effect_of(change, restock=units if request.restock else {}), sellers=sellers)
            response = pb.CreateRefundResponse(refund=refunds.to_wire(effect, change))
            await store.save_changes(tx, [change], words, also=[_accepted(order_id, request.request_id)])
            await checkouts.add_effect(tx, effect, lease_seconds=self._lease_seconds)
            await idempotency.store(
                tx,
                user_id=user_id,
                method=_REFUND,
                request_id=request.request_id,
                response=response.SerializeToString(deterministic=True),
            )
            return response, effect

        with reach.hiding(OrderNotFound):
            response, effect = await self._change(write)
        self._run(effect)
        return response

    async def BatchGetReceipts(self, request: pb.BatchGetReceiptsRequest, context: Any) -> pb.BatchGetReceiptsResponse:
        """It has no refusals of its own."""
        found = await self._reads.find([UUID(order_id) for order_id in request.order_ids])
        receipts = [pb.Receipt(order_id=each, order=found.get(UUID(each))) for each in request.order_ids]
        shown = pages.fitting(receipts)
        return pb.BatchGetReceiptsResponse(receipts=shown, remaining_order_ids=request.order_ids[len(shown) :])

    async def ListUserOrders(self, request: pb.ListUserOrdersRequest, context: Any) -> pb.ListUserOrdersResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        user_id = UUID(request.user_id)
        before, size = pages.decode_id(request.page_token, _USER_LIST, user_id), pages.page_size(request.page_size)
        found = await self._reads.list_of_user(user_id, before=before, limit=size + 1)
        async with self._db.hot_read() as connection:
            shown = pages.fitting(await export.parts(connection, self._vault, user_id, found[:size]))
        page = pb.ListUserOrdersResponse()
        for part in shown:
            page.MergeFrom(part)
        if len(found) > len(shown):
            page.next_page_token = pages.encode(_USER_LIST, [page.orders[-1].order_id], user_id)
        return page

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        """Refuses with ORDERS_UNDER_WAY."""
        user_id = UUID(request.user_id)
        if request.validate_only:
            async with self._db.hot_read() as connection:
                await erasure.check(connection, user_id)
            return pb.EraseUserResponse()
        await self._vault.prepare([user_id])  # whose first order comes at this moment has a key to hold
        await self._db.transact(lambda tx: erasure.erase(tx, user_id))
        self._vault.forget(user_id)
        return pb.EraseUserResponse()

    async def _shown(self, order_id: UUID, caller: Caller, *, sent_off: bool = False) -> order_pb2.Order:
        """Return an order to whoever handles its parcel. Where that goes they read in the one call that sends it off,
        which the audit log has; a call that repeats it changes nothing, leaves no row there, and tells nothing."""
        if sent_off:
            return await self._reads.get(order_id, owner_id=None)
        return await self._reads.get_within(order_id, Reach(caller.require_user_id(), anybodys=True))

    def _effective(self, request: _Dated, caller: Caller) -> datetime | None:
        """Return when an importer says that something happened; None for now."""
        if not request.HasField("effective_time"):
            return None
        check_effective(request.effective_time, caller, now=self._clock.now())
        return datetime_of(request.effective_time)

    async def _credit_earlier(self, tx: asyncpg.Connection, order: rules.Order, left: rules.Entry) -> None:
        """Issue the credit notes of what went back before an order left, right after its invoices."""
        so_far: split.Parts = {}
        for refund_id, parts in split.refunds(order, await store.list_entries(tx, order.order_id)):
            await credit_notes.issue(
                tx,
                order,
                UUID(refund_id),
                split.credits(order, parts, so_far),
                at=left.recorded_at,
                effective_at=left.effective_at,
            )
            so_far = split.both(so_far, parts)

    async def _seal_words(self, order_id: UUID, words: str, *, owner_id: UUID | None) -> dict[UUID, bytes]:
        """Return what somebody said to a decision, sealed for the order's owner; it is personal.

        Raises:
            OrderNotFound: There is none of this owner, where one is named. No key was made for whoever asked.
        """
        if not words:
            return {}
        async with self._db.hot_read() as connection:
            owner_id = (await store.get_view(connection, order_id, owner_id=owner_id)).order.user_id
        await self._vault.prepare([owner_id])
        return {order_id: self._vault.seal(owner_id, order_id, words.encode())}

    async def _change(self, write: Callable[[asyncpg.Connection], Awaitable[_T]]) -> _T:
        """Decide on an order that was placed; what it has to do elsewhere begins after that."""

        async def decide(tx: asyncpg.Connection) -> _T:
            written = await write(tx)
            await failpoint("order.change.before_commit")
            return written

        decided = await self._db.transact(decide)
        await failpoint("order.change.after_commit")
        return decided

    def _run(self, effect: Effect | None) -> None:
        if effect is not None:
            self._effects.start(effect)


def _accepted(order_id: UUID, request_id: str = "") -> Write | None:
    return audit.accepting([(audit.command(request_id), store.resource(order_id))])
