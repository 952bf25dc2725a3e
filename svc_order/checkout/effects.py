"""What decisions on an order still have to do elsewhere: undo, ship, deliver, refund; run until done, by anybody."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from svc_order.checkout import store
from svc_order.checkout.participants import Split, ToRefund, ToRestock
from svc_order.checkout.steps import Later, Steps, Undone
from svc_order.checkout.store import Effect
from svc_order.checkout.tasks import Tasks

log = get_logger("order.effects")

MAX_BACKOFF_SECONDS = 60.0


class Effects:
    """Runs stored effects; each is safe to run twice."""

    def __init__(self, db: Database, steps: Steps, tasks: Tasks, clock: Clock, *, lease_seconds: float) -> None:
        self._db = db
        self._steps = steps
        self._tasks = tasks
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._running: set[UUID] = set()

    @property
    def running(self) -> int:
        """How many effects this process works on now."""
        return len(self._running)

    def start(self, effect: Effect) -> None:
        """Run an effect under the lease that it was stored or taken with."""
        if effect.effect_id not in self._running:
            self._running.add(effect.effect_id)
            self._tasks.start(self._run(effect), "order effect")

    async def sweep_once(self) -> int:
        """Pick up the effects that are due and that nobody works on; returns how many."""
        due = await self._db.execute_alone(
            lambda connection: store.take_due_effects(connection, lease_seconds=self._lease_seconds)
        )
        for effect in due:
            self.start(effect)
        return len(due)

    async def _run(self, effect: Effect) -> None:
        try:
            done = await self._do(effect)
            await failpoint("saga.effect.before_finish")
            await self._db.transact(lambda tx: self._finish(tx, effect, done))
            await failpoint("saga.effect.after_finish")
        except Later as later:
            await self._postpone(effect, later.seconds)
        except Refusal as refusal:
            log.warning(
                "an effect waits",
                order_id=str(effect.order_id),
                kind=effect.kind,
                why=refusal.reason,
                attempts=effect.attempts,
            )
            await self._postpone(effect, min(MAX_BACKOFF_SECONDS, 0.25 * 2 ** min(effect.attempts, 8)))
        finally:
            self._running.discard(effect.effect_id)

    async def _finish(self, tx: asyncpg.Connection, effect: Effect, done: Undone) -> None:
        if done.refund_id is not None:
            at = self._clock.now()
            await store.note_sent_back(tx, effect.order_id, done.refund_id, done.refunded_minor, at=at)
        await store.finish_effect(tx, effect, payment_status=done.payment_status)

    async def _do(self, effect: Effect) -> Undone:
        """Do it, and return where the payment stands, zero where it has not moved, and what an undo sent back.

        What a refund sends back is on the order since it was decided.
        """
        match effect.kind:
            case "UNDO":
                return await self._steps.undo(effect.order_id)
            case "SHIP":
                await self._steps.ship(effect.order_id)
                return Undone(0)
            case "DELIVER":
                await self._steps.release_shares(Split(effect.order_id, effect.sellers))
                return Undone(0)
            case "REFUND":
                refund = ToRefund(
                    effect.effect_id, effect.order_id, effect.amount_minor, effect.currency, effect.sellers
                )
                refunded = await self._steps.refund(refund)
                if effect.release:
                    await self._steps.release(effect.order_id)
                if effect.restock:
                    await self._steps.restock(ToRestock(effect.effect_id, effect.order_id, effect.restock))
                return Undone(int(refunded.payment_status))
        raise ValueError(f"no effect is called {effect.kind}")

    async def _postpone(self, effect: Effect, seconds: float) -> None:
        await self._db.execute_alone(
            lambda connection: store.postpone_effect(connection, effect.effect_id, seconds=seconds)
        )
