"""Payments as subjects of the settlement.

Which call is due follows from where the payment stands, so a worker that starts after a crash needs no other memory,
and an answer that comes late is held against the payment as it is by then.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from mesh.seams import Clock, Ids
from mesh.telemetry import get_logger
from svc_payment.payment import answers, rules, store
from svc_payment.payment.rules import Payment, Status
from svc_payment.providers.interface import AuthorizationRequest, Provider, ProviderRefused
from svc_payment.settlement import outside
from svc_payment.settlement import store as settlement
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.settler import Answered, Next
from svc_payment.settlement.store import SubjectKind, Work

log = get_logger("svc_payment.payment")

Transition = Callable[[Payment], Payment]
"""What an answer makes of the payment, whatever that is by then."""


class PaymentSubjects:
    """Payments that a provider holds."""

    kind = SubjectKind.PAYMENT
    after_call = "payment.settle.after_{call}"
    after_commit = "payment.settle.after_commit"
    max_together = 256

    def __init__(self, clock: Clock, ids: Ids, *, return_url: Callable[[uuid.UUID], str]) -> None:
        self._clock = clock
        self._ids = ids
        self._return_url = return_url

    async def find(
        self, connection: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]
    ) -> Mapping[uuid.UUID, Payment]:
        """Return payments, by payment id."""
        return await store.find_by_ids(connection, subject_ids)

    def provider_of(self, subject: Payment) -> str:
        """Return the provider that holds the money, or is asked to."""
        return subject.provider or ""

    def next_call(self, subject: Payment, *, has_token: bool) -> Call:
        """Return what the provider has to be asked, by where the payment stands."""
        return answers.next_call(subject, has_token=has_token)

    async def ask(self, provider: Provider, subject: Payment, call: Call, token: str | None) -> Transition | Problem:
        """Make one call, and return what its answer makes of the payment."""
        match call:
            case Call.AUTHORIZE:
                return await self._authorize(provider, subject, token or "")
            case Call.CAPTURE:
                return await self._capture(provider, subject)
            case Call.VOID:
                return await self._void(provider, subject)
            case _:
                return await self._query(provider, subject)

    async def keep(self, tx: asyncpg.Connection, answered: Sequence[Answered[Transition]]) -> Sequence[Next]:
        """Apply each answer to its payment as it is now, where nobody else holds that."""
        locked, held = await store.lock_free(tx, [each.subject_id for each in answered])
        after = {
            each.subject_id: before if isinstance(each.answer, Problem) else each.answer(before)
            for each in answered
            if each.subject_id not in held
            for before in [locked[each.subject_id]]
        }
        changes = [(locked[each], payment) for each, payment in after.items() if payment != locked[each]]
        after |= {
            saved.payment_id: saved for saved in await store.save(tx, changes, ids=self._ids, at=self._clock.now())
        }
        # A yes that came after another worker's end of it: that one removed the work, and money is held again.
        revived = [
            Work(SubjectKind.PAYMENT, payment_id, payment.provider or "")
            for payment_id, payment in after.items()
            if answers.is_settled(locked[payment_id]) and not answers.is_settled(payment)
        ]
        await settlement.add(tx, revived)
        return [Next.HELD if each.subject_id in held else _next(after[each.subject_id], each) for each in answered]

    async def _authorize(self, provider: Provider, payment: Payment, token: str) -> Transition:
        assert payment.amount_minor is not None and payment.currency is not None
        asked = AuthorizationRequest(
            payment_id=str(payment.payment_id),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            token=token,
            return_url=self._return_url(payment.payment_id),
        )
        answer = await outside.authorize(provider, asked)
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


def _next(payment: Payment, answered: Answered[Transition]) -> Next:
    """Return how the work on a payment goes on after an answer that made this of it."""
    is_unanswered = isinstance(answered.answer, Problem) and not answered.answer.is_alarm
    if answers.is_settled(payment) and not is_unanswered:  # What a notice asked is not answered by a lost call.
        return Next.NOTHING
    if payment.status not in rules.UNDECIDED and answers.next_call(payment, has_token=False) is not answered.call:
        return Next.AT_ONCE  # A capture or a void was decided while the call was under way.
    return Next.CUSTOMER if payment.status is Status.ACTION_REQUIRED else Next.LATER
