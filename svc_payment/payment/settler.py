"""Asks a provider about one payment and stores what it answered: first the call, then a transaction of its own.

Which call is due follows from where the payment stands, so a worker that starts after a crash needs no other memory,
and an answer that comes late is held against the payment as it is by then.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import asyncpg

from mesh.database import Database
from mesh.seams import Clock, Ids, failpoint
from mesh.telemetry import get_logger
from svc_payment.payment import answers, rules, store
from svc_payment.payment.rules import Payment, Status
from svc_payment.providers.interface import (
    Authorization,
    AuthorizationRequest,
    Outcome,
    Provider,
    ProviderMismatch,
    ProviderRefused,
    Providers,
    ProviderUnavailable,
)
from svc_payment.settlement import rules as pace
from svc_payment.settlement import store as settlement
from svc_payment.settlement.outside import refuse_inside_transaction
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.store import SubjectKind, Work

log = get_logger("svc_payment.payment")

Transition = Callable[[Payment], Payment]


class PaymentSettler:
    """Goes on with payments that a provider holds."""

    def __init__(
        self, db: Database, clock: Clock, ids: Ids, providers: Providers, *, return_url: Callable[[uuid.UUID], str]
    ) -> None:
        self._db = db
        self._clock = clock
        self._ids = ids
        self._providers = providers
        self._return_url = return_url

    async def settle(self, subject_id: uuid.UUID) -> bool:
        """Ask once about a payment, by payment id. Returns whether there is more to ask at once."""
        async with self._db.hot_read() as connection:
            payment = await store.find_by_id(connection, subject_id)
            work = await settlement.find(connection, subject_id)
        if payment is None or work is None:
            return False
        asked = answers.next_call(payment, has_token=work.card_token is not None)
        answer = await self._ask(payment, asked, work.card_token)
        await failpoint(f"payment.settle.after_{asked}")

        async def keep(tx: asyncpg.Connection) -> bool:
            return await self._keep(tx, subject_id, asked, answer, work.attempts)

        more = await self._db.transact(keep)
        await failpoint("payment.settle.after_commit")
        return more

    async def _ask(self, payment: Payment, call: Call, token: str | None) -> Transition | Problem:
        """Make one call, and return what its answer makes of the payment, whatever that is by then."""
        refuse_inside_transaction()
        provider = self._providers.get(payment.provider or "")
        if provider is None:
            return Problem(f"the provider {payment.provider} is no longer configured", is_alarm=True)
        try:
            match call:
                case Call.AUTHORIZE:
                    return await self._authorize(provider, payment, token or "")
                case Call.CAPTURE:
                    return await self._capture(provider, payment)
                case Call.VOID:
                    return await self._void(provider, payment)
                case Call.QUERY:
                    return await self._query(provider, payment)
        except ProviderUnavailable as problem:
            return Problem(str(problem), is_alarm=False)
        except (ProviderMismatch, ProviderRefused) as problem:
            return Problem(str(problem), is_alarm=True)

    async def _authorize(self, provider: Provider, payment: Payment, token: str) -> Transition:
        assert payment.amount_minor is not None and payment.currency is not None
        asked = AuthorizationRequest(
            payment_id=str(payment.payment_id),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            token=token,
            return_url=self._return_url(payment.payment_id),
        )
        try:
            answer = await provider.authorize(asked)
        except ProviderRefused as refusal:
            if refusal.code != "malformed":
                raise
            answer = Authorization(Outcome.REFUSED, None, refusal_code=refusal.code)
        return lambda now: answers.authorized(now, answer)

    async def _capture(self, provider: Provider, payment: Payment) -> Transition | Problem:
        assert payment.amount_minor is not None and payment.currency is not None
        try:
            await provider.capture(
                str(payment.payment_id),
                capture_id=str(payment.payment_id),
                amount_minor=payment.amount_minor,
                currency=payment.currency,
            )
        except ProviderRefused as refusal:
            seen = await self._query(provider, payment)
            return seen if not isinstance(seen, Problem) else Problem(str(refusal), is_alarm=True)
        return lambda now: rules.captured(now) if now.status is Status.CAPTURING else now

    async def _void(self, provider: Provider, payment: Payment) -> Transition | Problem:
        payment_id = str(payment.payment_id)
        try:
            await provider.void(payment_id)
        except ProviderRefused as refusal:
            seen = await provider.query(payment_id)
            if seen is None or seen.currency is None or refusal.code != "already_captured":
                return Problem(str(refusal), is_alarm=True)
            # Taken by somebody else after it was let go here: it goes back, under an id that is always the same.
            late_minor = answers.late_capture_minor(payment, seen)
            if late_minor > 0:
                log.error("a payment that was let go had been captured; it goes back", payment_id=payment_id)
                await provider.refund(
                    payment_id,
                    refund_id=str(uuid.uuid5(payment.payment_id, "late capture")),
                    amount_minor=late_minor,
                    currency=seen.currency,
                )
        return answers.voided

    async def _query(self, provider: Provider, payment: Payment) -> Transition | Problem:
        seen = await provider.query(str(payment.payment_id))
        if seen is None:
            return Problem("the provider does not know the payment", is_alarm=True)
        if answers.is_foreign(payment, seen):
            return Problem("the provider has another amount or currency under this payment", is_alarm=True)
        if payment.status is Status.CAPTURING and seen.captured_minor != payment.amount_minor:
            return Problem("the provider no longer holds the money of a capture that was decided", is_alarm=True)
        return lambda now: answers.seen_at_provider(now, seen)

    async def _keep(
        self, tx: asyncpg.Connection, payment_id: uuid.UUID, asked: Call, answer: Transition | Problem, attempts: int
    ) -> bool:
        """Apply an answer to the payment as it is now, and say whether the worker goes on at once."""
        before = await store.lock_by_id(tx, payment_id)
        assert before is not None
        at = self._clock.now()
        if isinstance(answer, Problem):
            answer.report("payment", payment_id=str(payment_id), call=asked.value)
        after = before if isinstance(answer, Problem) else answer(before)
        if after != before:
            (after,) = await store.save(tx, [(before, after)], ids=self._ids, at=at)
        is_unanswered = isinstance(answer, Problem) and not answer.is_alarm
        if answers.is_settled(after) and not is_unanswered:  # What a notice asked is not answered by a lost call.
            await settlement.finish(tx, payment_id)
            return False
        if answers.is_settled(before) and not answers.is_settled(after):
            # A yes that came after another worker's end of it: that one removed the work, and money is held again.
            await settlement.add(tx, [Work(SubjectKind.PAYMENT, payment_id, after.provider or "")], at=at)
        if not isinstance(answer, Problem):
            await settlement.forget_token(tx, payment_id)
        if after.status not in rules.UNDECIDED and answers.next_call(after, has_token=False) is not asked:
            return True  # A capture or a void was decided while the call was under way.
        if isinstance(answer, Problem):
            pause = pace.ALARM_RETRY_SECONDS if answer.is_alarm else pace.retry_seconds(attempts)
        else:
            waits = after.status is Status.ACTION_REQUIRED
            pause = pace.CUSTOMER_POLL_SECONDS if waits else pace.retry_seconds(attempts)
        problem = answer.text if isinstance(answer, Problem) else None
        await settlement.postpone(tx, payment_id, until=at + timedelta(seconds=pause), problem=problem)
        return False
