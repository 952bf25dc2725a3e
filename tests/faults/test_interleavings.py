"""Every pair of operations that can race on one order, in every order of arrival; then whatever Hypothesis thinks of.

The table takes each pair with a duplicate of either, at every stage of an order, in three ways: everything between two
arrivals runs to its end; the coordinator stands still, another process ends its work, and then it wakes up; it dies.
The state machine mixes the same operations freely with steps of single background tasks, crashes, and failures inside
of transactions. Both end with the same question: is each order, its stock and its money what `model` says?

`TITAN_INTERLEAVINGS=proof` takes some twenty minutes instead of seconds, `TITAN_INTERLEAVINGS=all` an hour;
`TITAN_SEED` repeats a run, whose seed is printed with the table (`pytest -s`); `TITAN_STAGES` leaves all but some
stages out, their names parted by semicolons.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mesh.identity import Caller
from mesh.refusals import Refusal, Unavailable
from psp_sim.rules import Kind
from svc_payment.ledger import audit
from tests.faults import model
from tests.faults.model import Bank, Units
from tests.faults.one_loop import MAX_ROUNDS, Leash, OneLoop, asked, called, signed
from tests.svc_order.conftest import ADDRESS
from titan.inventory.v1 import inventory_service_pb2
from titan.order.v1 import checkout_service_pb2, order_pb2, order_service_pb2
from titan.payment.v1 import payment_pb2, payment_service_pb2, wallet_service_pb2
from titan.type.v1 import money_pb2

PROFILE = os.environ.get("TITAN_INTERLEAVINGS", "ci")
SEED = int(os.environ.get("TITAN_SEED") or (0 if PROFILE == "ci" else random.randrange(2**32)))
pytestmark = pytest.mark.timeout(120 if PROFILE == "ci" else 7200)
PROOF_STAGES = 3
"""At how many stages of an order, drawn for each, every arrival is tried as a proof."""
CHUNK = 96
"""How many orders of the table move together; fewer than one sweep takes, with those that are placed on the way."""
PRICE = 1000
QUANTITY = 2
SERVICE = Caller(service="svc_order")
STAFF = Caller(user_id=UUID(int=99), roles=frozenset({"admin", "finance", "support", "warehouse", "importer"}))
CARDS = {
    "tok_visa": Bank.YES,
    "tok_declined": Bank.NO,
    "tok_action": Bank.ASKS,
    "tok_processing": Bank.THINKS,
    "wallet": Bank.YES,
    "empty wallet": Bank.NO,
}


# One order, and what can happen to it. Each operation does it, and holds the answer against the model.


@dataclass(eq=False)
class Shopper:
    """Whose orders share a cart: the first, and perhaps another one from the same cart with another key."""

    shop: OneLoop
    card: str
    sku: str
    short: bool = False
    user: Caller = field(default_factory=lambda: Caller(user_id=uuid4(), roles=frozenset({"customer"})))
    cart_id: str = field(default_factory=lambda: str(uuid4()))
    cart: model.Cart = field(default_factory=model.Cart)
    orders: list[Case] = field(default_factory=list)

    async def place(self, at: str, key: str) -> None:
        """Place from the cart; under a key that made an order, ask for its answer again."""
        made = next((case for case in self.orders if case.key == key), None)
        expected = frozenset({made.order.answer}) if made else self.cart.place_answers
        self.shop.world.carts[str(self.user.user_id)] = (self.cart_id, {self.sku: QUANTITY})
        method = payment_pb2.PaymentMethod(wallet=payment_pb2.WalletMethod())
        if "wallet" not in self.card:
            method = payment_pb2.PaymentMethod(card=payment_pb2.CardMethod(token=self.card))
        request = checkout_service_pb2.PlaceOrderRequest(
            expected_total=money_pb2.Money(currency_code="GBP", minor_units=PRICE * QUANTITY),
            shipping_address=ADDRESS,
            contact_email="ada@example.com",
            payment=method,
            request_id=key,
        )
        answer = await asked(called(self.shop.order[at].checkout.PlaceOrder, request, self.user))
        if made and isinstance(answer, Unavailable):
            return
        if isinstance(answer, Refusal):
            assert answer.reason in expected, f"{answer!r}, expected {sorted(expected)}"
            if made:
                made.heard(answer.to_status().SerializeToString(deterministic=True))
            return
        if made is None:
            assert model.OK in expected, f"an order was placed, expected {sorted(expected)}"
            order = model.Order(PRICE * QUANTITY, CARDS[self.card], asks=self.card == "tok_action", short=self.short)
            self.cart.orders.append(order)
            self.orders.append(Case(self, key, answer.order.order_id, order))
            return
        status = order_pb2.OrderStatus.Name(answer.order.status).removeprefix("ORDER_STATUS_")
        assert (answer.order.order_id, status) == (made.order_id, made.order.answer)
        if status != "PENDING":
            made.heard(answer.SerializeToString(deterministic=True))


@dataclass(eq=False)
class Case:
    """One order beside its model."""

    shopper: Shopper
    key: str
    order_id: str
    order: model.Order
    kept_answer: bytes | None = None

    @property
    def shop(self) -> OneLoop:
        return self.shopper.shop

    def heard(self, answer: bytes) -> None:
        """A stored answer never changes, byte for byte."""
        assert self.kept_answer in (None, answer)
        self.kept_answer = answer

    async def _decide(self, call: Any, request: Any, caller: Caller, expected: str) -> None:
        answer = await asked(called(call, request, caller))
        reason = answer.reason if isinstance(answer, Refusal) else model.OK
        assert reason == expected, f"{answer!r}, expected {expected or 'yes'}"

    async def cancel(self, at: str) -> None:
        request = order_service_pb2.CancelOrderRequest(order_id=self.order_id)
        await self._decide(self.shop.order[at].orders.CancelOrder, request, self.shopper.user, self.order.cancel())

    async def ship(self, at: str) -> None:
        request = order_service_pb2.ShipOrderRequest(order_id=self.order_id, tracking_code="T")
        await self._decide(self.shop.order[at].orders.ShipOrder, request, STAFF, self.order.ship())

    async def deliver(self, at: str) -> None:
        request = order_service_pb2.DeliverOrderRequest(order_id=self.order_id)
        await self._decide(self.shop.order[at].orders.DeliverOrder, request, STAFF, self.order.deliver())

    async def refund_part(self, at: str, amount_minor: int = PRICE - 1, key: str = "part") -> None:
        request = order_service_pb2.CreateRefundRequest(order_id=self.order_id, request_id=f"{self.order_id} {key}")
        request.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=amount_minor))
        await self._refund(at, request, self.order.refund(key, amount_minor))

    async def refund_more(self, at: str) -> None:
        """With the other part it would be more than was paid."""
        await self.refund_part(at, PRICE + 2, "more")

    async def refund_all(self, at: str, key: str = "all") -> None:
        request = order_service_pb2.CreateRefundRequest(order_id=self.order_id, request_id=f"{self.order_id} {key}")
        await self._refund(at, request, self.order.refund(key, None))

    async def _refund(self, at: str, request: Any, expected: str) -> None:
        await self._decide(self.shop.order[at].orders.CreateRefund, request, STAFF, expected)

    async def place_again(self, at: str) -> None:
        await self.shopper.place(at, self.key)

    async def place_other(self, at: str) -> None:
        await self.shopper.place(at, "another key")

    async def bank_yes(self, at: str) -> None:
        await self._bank_answers(yes=True)

    async def bank_no(self, at: str) -> None:
        await self._bank_answers(yes=False)

    async def _bank_answers(self, *, yes: bool) -> None:
        payment_id = await self._payment_id()
        if payment_id in self.shop.bank.payments:
            self.shop.bank.customer_answers(payment_id, yes=yes)
            self.order.customer_answers(yes=yes)

    async def webhook(self, at: str, number: int = -1, *, extra_minor: int = 0) -> None:
        """Deliver one of the bank's notices: the newest, or any other; none may ever have been sent."""
        events = self.shop.bank.notices[await self._payment_id()]
        if events:
            body, signature = signed(events[number % len(events)], self.shop.clock.now(), extra_minor=extra_minor)
            request = payment_service_pb2.HandleWebhookRequest(provider="psp_sim", signature=signature)
            request.payload.data = body
            await asked(called(self.shop.payment[at].parts.payments.HandleWebhook, request, Caller()))

    async def webhook_wrong(self, at: str) -> None:
        """A notice of another amount."""
        await self.webhook(at, extra_minor=1)

    async def returns(self, at: str) -> None:
        """The customer comes back from the bank's page."""
        payment_id = await self._payment_id()
        if payment_id in self.shop.bank.payments:
            request = payment_service_pb2.ReturnFromProviderRequest(payment_id=payment_id)
            answer = await called(self.shop.payment[at].parts.payments.ReturnFromProvider, request, Caller())
            assert answer.order_id == self.order_id

    async def expire(self, at: str) -> None:
        known = await self._payment_id() in self.shop.bank.payments
        await self.shop.expire([self.order_id])
        self.order.time_passes(known=known)

    # What a coordinator that stood still for long may still send.

    async def late_reserve(self, at: str) -> None:
        query = "SELECT state FROM reservations WHERE order_id = $1"
        before = await self.shop.rows("svc_inventory", query, UUID(self.order_id))
        request = inventory_service_pb2.BatchReserveRequest()
        request.reservations.add(order_id=self.order_id).lines.add(
            line_number=1, sku=self.shopper.sku, quantity=QUANTITY
        )
        answer = await asked(called(self.shop.inventory.BatchReserve, request, SERVICE))
        if before and before[0]["state"] == 2:
            assert _reason(answer) in ("RESERVATION_RELEASED", "UNAVAILABLE")

    async def late_authorize(self, at: str) -> None:
        query = "SELECT status FROM payments WHERE order_id = $1"
        before = await self.shop.rows("svc_payment", query, UUID(self.order_id))
        request = payment_service_pb2.BatchAuthorizeRequest()
        intent = request.intents.add(order_id=self.order_id, user_id=str(self.shopper.user.user_id))
        intent.amount.CopyFrom(money_pb2.Money(currency_code="GBP", minor_units=self.order.total_minor))
        if "wallet" in self.shopper.card:
            intent.method.wallet.SetInParent()
        else:
            intent.method.card.token = self.shopper.card
        answer = await asked(called(self.shop.payment[at].parts.payments.BatchAuthorize, request, SERVICE))
        if before and before[0]["status"] in ("VOIDING", "VOIDED"):
            assert _reason(answer) in ("PAYMENT_VOIDED", "UNAVAILABLE")

    async def late_capture(self, at: str) -> None:
        if self.order.was_confirmed:
            request = payment_service_pb2.BatchCaptureRequest(order_ids=[self.order_id])
            await asked(called(self.shop.payment[at].parts.payments.BatchCapture, request, SERVICE))

    async def late_undo(self, at: str) -> None:
        if self.order.status == "CANCELLED":
            release = inventory_service_pb2.BatchReleaseRequest(order_ids=[self.order_id])
            void = payment_service_pb2.BatchVoidRequest(order_ids=[self.order_id])
            await asked(called(self.shop.inventory.BatchRelease, release, SERVICE))
            await asked(called(self.shop.payment[at].parts.payments.BatchVoid, void, SERVICE))

    async def late_ship(self, at: str) -> None:
        if "OrderShipped" in self.order.journal:
            request = inventory_service_pb2.BatchShipRequest(order_ids=[self.order_id])
            await asked(called(self.shop.inventory.BatchShip, request, SERVICE))

    async def _payment_id(self) -> str:
        return (await self.shop.payment_ids([self.order_id])).get(self.order_id, "")


Operation = Callable[[Case, str], Awaitable[None]]
OPERATIONS: dict[str, Operation] = {
    "webhook": Case.webhook,
    "webhook, wrong": Case.webhook_wrong,
    "bank yes": Case.bank_yes,
    "bank no": Case.bank_no,
    "return": Case.returns,
    "cancel": Case.cancel,
    "expire": Case.expire,
    "refund part": Case.refund_part,
    "refund more": Case.refund_more,
    "refund all": Case.refund_all,
    "ship": Case.ship,
    "deliver": Case.deliver,
    "same key": Case.place_again,
    "other key": Case.place_other,
    "late reserve": Case.late_reserve,
    "late authorize": Case.late_authorize,
    "late capture": Case.late_capture,
    "late undo": Case.late_undo,
    "late ship": Case.late_ship,
}


def _reason(answer: Any) -> str:
    """Return the reason of a refusal, or of the only result of a batch."""
    if isinstance(answer, Refusal):
        return answer.reason
    return Refusal.from_status(answer.results[0].error).reason if answer.results[0].HasField("error") else ""


# What is, beside what should be.


async def observe(shop: OneLoop, cases: Sequence[Case]) -> None:
    """Tell the models what the checkouts decided, and hold every order's row and journal against them."""
    ids = [UUID(case.order_id) for case in cases]
    rows = {
        str(row["order_id"]): row
        for row in await shop.rows(
            "svc_order",
            "SELECT order_id, status, cancel_reason, refunded_minor, version,"
            " (SELECT array_agg(type ORDER BY version) FROM order_events e WHERE e.order_id = o.order_id) AS journal"
            " FROM orders o WHERE order_id = ANY($1::uuid[])",
            ids,
        )
    }
    for case in cases:
        row, order = rows[case.order_id], case.order
        if order.status == "PENDING" and row["status"] != "PENDING":
            decided = "CONFIRMED" if "OrderConfirmed" in row["journal"] else "CANCELLED"
            order.checkout_decided(decided, row["cancel_reason"])
        if order.status == "CANCELLED" and row["journal"] == [*order.journal, "OrderRefunded"]:
            order.money_came_back()
        seen = (row["status"], row["journal"], row["version"], row["refunded_minor"])
        expected = (order.status, order.journal, len(order.journal), sum(order.refunds.values()))
        assert seen == expected, f"{seen}, the model says {expected}"


async def drain(shop: OneLoop, cases: Sequence[Case], at: str = "B") -> None:
    """Let one process end everything, except what awaits its customer; the customers of the rest never come."""
    for _ in range(MAX_ROUNDS):
        await shop.sweep(at)
        await observe(shop, cases)
        work = await shop.open_work()
        resting = {case.order_id for case in cases if case.order.may_rest}
        if not work.keys() - resting:
            if not resting:
                return
            for case in cases:
                if case.order_id in resting:
                    await case.expire(at)
    raise AssertionError(f"after {MAX_ROUNDS} sweeps this is still open: {work}")


async def end(shop: OneLoop, cases: Sequence[Case], stock: dict[str, int]) -> None:
    """End everything; then whatever a coordinator may still have had on its way arrives, and changes nothing."""
    await drain(shop, cases)
    await check(shop, cases, stock)
    # The undo comes first, for it would set right what the others break.
    for late in (Case.late_undo, Case.late_ship, Case.late_capture, Case.late_authorize, Case.late_reserve):
        await asyncio.gather(*(late(case, "B") for case in cases))
    await shop.leash.quiet()
    await drain(shop, cases)
    await check(shop, cases, stock)


async def check(shop: OneLoop, cases: Sequence[Case], stock: dict[str, int]) -> None:
    """Hold stock and money, everywhere they are written, against the models."""
    await observe(shop, cases)
    ids = [UUID(case.order_id) for case in cases]
    reserved = {
        str(r["order_id"]): Units(r["units"])
        for r in await shop.rows(
            "svc_inventory",
            "SELECT order_id, (ARRAY['held', 'free', 'gone', 'free'])[state] AS units FROM reservations"
            " WHERE order_id = ANY($1::uuid[])",
            ids,
        )
    }
    shelves = {
        r["sku"]: (r["on_hand"], r["reserved"], r["on_hand_journal"], r["reserved_journal"])
        for r in await shop.rows(
            "svc_inventory",
            "SELECT s.sku, s.on_hand, s.reserved, sum(m.on_hand_delta) AS on_hand_journal,"
            " sum(m.reserved_delta) AS reserved_journal FROM stock s JOIN stock_movements m USING (sku)"
            " WHERE s.sku = ANY($1::text[]) GROUP BY s.sku, s.on_hand, s.reserved",
            list(stock),
        )
    }
    payments = {
        str(r["order_id"]): r
        for r in await shop.rows(
            "svc_payment",
            "SELECT order_id, payment_id, status, amount_minor, captured_minor, refunded_minor, refunding_minor"
            " FROM payments WHERE order_id = ANY($1::uuid[])",
            ids,
        )
    }
    ledger = {
        str(r["order_id"]): int(r["net"])
        for r in await shop.rows(
            "svc_payment",
            "SELECT order_id, sum(CASE kind WHEN 'payment' THEN amount_minor ELSE -amount_minor END) AS net"
            " FROM transfers LEFT JOIN resolutions r USING (transfer_id)"
            " WHERE order_id = ANY($1::uuid[]) AND (NOT transfers.pending OR r.outcome = 'posted') GROUP BY order_id",
            ids,
        )
    }
    held = {sku: [0, 0] for sku in stock}
    for case in cases:
        order, payment = case.order, payments.get(case.order_id)
        assert payment is not None, f"no payment, and no tombstone: {order}"
        units_are = reserved.get(case.order_id)
        assert units_are is order.units, f"its units are {units_are}, not {order.units}: {order}"
        held[case.shopper.sku][0] -= QUANTITY * (order.units is Units.GONE)
        held[case.shopper.sku][1] += QUANTITY * (order.units is Units.HELD)
        kept = payment["captured_minor"] - payment["refunded_minor"]
        assert (kept, payment["refunding_minor"]) == (order.kept_minor, 0), f"{dict(payment)}: {order}"
        assert payment["refunded_minor"] == sum(order.refunds.values()), f"{dict(payment)}: {order}"
        assert payment["status"] in (
            ("CAPTURED",) if order.was_confirmed and kept else ("CAPTURED", "VOIDED", "REFUSED")
        )
        assert ledger.get(case.order_id, 0) == order.kept_minor, f"the ledger has {ledger.get(case.order_id)}: {order}"
        _check_bank(shop, case, str(payment["payment_id"]))
    for sku, units in stock.items():
        on_hand, reserved_units = units + held[sku][0], held[sku][1]
        assert shelves[sku] == (on_hand, reserved_units, on_hand, reserved_units), f"{sku}: {shelves[sku]}"


def _check_bank(shop: OneLoop, case: Case, payment_id: str) -> None:
    """Hold the provider's own log against the model: at most one capture, the same money, and nothing still held."""
    if "wallet" in case.shopper.card:
        assert payment_id not in shop.bank.payments
        return
    captured = shop.bank.moved_minor(Kind.CAPTURE, payment_id)
    refunded = shop.bank.moved_minor(Kind.REFUND, payment_id)
    assert captured in ([], [case.order.total_minor]), f"captured {captured}"
    assert not captured or case.order.was_confirmed, "captured, and never confirmed"
    assert sum(captured) - sum(refunded) == case.order.kept_minor, f"captured {captured}, refunded {refunded}"
    known = shop.bank.payments.get(payment_id)
    if known is not None and not captured:
        assert known.status in ("voided", "declined"), f"the bank still holds money: {known.status}"


async def check_ledger(shop: OneLoop) -> None:
    """Add the ledger up."""
    assert [] == (await audit.verify(shop.database("svc_payment"))).problems


# The loop that all of this runs in.


@dataclass
class Stage:
    """The loop and the shop in it."""

    loop: asyncio.AbstractEventLoop
    shop: OneLoop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)


@pytest.fixture(scope="module")
def stage(fresh_database: Any) -> Iterator[Stage]:
    """A loop of its own, because Hypothesis drives it from outside."""
    loop, patch = asyncio.new_event_loop(), pytest.MonkeyPatch()
    try:
        shop = loop.run_until_complete(OneLoop.start(Leash(), fresh_database, patch))
        yield Stage(loop, shop)
        loop.run_until_complete(shop.close())
    finally:
        patch.undo()
        loop.close()


# The table.

ALL_STAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # name: the card, the failpoint where process A stands, and what happened before.
    "before the stock": ("tok_visa", "saga.reserve.before", ()),
    "before the money": ("tok_visa", "saga.authorize.before", ()),
    "money held": ("tok_visa", "saga.decide.before", ()),
    "decided": ("tok_visa", "saga.decide.after", ()),
    "being captured": ("tok_visa", "saga.capture.before", ()),
    "the bank's yes is on its way": ("tok_visa", "payment.settle.after_authorize", ()),
    "its capture is on its way": ("tok_visa", "payment.settle.after_capture", ()),
    "wallet held": ("wallet", "saga.decide.before", ()),
    "bank thinks": ("tok_processing", "", ()),
    "bank asks": ("tok_action", "", ()),
    "bank says yes": ("tok_action", "", ("bank yes",)),
    "bank says no": ("tok_action", "", ("bank no",)),
    "declined": ("tok_declined", "saga.release.before", ()),
    "confirmed": ("tok_visa", "", ()),
    "paid by wallet": ("wallet", "", ()),
    "shipped": ("tok_visa", "", ("ship",)),
    "a refund is on its way": ("tok_visa", "payment.refund.after_call", ("refund part",)),
    "a void is on its way": ("tok_visa", "payment.settle.after_void", ("cancel",)),
    "refunded in part": ("tok_visa", "", ("refund part",)),
    "cancelled": ("tok_visa", "", ("cancel",)),
}
STAGES = {name: ALL_STAGES[name] for name in os.environ.get("TITAN_STAGES", ";".join(ALL_STAGES)).split(";")}
WAYS = ("one after the other", "coordinator wakes up late", "coordinator dies")
ENDS = {"CONFIRMED": "c", "CANCELLED": "x", "SHIPPED": "s", "DELIVERED": "d", "REFUNDED": "r"}


def arrivals(a: str, b: str) -> list[tuple[str, ...]]:
    """Return every order of arrival of two operations, and of two with one of them twice."""
    found = {*itertools.permutations((a, b)), *itertools.permutations((a, a, b)), *itertools.permutations((a, b, b))}
    return sorted(found)


async def run_chunk(shop: OneLoop, stage_name: str, way: str, chunk: Sequence[tuple[str, ...]]) -> list[Case]:
    """Bring one order per row of the chunk to the stage, let the operations arrive, end it all, and check."""
    card, point, before = STAGES[stage_name]
    skus = {f"sku {uuid4().hex}": QUANTITY * 3 for _ in chunk}
    await shop.given_stock(skus)
    shoppers = [Shopper(shop, card, sku) for sku in skus]
    if card == "wallet":
        await credit(shop, shoppers)
    leash = shop.leash
    leash.holds = lambda owner, at: owner.endswith("A") and at == point
    await asyncio.gather(*(each.place("A", "first key") for each in shoppers))
    firsts = [each.orders[0] for each in shoppers]
    for _ in range(3):
        await shop.sweep("A")
    await observe(shop, firsts)
    for name in before:
        await asyncio.gather(*(OPERATIONS[name](case, "A") for case in firsts))
        if name != "bank yes" and name != "bank no":
            await shop.sweep("A")

    def cases() -> list[Case]:
        return [case for each in shoppers for case in each.orders]

    steps = max(len(row) for row in chunk)
    if way != WAYS[0]:
        leash.holds = lambda owner, at: owner.endswith("A")
    for step in range(steps):
        at = "A" if way != WAYS[0] or step % 2 == 0 else "B"
        await asyncio.gather(
            *(OPERATIONS[row[step]](case, at) for case, row in zip(firsts, chunk, strict=True) if step < len(row))
        )
        await leash.quiet()
        await observe(shop, cases())
        if way == WAYS[0]:
            await wake(shop)
            await shop.sweep(at)
        else:
            await shop.sweep("A", everything=False)
        await observe(shop, cases())
    if way == WAYS[2]:
        await shop.crash_payment("A")
    if way == WAYS[1]:
        await drain(shop, cases())
        await check(shop, cases(), skus)
        # Nothing that the rest of A does may come after what was held on its way, and set it right.
        for owner in ("order A", "payment A") if point.startswith("payment") else ("payment A", "order A"):
            await wake(shop, owner)
    await end(shop, cases(), skus)
    return firsts


async def wake(shop: OneLoop, of: str = "") -> None:
    """Let everything that stands still go on to its end; of one process or package, where the owner ends so."""
    before = shop.leash.holds
    shop.leash.holds = lambda owner, at: before(owner, at) and not owner.endswith(of)
    for task, (owner, _) in list(shop.leash.held.items()):
        if owner.endswith(of):
            shop.leash.let_go(task)
    await shop.leash.quiet()


async def credit(shop: OneLoop, shoppers: Sequence[Shopper]) -> None:
    """Fill wallets."""
    request = wallet_service_pb2.BatchCreditWalletsRequest(request_id=uuid4().hex)
    for each in shoppers:
        request.credits.add(user_id=str(each.user.user_id)).amount.CopyFrom(
            money_pb2.Money(currency_code="GBP", minor_units=10 * PRICE)
        )
    await called(shop.payment["B"].parts.wallets.BatchCreditWallets, request, STAFF)


def plan() -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """Return what to run at each (stage, way).

    In CI every pair once, in one of its orders (the next seed has the other), with a duplicate of one of them, laid out
    over all stages. As a proof every arrival in every way, at some stages; `all` is really all.
    """
    names, dice = list(OPERATIONS), random.Random(SEED)
    planned: defaultdict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    if PROFILE == "ci":
        places = [
            (name, WAYS[1 if point else number % 3]) for number, (name, (_, point, _)) in enumerate(STAGES.items())
        ]
        for (i, first), (j, second) in itertools.product(enumerate(names), repeat=2):
            if i != j and (i < j) == bool((i + j + SEED) % 2):
                continue
            doubled = [row for row in arrivals(first, second) if len(row) > 2 and row[0] == first]
            planned[places[(i + j + SEED) % len(places)]].append(dice.choice(doubled))
        return planned
    for a, b in itertools.combinations_with_replacement(names, 2):
        for row, way in itertools.product(arrivals(a, b), WAYS):
            for stage_name in STAGES if PROFILE == "all" else dice.sample(list(STAGES), PROOF_STAGES):
                planned[stage_name, way].append(row)
    return planned


def test_every_pair_in_every_order_of_arrival(stage: Stage) -> None:
    """No order of arrival, no duplicate and no crash changes what an order may become, or whose the money is."""
    ends: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    count = 0
    for (stage_name, way), rows in plan().items():
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            try:
                cases = stage.run(run_chunk(stage.shop, stage_name, way, chunk))
            except Exception as problem:
                problem.add_note(f"at {stage_name!r}, {way}")
                raise
            for case, row in zip(cases, chunk, strict=True):
                ends[tuple(sorted(set(row)))].add(ENDS[case.order.status])
                count += 1
    stage.run(check_ledger(stage.shop))
    print(table(ends, count))


def table(ends: dict[tuple[str, ...], set[str]], count: int) -> str:
    """Return the pairs and how their orders ended, as text."""
    names = list(OPERATIONS)
    lines = [
        f"{count} arrivals of pairs, seed {SEED}, profile {PROFILE}; the orders ended as "
        + ", ".join(f"{letter} {status.lower()}" for status, letter in ENDS.items()),
        " " * 16 + "".join(f"{number:>6}" for number in range(1, len(names) + 1)),
    ]
    for number, a in enumerate(names, start=1):
        cells = ["".join(sorted(ends.get(tuple(sorted({a, b})), ()))) for b in names[:number]]
        lines.append(f"{number:>2} {a:<13}" + "".join(f"{cell:>6}" for cell in cells))
    return "\n".join(lines)


# The machine.

BREAKS = (
    *(f"inventory.{call}.{point}" for call in ("reserve", "release", "ship") for point in ("claimed", "before_commit")),
    *(f"payment.authorize.{point}" for point in ("after_claim", "before_commit", "after_commit")),
    *(f"payment.capture.{point}" for point in ("after_lock", "before_commit", "after_commit")),
    *(f"payment.void.{point}" for point in ("after_claim", "before_commit", "after_commit")),
    *(f"payment.refund.{point}" for point in ("after_lock", "before_commit", "after_commit", "after_call")),
    *(f"payment.settle.after_{call}" for call in ("authorize", "capture", "void", "query", "commit")),
    *(f"saga.{step}.after" for step in ("reserve", "authorize", "decide", "close", "capture", "finish")),
    *(f"saga.{step}.after" for step in ("release", "void", "refund", "ship", "rest")),
    "saga.effect.before_finish",
    "payment.webhook.before_commit",
)
PROCESSES = st.sampled_from(("A", "B"))
PLACES = st.integers(0, 5)


class Interleavings(RuleBasedStateMachine):
    """Up to two shoppers who want the same units; every background task moves only when a rule says so."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.shop = self.stage.shop
        self.shoppers: list[Shopper] = []
        self.broken = False
        self.stock: dict[str, int] = {}

    @property
    def cases(self) -> list[Case]:
        return [case for each in self.shoppers for case in each.orders]

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def whole() -> Any:
            result = await work
            await self.shop.leash.quiet()
            return result

        try:
            return self.stage.run(whole())
        except BaseException:
            self.broken = True
            raise

    @initialize(units=st.sampled_from((QUANTITY, 2 * QUANTITY, 8 * QUANTITY)))
    def begin(self, units: int) -> None:
        self.sku = f"sku {uuid4().hex}"
        self.stock = {self.sku: units}
        self.shop.leash.holds = lambda owner, at: True
        self._run(self.shop.given_stock(self.stock))

    @precondition(lambda self: len(self.shoppers) < 2)
    @rule(card=st.sampled_from(sorted(CARDS)), at=PROCESSES)
    def place(self, card: str, at: str) -> None:
        shopper = Shopper(self.shop, card, self.sku, short=self.stock[self.sku] < 8 * QUANTITY)
        self.shoppers.append(shopper)
        if card == "wallet":
            self._run(credit(self.shop, [shopper]))
        self._run(shopper.place(at, "first key"))

    @precondition(lambda self: self.shoppers)
    @rule(place=PLACES, name=st.sampled_from(sorted(OPERATIONS)), at=PROCESSES, times=st.integers(1, 2))
    def operate(self, place: int, name: str, at: str, times: int) -> None:
        for _ in range(times):
            self._run(OPERATIONS[name](self.cases[place % len(self.cases)], at))

    @precondition(lambda self: self.cases)
    @rule(place=PLACES, number=st.integers(0, 5), at=PROCESSES)
    def old_notice(self, place: int, number: int, at: str) -> None:
        self._run(self.cases[place % len(self.cases)].webhook(at, number))

    @precondition(lambda self: self.cases)
    @rule(place=PLACES, amount_minor=st.integers(1, PRICE * QUANTITY + 1), at=PROCESSES)
    def refund_some(self, place: int, amount_minor: int, at: str) -> None:
        key = f"{amount_minor}"
        self._run(self.cases[place % len(self.cases)].refund_part(at, amount_minor, key))

    @precondition(lambda self: self.shop.leash.held)
    @rule(number=st.integers(0, 7))
    def step(self, number: int) -> None:
        """One task that stands still goes on to the next failpoint."""
        held = sorted(self.shop.leash.held, key=self.shop.leash.held.__getitem__)
        self.shop.leash.let_go(held[number % len(held)])
        self._run(asyncio.sleep(0))

    @rule(at=PROCESSES)
    def run_on(self, at: str) -> None:
        """All tasks of one process go on until they end."""
        self._run(wake(self.shop, at))
        self.shop.leash.holds = lambda owner, point: True

    @rule(at=PROCESSES)
    def sweep(self, at: str) -> None:
        """Leases end, and a process takes everything up."""
        self._run(self.shop.sweep(at))

    @rule(at=PROCESSES, money=st.booleans())
    def crash(self, at: str, money: bool) -> None:
        self._run(self.shop.crash_payment(at) if money else self.shop.crash_order(at))

    @rule(point=st.sampled_from(BREAKS))
    def break_off(self, point: str) -> None:
        """Whoever comes to this point next breaks off there."""
        self.shop.leash.breaks[point] = 1

    @rule(call=st.sampled_from(("authorize", "capture", "refund", "void")))
    def lose_reply(self, call: str) -> None:
        self.shop.bank.lose[call] = 1

    @invariant()
    def legal(self) -> None:
        if self.cases:
            self._run(observe(self.shop, self.cases))

    def teardown(self) -> None:
        self.shop.leash.breaks.clear()
        self.shop.bank.lose.clear()
        if self.broken:
            self.stage.run(clear(self.shop))
            return
        try:
            self._run(wake(self.shop, "B"))
            self._run(drain(self.shop, self.cases))
            self._run(check(self.shop, self.cases, self.stock))
            self._run(wake(self.shop))
            self._run(end(self.shop, self.cases, self.stock))
        except BaseException:
            self.stage.run(clear(self.shop))
            raise


async def clear(shop: OneLoop) -> None:
    """Leave nothing of a failed example behind."""
    shop.leash.holds = lambda owner, at: False
    for name in ("A", "B"):
        await shop.crash_payment(name)
    await shop.forget()


def test_whatever_interleaves_ends_as_the_model_says(stage: Stage) -> None:
    """Steps, duplicates, crashes, lost replies and late coordinators, as Hypothesis mixes them."""
    examples, steps = (1000, 50) if PROFILE != "ci" else (20, 30)
    print(f"{examples} examples of at most {steps} steps, seed {SEED}, profile {PROFILE}")
    Interleavings.stage = stage
    limits = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if PROFILE == "ci" else [Phase.generate, Phase.shrink],
    )
    run_state_machine_as_test(hypothesis.seed(SEED)(Interleavings), settings=limits)
    stage.run(check_ledger(stage.shop))
