"""Asks the provider to give money back and books what it did: first the call, then a transaction of its own."""

from __future__ import annotations

import uuid
from datetime import timedelta

import asyncpg

from mesh.database import Database
from mesh.seams import Clock, failpoint
from svc_payment.payment import store as payments
from svc_payment.payment.rules import Payment, Status
from svc_payment.providers.interface import ProviderMismatch, ProviderRefused, Providers, ProviderUnavailable
from svc_payment.refund import store
from svc_payment.refund.rules import Refund, RefundStatus
from svc_payment.settlement import rules as pace
from svc_payment.settlement import store as settlement
from svc_payment.settlement.outside import refuse_inside_transaction
from svc_payment.settlement.problem import Problem


class RefundSettler:
    """Goes on with refunds that a provider has to make."""

    def __init__(self, db: Database, clock: Clock, providers: Providers) -> None:
        self._db = db
        self._clock = clock
        self._providers = providers

    async def settle(self, subject_id: uuid.UUID) -> bool:
        """Ask once for a refund, by refund id. There is never more to ask at once."""
        async with self._db.hot_read() as connection:
            work = await settlement.find(connection, subject_id)
            refund = await store.find(connection, subject_id)
            if work is None or refund is None:
                return False
            payment = (await payments.find(connection, [refund.order_id]))[refund.order_id]
        problem = None if refund.status is RefundStatus.DONE else await self._ask(payment, refund)
        await failpoint("payment.refund.after_call")
        at = self._clock.now()

        async def keep(tx: asyncpg.Connection) -> None:
            if problem is None:
                await store.finish(tx, subject_id, refund.order_id, at=at)
                await settlement.finish(tx, subject_id)
                return
            pause = pace.ALARM_RETRY_SECONDS if problem.is_alarm else pace.retry_seconds(work.attempts)
            await settlement.postpone(tx, subject_id, until=at + timedelta(seconds=pause), problem=problem.text)

        await self._db.transact(keep)
        if problem is not None:
            problem.report("refund", refund_id=str(subject_id))
        return False

    async def _ask(self, payment: Payment, refund: Refund) -> Problem | None:
        """Return None once the provider gave the money back, now or before."""
        if payment.status is not Status.CAPTURED:
            return Problem("the capture is not done yet", is_alarm=False)
        refuse_inside_transaction()
        provider = self._providers.get(payment.provider or "")
        if provider is None:
            return Problem(f"the provider {payment.provider} is no longer configured", is_alarm=True)
        try:
            await provider.refund(
                str(payment.payment_id),
                refund_id=str(refund.refund_id),
                amount_minor=refund.amount_minor,
                currency=refund.currency,
            )
        except ProviderUnavailable as problem:
            return Problem(str(problem), is_alarm=False)
        except (ProviderMismatch, ProviderRefused) as problem:
            return Problem(str(problem), is_alarm=True)
        return None
