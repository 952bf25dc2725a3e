"""The second half of placing an order: hold stock and money, decide, close, reply, capture; or decide no and undo.

`_drive` is one order's whole path. It may be run again from its start at any time, by any process: participants
remember what they answered, and the order row is the arbiter of the decision. The sweeper picks up what a dead process
left. Orders that stand at the same step travel together, because every step is a batcher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from google.rpc import status_pb2

from mesh.batcher import Batcher
from mesh.database import Database
from mesh.refusals import Refusal, Unavailable
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from mesh.vault.vault import Unreadable, Vault
from svc_order.checkout import store
from svc_order.checkout.answers import Answers
from svc_order.checkout.effects import Effects
from svc_order.checkout.participants import CartOrdered, Split
from svc_order.checkout.steps import Later, Steps, allocations_of, step
from svc_order.checkout.store import Decided, Taken
from svc_order.checkout.tasks import Tasks
from svc_order.checkout.waiting import Answer
from svc_order.errors import OrderCancelled
from svc_order.order import rules, wire
from svc_order.order import store as orders
from svc_order.order.lines import Allocations
from svc_order.order.rules import Order
from svc_order.order.values import datetime_of
from svc_order.settings import OrderSettings
from svc_order.split.rules import has_sellers, sold
from titan.inventory.v1 import inventory_service_pb2
from titan.order.v1 import checkout_service_pb2
from titan.payment.v1 import payment_pb2, payment_service_pb2

log = get_logger("order.saga")

MAX_BACKOFF_SECONDS = 5.0
UNREADABLE_SECONDS = 60.0
"""How long an order rests whose sealed parts can't be opened; a person has to look at it."""


@dataclass(eq=False, slots=True)
class Job:
    """One order that this process works on. What is decided already needs neither personal data nor a method."""

    order: Order
    personal: bytes = b""
    method: payment_pb2.PaymentMethod | None = None
    attempts: int = 0
    decided: bool = False
    confirmed: bool = False
    waits: bool = False
    expired: bool = False
    overdue: bool = False

    @property
    def given_up(self) -> bool:
        """Whether this order ends when it can't go on now. While its customer has time left, it never does."""
        return self.overdue and (self.expired or not self.waits)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an order should be decided: confirmed with its allocations, or cancelled with a refusal."""

    job: Job
    payment_status: int
    allocations: Allocations = field(default_factory=dict)
    refusal: Refusal | None = None


class Saga:
    """Drives every order to its end."""

    def __init__(
        self,
        db: Database,
        steps: Steps,
        effects: Effects,
        tasks: Tasks,
        vault: Vault,
        clock: Clock,
        settings: OrderSettings,
    ) -> None:
        self._db = db
        self._steps = steps
        self._effects = effects
        self._tasks = tasks
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._driving: dict[UUID, Job] = {}
        self._slow: set[UUID] = set()
        self.answers = Answers(db, steps, tasks, vault)
        self._decide: Batcher[Verdict, Answer] = Batcher(self._decide_all, name="order.decide")
        self._finish: Batcher[tuple[UUID, int], None] = Batcher(self._finish_all, name="order.finish")

    @property
    def full(self) -> bool:
        """Whether this process works on as many orders as it may; those that wait for a provider don't count."""
        return len(self._driving) - len(self._slow) >= self._settings.max_driving

    def start(self, order: Order, personal: bytes, method: payment_pb2.PaymentMethod) -> None:
        """Work on an order that was just recorded, under the lease that its record came with."""
        self._begin(Job(order, personal, method))

    async def sweep(self) -> None:
        """Pick up orders and effects that nobody works on, until cancelled."""
        while True:
            try:
                await self.sweep_once()
            except Refusal as refusal:
                log.warning("the sweep waits", why=refusal.reason)
            await asyncio.sleep(self._settings.sweep_seconds)

    async def sweep_once(self) -> int:
        """Pick up what is due now; returns how much that was."""
        due = await self._effects.sweep_once()
        if self.full:
            return due
        taken = await self._db.execute_alone(
            lambda connection: store.take_due(
                connection,
                lease_seconds=self._settings.lease_seconds,
                give_up_seconds=self._settings.give_up_seconds,
                give_up_attempts=self._settings.give_up_attempts,
            )
        )
        await self._vault.prepare(t.view.order.user_id for t in taken if not t.decided)
        for each in taken:
            try:
                self._begin(self._job_of(each))
            except Unreadable as unreadable:
                log.exception("an order can't be opened", unreadable, order_id=str(each.view.order.order_id))
                await self._postpone(each.view.order.order_id, UNREADABLE_SECONDS)
        return due + len(taken)

    # One order's path.

    async def _drive(self, job: Job) -> None:
        order_id, answer = job.order.order_id, None
        try:
            if not job.decided:
                verdict = await self._toward_decision(job)
                if verdict is None:
                    self.answers.waiting.tell(order_id, None)
                    return
                answer = await step("decide", self._decide, verdict)
                job.confirmed = answer.refusal is None
            status = await (self._complete(job, answer) if job.confirmed else self._undo(order_id))
            await step("finish", self._finish, (order_id, status))
        except Later as later:
            await self._postpone(order_id, later.seconds)
        except Refusal as refusal:
            log.warning("an order waits", order_id=str(order_id), why=refusal.reason, attempts=job.attempts)
            await self._postpone(order_id, min(MAX_BACKOFF_SECONDS, 0.1 * 2 ** min(job.attempts, 8)))
        finally:
            # A refused order is answered when what was held for it is free again, or when that has to wait.
            if answer is not None:
                self.answers.waiting.tell(order_id, answer)
            self._slow.discard(order_id)
            if self._driving.get(order_id) is job:
                del self._driving[order_id]

    async def _complete(self, job: Job, answer: Answer | None) -> int:
        """Close the cart, reply, take the money and hold what is other sellers'; returns where the payment stands.

        An order is not finished before its cart is closed: its owner could neither order that cart nor get a new one.
        """
        order = job.order
        closed = order.cart_id is None or await self._steps.close_cart(
            CartOrdered.by(order.user_id, order.cart_id, order.lines)
        )
        if answer is not None:
            self.answers.waiting.tell(order.order_id, answer)
        status = await self._steps.capture(order.order_id)
        if has_sellers(order) and status != payment_pb2.PAYMENT_STATUS_VOIDED:
            await self._steps.hold_shares(Split(order.order_id, sold(order)))
        if not closed:
            raise Later
        return status

    async def _undo(self, order_id: UUID) -> int:
        """Let go of what is held; returns where the payment stands.

        Before a confirm nothing is taken, unless a provider takes money by itself; the order shows that it went back.
        """
        undone = await self._steps.undo(order_id)
        refund_id = undone.refund_id
        if refund_id is not None:
            at = self._clock.now()
            await self._db.transact(
                lambda tx: store.note_sent_back(tx, order_id, refund_id, undone.refunded_minor, at=at)
            )
        return undone.payment_status

    async def _toward_decision(self, job: Job) -> Verdict | None:
        """Hold stock and money; None when the order now waits for its customer."""
        order = job.order
        try:
            reserved, paid = await self._hold(job)
        except (Refusal, Later):
            if job.given_up:
                return Verdict(job, payment_status=0, refusal=_given_up(order, "CHECKOUT_TIMEOUT"))
            raise
        if reserved.HasField("error"):
            return Verdict(job, payment_status=0, refusal=_refusal(reserved.error, order))
        if paid.HasField("error"):
            return Verdict(job, payment_status=paid.status, refusal=_refusal(paid.error, order))
        if paid.status in (payment_pb2.PAYMENT_STATUS_AUTHORIZED, payment_pb2.PAYMENT_STATUS_CAPTURED):
            return Verdict(job, payment_status=paid.status, allocations=allocations_of(reserved))
        if paid.status != payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED:
            raise Unavailable(f"the payment answers {paid.status} without a reason")
        if job.expired:
            return Verdict(job, payment_status=paid.status, refusal=_given_up(order, "PAYMENT_ACTION_EXPIRED"))
        await self._rest(order, paid)
        return None

    async def _hold(self, job: Job) -> tuple[inventory_service_pb2.ReserveResult, payment_service_pb2.AuthorizeResult]:
        """Hold the stock of an order and its money; without stock the money's answer does not count.

        A wallet is ours, and what it holds is let go as surely as stock is, so both are asked at the same time. A
        card's bank would tell its owner of money that is held for goods that there are none of: it is asked after.
        """
        assert job.method is not None, "a checkout keeps its payment method until it is decided"
        if not job.method.HasField("wallet"):
            reserved = await self._steps.reserve(job.order)
            if reserved.HasField("error"):
                return reserved, payment_service_pb2.AuthorizeResult()
            return reserved, await self._pay(job)
        stock, money = await asyncio.gather(self._steps.reserve(job.order), self._pay(job), return_exceptions=True)
        if isinstance(stock, BaseException):
            raise stock
        if stock.HasField("error"):
            return stock, payment_service_pb2.AuthorizeResult()
        if isinstance(money, BaseException):
            raise money
        return stock, money

    async def _pay(self, job: Job) -> payment_service_pb2.AuthorizeResult:
        assert job.method is not None, "a checkout keeps its payment method until it is decided"
        order_id = job.order.order_id
        return await self._steps.authorize(job.order, job.method, lambda: self._is_slow(order_id))

    async def _rest(self, order: Order, paid: payment_service_pb2.AuthorizeResult) -> None:
        expires_at = datetime_of(paid.next_action.expire_time)
        waiting = [(order.order_id, paid.status, paid.next_action.url, expires_at)]
        await failpoint("saga.rest.before")
        async with self._db.hot_read() as connection:
            await store.wait_for_customer(connection, waiting, poll_seconds=self._settings.action_poll_seconds)
        await failpoint("saga.rest.after")

    # Sets.

    async def _decide_all(self, verdicts: list[Verdict]) -> Sequence[Answer | Exception]:
        await self._vault.prepare(v.job.order.user_id for v in verdicts)

        async def write(tx: asyncpg.Connection) -> tuple[dict[UUID, Answer], dict[UUID, store.Known]]:
            held = await orders.lock_known(tx, (v.job.order for v in verdicts))
            at, decisions, answers = self._clock.now(), [], {}
            for verdict in verdicts:
                order = held[verdict.job.order.order_id]
                if verdict.refusal is None:
                    change = rules.confirm(order, verdict.allocations, at=at)
                else:
                    cause = verdict.refusal.metadata.get("cause", verdict.refusal.reason)
                    change = rules.abandon(order, cause, at=at)
                if change.entry is not None and order.order_id not in answers:
                    answers[order.order_id] = answer = _answer(change.order, verdict)
                    decisions.append(self._decided(change, verdict, answer))
            if decisions:
                await store.decide(tx, decisions, lease_seconds=self._settings.lease_seconds)
                await failpoint("saga.decide.before_commit")
            late = [v.job.order.order_id for v in verdicts if v.job.order.order_id not in answers]
            return answers, await store.list_known(tx, late) if late else {}

        answers, known = await self._db.transact(write)
        return [
            answers.get(v.job.order.order_id) or self.answers.open(known[v.job.order.order_id]) or _undecided(v)
            for v in verdicts
        ]

    def _decided(self, change: rules.Change, verdict: Verdict, answer: Answer) -> Decided:
        order, response = change.order, None
        if answer.response is not None:
            text = answer.response.SerializeToString(deterministic=True)
            response = self._vault.seal(order.user_id, order.order_id, text)
        return Decided(change, response, answer.refusal, verdict.payment_status)

    async def _finish_all(self, finished: list[tuple[UUID, int]]) -> Sequence[None]:
        await self._db.execute_alone(lambda connection: store.finish(connection, finished))
        return [None] * len(finished)

    # Jobs.

    def _begin(self, job: Job) -> None:
        if job.order.order_id not in self._driving:
            self._driving[job.order.order_id] = job
            self._tasks.start(self._drive(job), "a checkout")

    def _job_of(self, taken: Taken) -> Job:
        order = taken.view.order
        job = Job(
            order=order,
            attempts=taken.attempts,
            decided=taken.decided,
            confirmed=taken.confirmed,
            waits=taken.waits,
            expired=taken.expired,
            overdue=taken.overdue,
        )
        if not taken.decided:
            job.personal = self._vault.open(order.user_id, order.order_id, taken.view.sealed)
            method = self._vault.open(order.user_id, order.order_id, taken.method or b"")
            job.method = payment_pb2.PaymentMethod.FromString(method)
        return job

    def _is_slow(self, order_id: UUID) -> None:
        self._slow.add(order_id)
        self.answers.waiting.is_slow(order_id)

    async def _postpone(self, order_id: UUID, seconds: float) -> None:
        await self._db.execute_alone(lambda connection: store.postpone(connection, [order_id], seconds=seconds))


def _answer(order: Order, verdict: Verdict) -> Answer:
    if verdict.refusal is not None:
        return Answer(None, verdict.refusal)
    public = wire.to_wire(order, verdict.job.personal, payment_status=verdict.payment_status)
    return Answer(checkout_service_pb2.PlaceOrderResponse(order=public), None)


def _refusal(status: status_pb2.Status, order: Order) -> Refusal:
    refusal = Refusal.from_status(status)
    refusal.metadata["order_id"] = str(order.order_id)
    return refusal


def _given_up(order: Order, cause: str) -> Refusal:
    return OrderCancelled("the order was cancelled before it was confirmed", order_id=order.order_id, cause=cause)


def _undecided(verdict: Verdict) -> Exception:
    return Unavailable("the order is being decided elsewhere", order_id=verdict.job.order.order_id)
