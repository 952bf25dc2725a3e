"""How work on any subject goes on: ask its provider outside of any transaction, then keep the answer in one.

When to ask again, what becomes of the lease and when a person is called is decided here for all subjects. What differs
from one kind to the next, which call is due and what an answer makes of the subject, is said by its `Subjects`.
"""

from __future__ import annotations

import uuid
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

import asyncpg

from mesh.database import Database
from mesh.seams import failpoint
from svc_payment.providers.interface import (
    Provider,
    ProviderMismatch,
    ProviderRefused,
    Providers,
    ProviderUnavailable,
)
from svc_payment.settlement import rules, store
from svc_payment.settlement.outside import refuse_inside_transaction
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.store import SubjectKind

Subject = TypeVar("Subject")
Answer = TypeVar("Answer")


class Next(Enum):
    """How the work goes on after an answer was kept."""

    NOTHING = auto()
    """The subject is settled: its work is removed."""
    AT_ONCE = auto()
    """Another call is due; whoever holds the lease makes it."""
    LATER = auto()
    """The provider is asked again after a pause that grows."""
    CUSTOMER = auto()
    """As LATER, but it is the customer who has something to do."""


class Subjects(Protocol[Subject, Answer]):
    """What differs between the kinds of subjects. Holds no state: a crash between any two calls loses nothing."""

    kind: SubjectKind
    after_call: str
    """The failpoint between the call and its transaction; `{call}` stands for the call."""
    after_commit: str
    """The failpoint after that transaction."""

    async def find(self, connection: asyncpg.Connection, subject_id: uuid.UUID) -> Subject | None:
        """Return a subject as it stands, without a lock."""
        ...

    def provider_of(self, subject: Subject) -> str:
        """Return the name of the provider to ask."""
        ...

    def next_call(self, subject: Subject, *, has_token: bool) -> Call:
        """Return what the provider has to be asked, by where the subject stands."""
        ...

    async def ask(self, provider: Provider, subject: Subject, call: Call, token: str | None) -> Answer | Problem:
        """Make one call. What the provider raises becomes a Problem in the settler."""
        ...

    async def keep(self, tx: asyncpg.Connection, subject_id: uuid.UUID, call: Call, answer: Answer | Problem) -> Next:
        """Lock the subject, hold the answer against it as it is by now, and store what it has become."""
        ...


class ProviderSettler(Generic[Subject, Answer]):
    """Goes on with the subjects of one kind."""

    def __init__(self, db: Database, providers: Providers, subjects: Subjects[Subject, Answer]) -> None:
        self._db = db
        self._providers = providers
        self._subjects = subjects

    async def settle(self, subject_id: uuid.UUID) -> bool:
        """Ask once about a subject. Returns whether there is more to ask at once."""
        async with self._db.hot_read() as connection:
            # The subject before its work: both end in one transaction, so work that is left is of a subject that was.
            subject = await self._subjects.find(connection, subject_id)
            work = await store.find(connection, subject_id)
        if subject is None or work is None:
            return False
        call = self._subjects.next_call(subject, has_token=work.card_token is not None)
        answer = await self._ask(subject, call, work.card_token)
        await failpoint(self._subjects.after_call.format(call=call))

        async def keep(tx: asyncpg.Connection) -> bool:
            goes_on = await self._subjects.keep(tx, subject_id, call, answer)
            await self._give_back(tx, subject_id, goes_on, answer, work.attempts)
            await failpoint("payment.settle.before_commit")
            return goes_on is Next.AT_ONCE

        more = await self._db.transact(keep)
        if isinstance(answer, Problem):
            kind = self._subjects.kind.value
            answer.report(kind, call=call.value, **{f"{kind}_id": str(subject_id)})
        await failpoint(self._subjects.after_commit)
        return more

    async def _ask(self, subject: Subject, call: Call, token: str | None) -> Answer | Problem:
        refuse_inside_transaction()
        name = self._subjects.provider_of(subject)
        provider = self._providers.get(name)
        if provider is None:
            return Problem(f"the provider {name} is no longer configured", is_alarm=True)
        try:
            return await self._subjects.ask(provider, subject, call, token)
        except ProviderUnavailable as problem:
            return Problem(str(problem), is_alarm=False)
        except (ProviderMismatch, ProviderRefused) as problem:
            return Problem(str(problem), is_alarm=True)

    async def _give_back(
        self, tx: asyncpg.Connection, subject_id: uuid.UUID, goes_on: Next, answer: Answer | Problem, attempts: int
    ) -> None:
        """End the work or its lease; the lease of work that goes on at once stays with the caller."""
        problem = answer if isinstance(answer, Problem) else None
        if goes_on is Next.NOTHING:
            await store.finish(tx, subject_id)
            return
        if problem is None:
            await store.forget_token(tx, subject_id)
        if goes_on is Next.AT_ONCE:
            return
        if problem is not None and problem.is_alarm:
            pause = rules.ALARM_RETRY_SECONDS
        elif problem is None and goes_on is Next.CUSTOMER:
            pause = rules.CUSTOMER_POLL_SECONDS
        else:
            pause = rules.retry_seconds(attempts)
        await store.postpone(tx, subject_id, seconds=pause, problem=problem.text if problem else None)
