"""Refunds as subjects of the settlement: the money goes back once, under the refund's id."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from mesh.seams import Clock
from svc_payment.payment import store as payments
from svc_payment.payment.rules import Payment, Status
from svc_payment.providers.interface import Provider
from svc_payment.refund import store
from svc_payment.refund.rules import Refund
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.settler import Answered, Next
from svc_payment.settlement.store import SubjectKind


@dataclass(frozen=True, slots=True)
class Owed:
    """A refund beside the payment that it is of."""

    refund: Refund
    payment: Payment


class RefundSubjects:
    """Refunds that a provider has to make. The answer is the refund that is done, now or before."""

    kind = SubjectKind.REFUND
    after_call = "payment.refund.after_call"
    after_commit = "payment.refund.after_settled"
    max_together = 1

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def find(self, connection: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Owed]:
        """Return refunds and their payments, by refund id."""
        refunds = await store.find(connection, subject_ids)
        of = await payments.find(connection, [refund.order_id for refund in refunds])
        return {refund.refund_id: Owed(refund, of[refund.order_id]) for refund in refunds}

    def provider_of(self, subject: Owed) -> str:
        """Return the provider that took the money."""
        return subject.payment.provider or ""

    def next_call(self, subject: Owed, *, has_token: bool) -> Call:
        """Return the only call that a refund knows."""
        return Call.REFUND

    async def ask(self, provider: Provider, subject: Owed, call: Call, token: str | None) -> Refund | Problem:
        """Ask for the money to go back; not before the provider has taken it."""
        refund, payment = subject.refund, subject.payment
        if payment.status is not Status.CAPTURED:
            return Problem("the capture is not done yet", is_alarm=False)
        await provider.refund(
            str(payment.payment_id),
            refund_id=str(refund.refund_id),
            amount_minor=refund.amount_minor,
            currency=refund.currency,
        )
        return refund

    async def keep(self, tx: asyncpg.Connection, answered: Sequence[Answered[Refund]]) -> Sequence[Next]:
        """Book a refund that is done."""
        (only,) = answered
        if isinstance(only.answer, Problem):
            return [Next.LATER]
        await store.finish(tx, only.subject_id, only.answer.order_id, at=self._clock.now())
        return [Next.NOTHING]
