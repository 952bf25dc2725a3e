"""Asks the provider about one top-up and stores what it answered: first the call, then a transaction of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import asyncpg

from mesh.database import Database
from mesh.seams import Clock, failpoint
from svc_payment.ledger.store import Balance
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
from svc_payment.wallet import rules, store
from svc_payment.wallet.rules import TopUp, TopUpStatus

Answer = Authorization | Call
"""What a provider said: how the authorization stands, or the call (capture, void) that it has done."""


class TopUpSettler:
    """Goes on with top-ups. `answer` gives the response to keep for the balance that a credit left."""

    def __init__(
        self, db: Database, clock: Clock, providers: Providers, *, answer: Callable[[TopUp, Balance], bytes]
    ) -> None:
        self._db = db
        self._clock = clock
        self._providers = providers
        self._answer = answer

    async def settle(self, subject_id: uuid.UUID) -> bool:
        """Ask once about a top-up. Returns whether there is more to ask at once."""
        async with self._db.hot_read() as connection:
            top_up = await store.find_top_up(connection, subject_id)
            work = await settlement.find(connection, subject_id)
        if top_up is None or work is None:
            return False
        call = rules.next_call(top_up, has_token=work.card_token is not None)
        answer = await self._ask(top_up, call, work.card_token)
        await failpoint(f"payment.top_up.after_{call}")

        async def keep(tx: asyncpg.Connection) -> bool:
            return await self._keep(tx, subject_id, answer, work.attempts)

        return await self._db.transact(keep)

    async def _ask(self, top_up: TopUp, call: Call, token: str | None) -> Answer | Problem:
        refuse_inside_transaction()
        provider = self._providers.get(top_up.provider)
        if provider is None:
            return Problem(f"the provider {top_up.provider} is no longer configured", is_alarm=True)
        try:
            return await self._call(provider, top_up, call, token)
        except ProviderUnavailable as problem:
            return Problem(str(problem), is_alarm=False)
        except (ProviderMismatch, ProviderRefused) as problem:
            if call is Call.AUTHORIZE and isinstance(problem, ProviderRefused) and problem.code == "malformed":
                return Authorization(Outcome.REFUSED, None, refusal_code=problem.code)
            return Problem(str(problem), is_alarm=True)

    async def _call(self, provider: Provider, top_up: TopUp, call: Call, token: str | None) -> Answer | Problem:
        payment_id = str(top_up.top_up_id)
        match call:
            case Call.AUTHORIZE:
                return await provider.authorize(
                    AuthorizationRequest(payment_id, top_up.amount_minor, top_up.currency, token or "")
                )
            case Call.CAPTURE:
                await provider.capture(
                    payment_id, capture_id=payment_id, amount_minor=top_up.amount_minor, currency=top_up.currency
                )
                return call
            case Call.VOID:
                await provider.void(payment_id)
                return call
        seen = await provider.query(payment_id)
        if seen is None:
            return Problem("the provider does not know the top-up", is_alarm=True)
        if rules.is_foreign(top_up, seen):
            return Problem("the provider has another amount or currency under this top-up", is_alarm=True)
        return seen.authorization

    async def _keep(
        self, tx: asyncpg.Connection, top_up_id: uuid.UUID, answer: Answer | Problem, attempts: int
    ) -> bool:
        before = await store.lock_top_up(tx, top_up_id)
        assert before is not None
        at = self._clock.now()
        if isinstance(answer, Problem):
            answer.report("top_up", top_up_id=str(top_up_id))
            pause = pace.ALARM_RETRY_SECONDS if answer.is_alarm else pace.retry_seconds(attempts)
            await settlement.postpone(tx, top_up_id, until=at + timedelta(seconds=pause), problem=answer.text)
            return False
        await settlement.forget_token(tx, top_up_id)
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
            await settlement.finish(tx, top_up_id)
            return False
        if after.status is before.status:
            await settlement.postpone(tx, top_up_id, until=at + timedelta(seconds=pace.retry_seconds(attempts)))
            return False
        return True
