"""How work on any subject goes on: ask its provider outside of any transaction, then keep the answer in one.

When to ask again, what becomes of the lease and when a person is called is decided here for all subjects. What differs
from one kind to the next, which call is due and what an answer makes of the subject, is said by its `Subjects`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from mesh.batcher import Batcher
from mesh.database import Database
from mesh.seams import failpoint
from svc_payment.providers.interface import (
    Provider,
    ProviderMismatch,
    ProviderRefused,
    Providers,
    ProviderUnavailable,
)
from svc_payment.settlement import held, rules, store
from svc_payment.settlement.held import Held
from svc_payment.settlement.outside import refuse_inside_transaction
from svc_payment.settlement.problem import Problem
from svc_payment.settlement.rules import Call
from svc_payment.settlement.store import Open, Pause, SubjectKind

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
    HELD = auto()
    """Another transaction holds the subject: nothing was stored, and the answer is kept in a later set."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """What a provider answered to a call about a subject, or why there is no answer; and how often it was tried."""

    subject_id: uuid.UUID
    call: Call
    answer: Answer | Problem
    attempts: int


class Subjects(Protocol[Subject, Answer]):
    """What differs between the kinds of subjects. Holds no state: a crash between any two calls loses nothing."""

    kind: SubjectKind
    max_together: int
    """How many answers are kept in one transaction at most: 1 where each of them locks accounts of its own."""
    after_call: str
    """The failpoint between the call and its transaction; `{call}` stands for the call."""
    after_commit: str
    """The failpoint after that transaction."""

    async def find(
        self, connection: asyncpg.Connection, subject_ids: Sequence[uuid.UUID]
    ) -> Mapping[uuid.UUID, Subject]:
        """Return subjects as they stand, without a lock; those that are not there are left out."""
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

    async def keep(self, tx: asyncpg.Connection, answered: Sequence[Answered[Answer]]) -> Sequence[Next]:
        """Lock the subjects, hold each answer against its subject as it is by now, and store what has become of it.

        Returns how the work on each goes on, in the order given. Whoever keeps several together waits for no lock.
        """
        ...


class ProviderSettler(Generic[Subject, Answer]):
    """Goes on with the subjects of one kind. Calls stand alone; what comes before and after them is shared."""

    def __init__(self, db: Database, providers: Providers, subjects: Subjects[Subject, Answer]) -> None:
        self._db = db
        self._providers = providers
        self._subjects = subjects
        kind = subjects.kind.value
        self._found: Batcher[uuid.UUID, tuple[Subject, Open] | None] = Batcher(self._find, name=f"settle.find_{kind}")
        self._kept: Batcher[Answered[Answer], Next] = Batcher(
            self._keep_together, name=f"settle.keep_{kind}", max_items=subjects.max_together
        )

    async def settle(self, subject_id: uuid.UUID) -> bool:
        """Ask once about a subject. Returns whether there is more to ask at once."""
        found = await self._found.submit(subject_id)
        if found is None:
            return False
        subject, work = found
        call = self._subjects.next_call(subject, has_token=work.card_token is not None)
        answer = await self._ask(subject, call, work.card_token)
        await failpoint(self._subjects.after_call.format(call=call))
        answered = Answered(subject_id, call, answer, work.attempts)
        if self._subjects.max_together > 1:
            goes_on = await held.submit(self._kept, answered)
        else:
            (goes_on,) = await self._keep([answered])
        if isinstance(answer, Problem):
            kind = self._subjects.kind.value
            answer.report(kind, call=call.value, **{f"{kind}_id": str(subject_id)})
        await failpoint(self._subjects.after_commit)
        return goes_on is Next.AT_ONCE

    async def close(self) -> None:
        """Finish what waits for company; nobody settles any more."""
        await self._found.close()
        await self._kept.close()

    async def _find(self, subject_ids: list[uuid.UUID]) -> Sequence[tuple[Subject, Open] | None]:
        async with self._db.hot_read() as connection:
            # Subjects before their work: both end in one transaction, so work that is left is of a subject that was.
            subjects = await self._subjects.find(connection, subject_ids)
            work = await store.find(connection, subject_ids)
        return [(subjects[each], work[each]) if each in subjects and each in work else None for each in subject_ids]

    async def _keep_together(self, answered: list[Answered[Answer]]) -> Sequence[Next | Exception]:
        return [Held() if each is Next.HELD else each for each in await self._keep(answered)]

    async def _keep(self, answered: Sequence[Answered[Answer]]) -> Sequence[Next]:
        async def keep(tx: asyncpg.Connection) -> Sequence[Next]:
            goes_on = await self._subjects.keep(tx, answered)
            await _give_back(tx, list(zip(answered, goes_on, strict=True)))
            await failpoint("payment.settle.before_commit")
            return goes_on

        return await self._db.transact(keep)

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


async def _give_back(tx: asyncpg.Connection, kept: Sequence[tuple[Answered[Any], Next]]) -> None:
    """End work or its lease; the lease of what goes on at once, or is held, stays with the caller."""
    await store.give_back(
        tx,
        settled=[each.subject_id for each, goes_on in kept if goes_on is Next.NOTHING],
        answered=[
            each.subject_id
            for each, goes_on in kept
            if goes_on not in (Next.NOTHING, Next.HELD) and not isinstance(each.answer, Problem)
        ],
        paused=[_pause(each, goes_on) for each, goes_on in kept if goes_on in (Next.LATER, Next.CUSTOMER)],
    )


def _pause(answered: Answered[Any], goes_on: Next) -> Pause:
    problem = answered.answer if isinstance(answered.answer, Problem) else None
    if problem is not None and problem.is_alarm:
        seconds = rules.ALARM_RETRY_SECONDS
    elif problem is None and goes_on is Next.CUSTOMER:
        seconds = rules.CUSTOMER_POLL_SECONDS
    else:
        seconds = rules.retry_seconds(answered.attempts)
    return Pause(answered.subject_id, seconds, problem.text if problem else None)
