"""The second half of placing an order: reserve, authorize, decide, close, reply, capture; or decide no and undo.

`_drive` is one order's whole path. It may be run again from its start at any time, by any process: participants
remember what they answered, and the order row is the arbiter of the decision. The sweeper picks up what a dead process
left. Orders that stand at the same step travel together, because every step is a batcher.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from google.rpc import status_pb2

from mesh.batcher import Batcher
from mesh.database import Database
from mesh.refusals import Refusal, Unavailable
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from svc_order.checkout import store
from svc_order.checkout.participants import Participants, ToPay, ToRefund
from svc_order.checkout.store import Decided, Effect, Taken
from svc_order.errors import OrderCancelled
from svc_order.order import rules, wire
from svc_order.order import store as orders
from svc_order.order.rules import Allocations, Order
from svc_order.settings import OrderSettings
from svc_order.vault import Vault
from titan.inventory.v1 import inventory_service_pb2
from titan.order.v1 import checkout_service_pb2
from titan.payment.v1 import payment_pb2, payment_service_pb2, refund_pb2

log = get_logger("order.saga")

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
ASK_SECONDS = 3.0
"""How long one run asks a participant that is still at it, before it leaves the order to the sweeper."""
LOOK_SECONDS = 0.25
"""How often a caller looks into the database while another process works on its order."""
MAX_BACKOFF_SECONDS = 5.0

_HELD = (payment_pb2.PAYMENT_STATUS_AUTHORIZED, payment_pb2.PAYMENT_STATUS_CAPTURED)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller of PlaceOrder gets for a decided order: the response, or the refusal."""

    response: checkout_service_pb2.PlaceOrderResponse | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an order should be decided: confirmed with its allocations, or cancelled with a refusal."""

    job: Job
    payment_status: int
    allocations: Allocations = field(default_factory=dict)
    refusal: Refusal | None = None


class Later(Exception):
    """This run can't go on now; the sweeper runs the order again after a pause."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(eq=False, slots=True)
class Job:
    """One order that this process works on.

    `reply` holds an Answer once there is one, and None when the order rests: it waits for its customer, or for a later
    run.
    """

    order: Order
    personal: bytes
    method: payment_pb2.PaymentMethod | None
    reply: asyncio.Future[Answer | None]
    attempts: int = 0
    decided: bool = False
    confirmed: bool = False
    expired: bool = False
    overdue: bool = False
    waits: bool = False


class Saga:
    """Drives every order to its end."""

    def __init__(
        self, db: Database, participants: Participants, vault: Vault, clock: Clock, settings: OrderSettings
    ) -> None:
        self._db = db
        self._ask = participants
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._driving: dict[UUID, Job] = {}
        self._effects: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._decide: Batcher[Verdict, Answer] = Batcher(self._decide_all, name="order.decide")
        self._finish: Batcher[tuple[UUID, int], None] = Batcher(self._finish_all, name="order.finish")

    @property
    def full(self) -> bool:
        """Whether this process works on as many orders as it may."""
        return len(self._driving) >= self._settings.max_driving

    def start(self, order: Order, personal: bytes, method: payment_pb2.PaymentMethod) -> None:
        """Work on an order that was just recorded, under the lease that its record came with."""
        self._begin(Job(order, personal, method, asyncio.get_running_loop().create_future()))

    def start_effect(self, effect: Effect) -> None:
        """Do what a decision has to do elsewhere, under the lease that it was stored with."""
        if effect.effect_id not in self._effects:
            self._effects.add(effect.effect_id)
            self._spawn(self._run_effect(effect), "order effect")

    async def answer(self, order_id: UUID, *, seconds: float) -> Answer | None:
        """Return the answer to an order, waiting for its decision, wherever it is made.

        None when the order waits for its customer, or when the time is over: it is PENDING then.
        """
        ends = time.monotonic() + seconds
        while True:
            job = self._driving.get(order_id)
            if job is not None:
                left = max(0.0, ends - time.monotonic())
                await asyncio.wait({job.reply}, timeout=min(left, LOOK_SECONDS))
                if job.reply.done() and job.reply.result() is not None:
                    return job.reply.result()
            found = await self._look(order_id)
            if isinstance(found, Answer) or found == "rests" or time.monotonic() >= ends:
                return found if isinstance(found, Answer) else None
            if job is None or job.reply.done():
                await asyncio.sleep(min(LOOK_SECONDS / 5, max(0.0, ends - time.monotonic())))

    async def sweep(self) -> None:
        """Pick up orders and effects that nobody works on, until cancelled."""
        while True:
            await self.sweep_once()
            await asyncio.sleep(self._settings.sweep_seconds)

    async def sweep_once(self) -> int:
        """Pick up what is due now; returns how much that was."""
        if self.full:
            return 0
        lease = self._settings.lease_seconds
        async with self._db.hot_read() as connection:
            taken = await store.take_due(
                connection, lease_seconds=lease, give_up_seconds=self._settings.give_up_seconds
            )
            effects = await store.take_due_effects(connection, lease_seconds=lease)
        await self._vault.prepare(t.view.order.user_id for t in taken)
        for each in taken:
            if each.view.order.order_id not in self._driving:
                self._begin(self._job_of(each))
        for effect in effects:
            self.start_effect(effect)
        return len(taken) + len(effects)

    async def close(self) -> None:
        """Stop working; what is not done is picked up by another process, or at the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # One order's path.

    async def _drive(self, job: Job) -> None:
        try:
            answer = None
            if not job.decided:
                verdict = await self._toward_decision(job)
                if verdict is None:
                    return
                answer = await self._step("decide", self._decide, verdict)
                job.confirmed = answer.refusal is None
            unclosed = await self._close_cart(job) if job.confirmed else None
            if answer is not None:
                _reply(job, answer)
            if job.confirmed:
                status = await self._capture(job.order)
            else:
                status = await self._undo(job.order.order_id)
            if unclosed is not None:
                raise unclosed
            await self._step("finish", self._finish, (job.order.order_id, status))
        except (Refusal, Later) as problem:
            await self._postpone(job, problem)
        finally:
            del self._driving[job.order.order_id]
            _reply(job, None)

    async def _toward_decision(self, job: Job) -> Verdict | None:
        """Hold stock, then money; None when the order now waits for its customer."""
        try:
            reserved = await self._step("reserve", self._ask.reserve, job.order)
            if reserved.HasField("error"):
                return Verdict(job, payment_status=0, refusal=_refusal(reserved.error, job.order))
            paid = await self._authorize(job)
        except (Refusal, Later):
            if job.overdue:
                return Verdict(job, payment_status=0, refusal=_given_up(job.order, "CHECKOUT_TIMEOUT"))
            raise
        if paid.status in _HELD:
            return Verdict(job, payment_status=paid.status, allocations=_allocations(reserved))
        if paid.status != payment_pb2.PAYMENT_STATUS_ACTION_REQUIRED:
            return Verdict(job, payment_status=paid.status, refusal=_refusal(paid.error, job.order))
        if job.expired:
            return Verdict(job, payment_status=paid.status, refusal=_given_up(job.order, "PAYMENT_ACTION_EXPIRED"))
        await self._rest(job, paid)
        return None

    async def _authorize(self, job: Job) -> payment_service_pb2.AuthorizeResult:
        """Ask for the money until the provider has answered; a slow one holds up nobody but this order."""
        assert job.method is not None, "a checkout keeps its payment method until it is decided"
        ends, pause = time.monotonic() + ASK_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            paid = await self._step("authorize", self._ask.authorize, ToPay(job.order, job.method))
            if paid.status != payment_pb2.PAYMENT_STATUS_IN_PROGRESS:
                return paid
            if time.monotonic() > ends:
                raise Later(LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    async def _rest(self, job: Job, paid: payment_service_pb2.AuthorizeResult) -> None:
        expires_at = paid.next_action.expire_time.ToDatetime(tzinfo=job.order.created_at.tzinfo)
        waiting = [(job.order.order_id, paid.status, paid.next_action.url, expires_at)]
        async with self._db.hot_read() as connection:
            await store.wait_for_customer(connection, waiting, poll_seconds=self._settings.action_poll_seconds)
        await failpoint("saga.rest.after")

    async def _close_cart(self, job: Job) -> Refusal | None:
        """Close the cart that was ordered; returns why it could not be done, for a later run to do it.

        The order counts either way and is not held up. But a cart that stayed open could never be ordered again.
        """
        if job.order.cart_id is None:
            return None
        try:
            await self._step("close", self._ask.close_cart, job.order)
        except Refusal as refusal:
            return refusal
        return None

    async def _capture(self, order: Order) -> int:
        """Take the money; returns where the payment stands. An order that was cancelled meanwhile is not captured."""
        ends, pause = time.monotonic() + ASK_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            captured = await self._step("capture", self._ask.capture, order.order_id)
            if captured.HasField("error"):
                refusal = Refusal.from_status(captured.error)
                if refusal.reason == "PAYMENT_VOIDED":
                    return captured.status
                raise refusal
            if captured.done:
                return captured.status
            if time.monotonic() > ends:
                raise Later(LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    async def _undo(self, order_id: UUID) -> int:
        """Let go of stock and money, or send the money back where it was taken; returns where the payment stands."""
        released = await self._step("release", self._ask.release, order_id)
        if released.HasField("error"):
            raise Refusal.from_status(released.error)
        ends, pause = time.monotonic() + ASK_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            voided = await self._step("void", self._ask.void, order_id)
            if voided.HasField("error"):
                refusal = Refusal.from_status(voided.error)
                if refusal.reason != "PAYMENT_CAPTURED":
                    raise refusal
                return await self._refund(ToRefund(uuid5(order_id, "undo"), order_id))
            if voided.done:
                return voided.status
            if time.monotonic() > ends:
                raise Later(LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    async def _refund(self, refund: ToRefund) -> int:
        """Send money back; returns where the payment stands."""
        ends, pause = time.monotonic() + ASK_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            refunded = await self._step("refund", self._ask.refund, refund)
            if refunded.HasField("error"):
                refusal = Refusal.from_status(refunded.error)
                if refusal.reason == "PAYMENT_NOT_CAPTURED":
                    raise Later(LONGEST_PAUSE_SECONDS)  # its capture is still on the way
                raise refusal
            if refunded.status == refund_pb2.REFUND_STATUS_DONE:
                return refunded.payment_status
            if time.monotonic() > ends:
                raise Later(LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    # What later decisions do elsewhere.

    async def _run_effect(self, effect: Effect) -> None:
        try:
            status = 0
            match effect.kind:
                case "UNDO":
                    status = await self._undo(effect.order_id)
                case "SHIP":
                    shipped = await self._step("ship", self._ask.ship, effect.order_id)
                    if shipped.HasField("error"):
                        raise Refusal.from_status(shipped.error)
                case "REFUND":
                    status = await self._refund(
                        ToRefund(effect.effect_id, effect.order_id, effect.amount_minor, effect.currency)
                    )
                    if effect.release:
                        released = await self._step("release", self._ask.release, effect.order_id)
                        if released.HasField("error"):
                            raise Refusal.from_status(released.error)
            await failpoint("saga.effect.before_finish")
            async with self._db.hot() as tx:
                await store.finish_effect(tx, effect, payment_status=status)
        except (Refusal, Later) as problem:
            seconds = problem.seconds if isinstance(problem, Later) else LONGEST_PAUSE_SECONDS
            if isinstance(problem, Refusal):
                log.warning("an effect waits", order_id=str(effect.order_id), kind=effect.kind, why=problem.reason)
            async with self._db.hot_read() as connection:
                await store.postpone_effect(connection, effect.effect_id, seconds=seconds)
        finally:
            self._effects.discard(effect.effect_id)

    # Sets.

    async def _decide_all(self, verdicts: list[Verdict]) -> Sequence[Answer | Exception]:
        await self._vault.prepare(v.job.order.user_id for v in verdicts)

        async def write(tx: asyncpg.Connection) -> tuple[dict[UUID, Answer], dict[UUID, store.Known]]:
            held = await orders.lock_orders(tx, [v.job.order.order_id for v in verdicts])
            at, decisions, answers = self._clock.now(), [], {}
            for verdict in verdicts:
                order = held[verdict.job.order.order_id]
                if verdict.refusal is None:
                    change = rules.confirm(order, verdict.allocations, at=at)
                else:
                    cause = verdict.refusal.metadata.get("cause", verdict.refusal.reason)
                    change = rules.abandon(order, cause, at=at)
                if change.entry is not None:
                    answer = self._answer(change.order, verdict)
                    answers[order.order_id] = answer
                    decisions.append(self._decided(change, verdict, answer))
            if decisions:
                await store.decide(tx, decisions, lease_seconds=self._settings.lease_seconds)
            late = [v.job.order.order_id for v in verdicts if v.job.order.order_id not in answers]
            return answers, await store.list_known(tx, late) if late else {}

        answers, known = await self._db.transact(write)
        return [
            answers.get(v.job.order.order_id) or self._open(known[v.job.order.order_id]) or _undecided(v)
            for v in verdicts
        ]

    def _answer(self, order: Order, verdict: Verdict) -> Answer:
        if verdict.refusal is not None:
            return Answer(None, verdict.refusal)
        public = wire.to_wire(order, verdict.job.personal, payment_status=verdict.payment_status)
        return Answer(checkout_service_pb2.PlaceOrderResponse(order=public), None)

    def _decided(self, change: rules.Change, verdict: Verdict, answer: Answer) -> Decided:
        order, response = change.order, None
        if answer.response is not None:
            text = answer.response.SerializeToString(deterministic=True)
            response = self._vault.seal(order.user_id, order.order_id, text)
        return Decided(change, response, answer.refusal, verdict.payment_status)

    async def _finish_all(self, finished: list[tuple[UUID, int]]) -> Sequence[None]:
        async with self._db.hot_read() as connection:
            await store.finish(connection, finished)
        return [None] * len(finished)

    # What is stored.

    async def open_known(self, known: store.Known) -> Answer | None:
        """Return the answer that is stored under a key; None while there is none."""
        await self._vault.prepare([known.user_id])
        return self._open(known)

    def _open(self, known: store.Known) -> Answer | None:
        if known.refusal is not None:
            return Answer(None, Refusal.from_status(status_pb2.Status.FromString(known.refusal)))
        if known.response is not None:
            text = self._vault.open(known.user_id, known.order_id, known.response)
            return Answer(checkout_service_pb2.PlaceOrderResponse.FromString(text), None)
        return None

    async def _look(self, order_id: UUID) -> Answer | str | None:
        async with self._db.hot_read() as connection:
            known = (await store.list_known(connection, [order_id])).get(order_id)
            rests = await store.waits_for_customer(connection, order_id)
        if known is None:
            return None
        return await self.open_known(known) or ("rests" if rests else None)

    # Tasks.

    def _begin(self, job: Job) -> None:
        self._driving[job.order.order_id] = job
        self._spawn(self._drive(job), "checkout")

    def _job_of(self, taken: Taken) -> Job:
        order = taken.view.order
        method = None
        if taken.method is not None:
            method = payment_pb2.PaymentMethod.FromString(self._vault.open(order.user_id, order.order_id, taken.method))
        return Job(
            order=order,
            personal=self._vault.open(order.user_id, order.order_id, taken.view.sealed),
            method=method,
            reply=asyncio.get_running_loop().create_future(),
            attempts=taken.attempts,
            decided=taken.decided,
            confirmed=taken.confirmed,
            expired=taken.expired,
            overdue=taken.overdue,
            waits=taken.waits,
        )

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        # An empty context: the order belongs to none of the calls that wait for it, nor to their deadlines.
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                # Its lease ends by itself, and the sweeper runs it again.
                log.exception(f"a {what} broke off", error)

        task.add_done_callback(ended)

    async def _postpone(self, job: Job, problem: Refusal | Later) -> None:
        if isinstance(problem, Later):
            seconds = problem.seconds
        else:
            seconds = min(MAX_BACKOFF_SECONDS, 0.1 * 2 ** min(job.attempts, 8))
            log.warning("an order waits", order_id=str(job.order.order_id), why=problem.reason)
        async with self._db.hot_read() as connection:
            await store.postpone(connection, [job.order.order_id], seconds=seconds)

    @staticmethod
    async def _step(name: str, batcher: Batcher[Any, Any], item: Any) -> Any:
        await failpoint(f"saga.{name}.before")
        result = await batcher.submit(item)
        await failpoint(f"saga.{name}.after")
        return result


def _reply(job: Job, answer: Answer | None) -> None:
    if not job.reply.done():
        job.reply.set_result(answer)


def _refusal(status: status_pb2.Status, order: Order) -> Refusal:
    refusal = Refusal.from_status(status)
    refusal.metadata["order_id"] = str(order.order_id)
    return refusal


def _given_up(order: Order, cause: str) -> Refusal:
    return OrderCancelled("the order was cancelled before it was confirmed", order_id=order.order_id, cause=cause)


def _undecided(verdict: Verdict) -> Exception:
    return Unavailable("the order is being decided elsewhere", order_id=verdict.job.order.order_id)


def _allocations(reserved: inventory_service_pb2.ReserveResult) -> Allocations:
    by_line: dict[int, tuple[tuple[str, int], ...]] = {}
    for each in reserved.allocations:
        by_line[each.line_number] = (*by_line.get(each.line_number, ()), (each.warehouse_id, each.quantity))
    return by_line
