"""The work owed by providers: each has room of its own, and what a process has stays its own while it lives."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from svc_payment.settlement import store
from svc_payment.settlement.store import SubjectKind, Work
from svc_payment.settlement.worker import MAX_WAITING_CALLS, SWEEP_SECONDS, Worker
from tests.svc_payment.asking import end_leases, until


class Hanging:
    """Settles what it is asked at once, but for subjects that hang until they are let go."""

    def __init__(self) -> None:
        self.hanging: set[UUID] = set()
        self.asked: list[UUID] = []
        self.let_go = asyncio.Event()

    async def settle(self, subject_id: UUID) -> bool:
        self.asked.append(subject_id)
        if subject_id in self.hanging:
            await self.let_go.wait()
        return False


@pytest.fixture
def settler() -> Hanging:
    return Hanging()


@pytest.fixture
async def make(db, settler):
    """Make a worker as a process has one; all of them end with the test, and so does their work."""
    made = []

    def worker(**limits: int) -> Worker:
        made.append(Worker(db, {SubjectKind.PAYMENT: settler}, **limits))
        return made[-1]

    yield worker
    for each in made:
        await each.close()
    async with db.hot_read() as connection:
        await connection.execute("DELETE FROM provider_work")


async def owed(db, provider: str, count: int) -> list[Work]:
    """Store work of a provider that is due now."""
    work = [Work(SubjectKind.PAYMENT, uuid4(), provider) for _ in range(count)]
    async with db.hot() as tx:
        await store.add(tx, work)
        await tx.execute("UPDATE provider_work SET due_at = now() WHERE provider = $1", provider)
    return work


async def test_a_provider_that_hangs_leaves_the_others_their_room(db, settler, make):
    """However much one owes, what the next one owes is asked at the next sweep."""
    hung = await owed(db, "hanging", 12)
    settler.hanging = {each.subject_id for each in hung}
    worker = make(max_running=2, max_jobs=4)
    assert 4 == await worker.sweep_once()
    prompt = await owed(db, "prompt", 3)
    assert 3 == await worker.sweep_once()
    await until(lambda: asyncio.sleep(0, settler.asked), lambda asked: {w.subject_id for w in prompt} <= set(asked))
    worker.start([Work(SubjectKind.PAYMENT, uuid4(), "hanging"), fresh := Work(SubjectKind.PAYMENT, uuid4(), "prompt")])
    await until(lambda: asyncio.sleep(0, settler.asked), lambda asked: fresh.subject_id in asked)


async def test_room_that_is_free_again_is_used(db, settler, make):
    """More than fits at once is asked in the end, each once."""
    work = await owed(db, "prompt", 20)
    worker = make(max_running=2, max_jobs=4)
    for _ in range(5):
        assert 4 == await worker.sweep_once()
        await until(lambda: asyncio.sleep(0, running()), lambda left: not left)
    assert sorted(w.subject_id for w in work) == sorted(settler.asked)


async def test_a_lease_lasts_as_long_as_its_process(db, settler, make):
    """A call that takes long is not made by a second process; when the first one dies, it is, within seconds."""
    (work,) = await owed(db, "hanging", 1)
    settler.hanging = {work.subject_id}
    first, second = make(), make()
    assert 1 == await first.sweep_once()
    await end_leases(db)
    assert 0 == await first.sweep_once()  # It has the work already, and keeps it.
    assert 0 == await second.sweep_once()
    await first.close()
    await end_leases(db)
    assert 1 == await second.sweep_once()
    assert store.LEASE_SECONDS + 2 * SWEEP_SECONDS < 5


async def test_only_so_many_calls_wait_for_a_provider(db, settler, make):
    """The rest is told at once; the places of running calls are for the others."""
    (work,) = await owed(db, "hanging", 1)
    settler.hanging = {work.subject_id}
    worker = make()
    await worker.sweep_once()
    waiting = [asyncio.create_task(worker.wait(work.subject_id, timeout_seconds=5)) for _ in range(MAX_WAITING_CALLS)]
    await asyncio.sleep(0)
    assert not await worker.wait(work.subject_id, timeout_seconds=5)
    settler.let_go.set()
    assert all(await asyncio.gather(*waiting))
    assert await worker.wait(work.subject_id, timeout_seconds=5)


def running() -> list[asyncio.Task[None]]:
    """Return the tasks of jobs that run now."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("settle ")]
