"""Top-ups as subjects of the settlement: authorize, capture, credit; or void what nobody can confirm."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from mesh.seams import Clock, failpoint
from svc_payment.ledger.store import Balance
from svc_payment.providers.interface import Authorization, AuthorizationRequest, Provider
from svc_payment.settlement import outside
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.settler import Answered, Next
from svc_payment.settlement.store import SubjectKind
from svc_payment.wallet import rules, store
from svc_payment.wallet.rules import TopUp, TopUpStatus

Answer = Authorization | Call
"""What a provider said: how the authorization stands, or the call (capture, void) that it has done."""


class TopUpSubjects:
    """Top-ups. `answer` gives the response to keep for the balance that a credit left."""

    kind = SubjectKind.TOP_UP
    after_call = "payment.top_up.after_{call}"
    after_commit = "payment.top_up.after_settled"
    max_together = 1

    def __init__(self, clock: Clock, *, answer: Callable[[TopUp, Balance], bytes]) -> None:
        self._clock = clock
        self._answer = answer

    async def find(self, connection: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, TopUp]:
        """Return top-ups."""
        return await store.find_top_ups(connection, subject_ids)

    def provider_of(self, subject: TopUp) -> str:
        """Return the provider of the card."""
        return subject.provider

    def next_call(self, subject: TopUp, *, has_token: bool) -> Call:
        """Return what the provider has to be asked."""
        return rules.next_call(subject, has_token=has_token)

    async def ask(self, provider: Provider, subject: TopUp, call: Call, token: str | None) -> Answer | Problem:
        """Make one call; a top-up has no page to send anybody to, so it names no return URL."""
        payment_id = str(subject.top_up_id)
        match call:
            case Call.AUTHORIZE:
                return await outside.authorize(
                    provider, AuthorizationRequest(payment_id, subject.amount_minor, subject.currency, token or "")
                )
            case Call.CAPTURE:
                await provider.capture(
                    payment_id, capture_id=payment_id, amount_minor=subject.amount_minor, currency=subject.currency
                )
                return call
            case Call.VOID:
                await provider.void(payment_id)
                return call
        seen = await provider.query(payment_id)
        if seen is None:
            return Problem("the provider does not know the top-up", is_alarm=True)
        if rules.is_foreign(subject, seen):
            return Problem("the provider has another amount or currency under this top-up", is_alarm=True)
        return seen.authorization

    async def keep(self, tx: asyncpg.Connection, answered: Sequence[Answered[Answer]]) -> Sequence[Next]:
        """Apply an answer to the top-up as it is now; a problem changes nothing."""
        (only,) = answered
        return [Next.LATER if isinstance(only.answer, Problem) else await self._keep(tx, only.subject_id, only.answer)]

    async def _keep(self, tx: asyncpg.Connection, top_up_id: uuid.UUID, answer: Answer) -> Next:
        before = await store.lock_top_up(tx, top_up_id)
        assert before is not None
        at = self._clock.now()
        if isinstance(answer, Authorization):
            after = rules.authorized(before, answer)
        elif answer is Call.VOID:
            after = rules.voided(before)
        elif before.status is TopUpStatus.CAPTURING:
            after = await store.credit_top_up(tx, before, answer=lambda balance: self._answer(before, balance), at=at)
        else:
            after = before
        await failpoint("payment.top_up.before_store")
        await store.save_top_up(tx, after, at=at)
        if after.is_settled:
            return Next.NOTHING
        return Next.LATER if after.status is before.status else Next.AT_ONCE
