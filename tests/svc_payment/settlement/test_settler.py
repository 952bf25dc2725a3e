"""What becomes of work on a subject after its provider was asked, whatever the subject."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from mesh.refusals import Unavailable
from mesh.seams import SystemClock, SystemIds
from svc_payment.app import assemble
from svc_payment.providers.interface import ProviderMismatch, ProviderRefused, ProviderUnavailable
from svc_payment.settlement import store
from svc_payment.settlement.problem import ALARMS
from svc_payment.settlement.rules import Call
from svc_payment.settlement.settler import Next, ProviderSettler
from svc_payment.settlement.store import SubjectKind, Work
from tests.svc_payment.conftest import settings_for_tests

AWAY, REFUSED = ProviderUnavailable("away", sent=True), ProviderRefused("voided", "no")


class Told:
    """Subjects that say what the test tells them to."""

    kind = SubjectKind.PAYMENT
    after_call = "test.after_{call}"
    after_commit = "test.after_commit"
    max_together = 256

    def __init__(self, answer: str | Exception, goes_on: Next, *, conflicts: int = 0) -> None:
        self.answer, self.goes_on, self.conflicts = answer, goes_on, conflicts

    async def find(self, connection, subject_ids):
        return dict.fromkeys(subject_ids, "subject")

    def provider_of(self, subject):
        return "psp_sim"

    def next_call(self, subject, *, has_token):
        return Call.AUTHORIZE if has_token else Call.QUERY

    async def ask(self, provider, subject, call, token):
        assert (Call.AUTHORIZE, "tok_visa") == (call, token)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def keep(self, tx, answered):
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise asyncpg.DeadlockDetectedError("another transaction was in the way")
        return [self.goes_on] * len(answered)


async def now(db) -> datetime:
    """Return the time of the database."""
    async with db.hot_read() as connection:
        return await connection.fetchval("SELECT now()")


async def settle(db, told: Told, providers=("psp_sim",)) -> tuple[bool, asyncpg.Record | None]:
    """Settle leased work once; returns whether there is more to ask, and what is stored of the work."""
    subject_id = uuid4()
    async with db.hot() as tx:
        await store.add(tx, [Work(SubjectKind.PAYMENT, subject_id, "psp_sim", "tok_visa")])
    more = await ProviderSettler(db, dict.fromkeys(providers, "provider"), told).settle(subject_id)
    async with db.hot() as tx:
        return more, await tx.fetchrow("DELETE FROM provider_work WHERE subject_id = $1 RETURNING *", subject_id)


@pytest.mark.parametrize(
    ("answer", "goes_on", "pause_seconds", "problem"),
    [
        ("yes", Next.LATER, 0.25, None),
        ("yes", Next.CUSTOMER, 5.0, None),
        ("yes", Next.AT_ONCE, store.LEASE_SECONDS, None),
        (AWAY, Next.LATER, 0.25, "away"),
        (AWAY, Next.CUSTOMER, 0.25, "away"),
        (AWAY, Next.AT_ONCE, store.LEASE_SECONDS, None),
        (REFUSED, Next.LATER, 60.0, "voided: no"),
        (ProviderMismatch("other"), Next.CUSTOMER, 60.0, "other"),
    ],
)
async def test_the_pause_follows_from_the_answer(db, answer, goes_on, pause_seconds, problem):
    """A problem decides before the subject does. What goes on at once keeps its lease; an answer ends the token.

    The database's clock counts, not the process's.
    """
    began = await now(db)
    more, work = await settle(db, Told(answer, goes_on))
    ended = await now(db)
    assert (goes_on is Next.AT_ONCE) is more
    assert began <= work["due_at"] - timedelta(seconds=pause_seconds) <= ended
    assert problem == work["problem"]
    assert (None if answer == "yes" else "tok_visa") == work["card_token"]


@pytest.mark.parametrize("answer", ["yes", AWAY, REFUSED])
async def test_nothing_is_left_of_settled_work(db, answer):
    """The row goes, and with it the card token."""
    assert (False, None) == await settle(db, Told(answer, Next.NOTHING))


async def test_work_of_a_provider_that_is_gone_waits_for_a_person(db):
    """Nobody is asked."""
    more, work = await settle(db, Told("yes", Next.LATER), providers=())
    assert (False, "the provider psp_sim is no longer configured") == (more, work["problem"])


async def test_a_person_is_called_once_however_often_the_transaction_runs(db):
    """The alarm is no part of what a conflict repeats."""
    count = ALARMS.labels("payment")._value
    before = count.get()
    await settle(db, Told(REFUSED, Next.LATER, conflicts=2))
    assert 1 == count.get() - before


async def test_a_settler_that_closes_finishes_what_is_under_way(db):
    """A set that runs outlives the jobs that waited for it; the pool of connections is closed after it."""
    told = Told("yes", Next.NOTHING)
    keeps, goes_on = asyncio.Event(), asyncio.Event()
    kept = []

    async def keep(tx, answered):
        keeps.set()
        await goes_on.wait()
        kept.append(await tx.fetchval("SELECT 1"))
        return [Next.NOTHING] * len(answered)

    told.keep = keep
    subject_id = uuid4()
    async with db.hot() as tx:
        await store.add(tx, [Work(SubjectKind.PAYMENT, subject_id, "psp_sim", "tok_visa")])
    settler = ProviderSettler(db, {"psp_sim": "provider"}, told)
    job = asyncio.ensure_future(settler.settle(subject_id))
    await keeps.wait()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)

    closing = asyncio.ensure_future(settler.close())
    await asyncio.sleep(0)
    assert not closing.done()
    goes_on.set()
    await closing
    assert [1] == kept


async def test_the_package_closes_its_settlers(db, provider):
    """None of them begins a set on a pool that is about to close."""
    parts = await assemble(db, SystemClock(), SystemIds(), {provider.name: provider}, settings_for_tests())
    await parts.close()
    assert set(SubjectKind) == set(parts.settlers)
    for settler in parts.settlers.values():
        with pytest.raises(Unavailable):
            await settler.settle(uuid4())
