"""The worker on a real queue, with jobs that a test makes up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from svc_bulk.operation.rules import MAX_ATTEMPTS
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Work
from tests.svc_bulk.conftest import Bulk, State


class Made:
    """A job that does what a test says, and remembers at which positions it was begun."""

    def __init__(self, do: Callable[[Work], Awaitable[None]]) -> None:
        self._do = do
        self.began: list[int] = []

    async def run(self, work: Work) -> None:
        self.began.append(work.operation.position)
        await self._do(work)


async def poison(work: Work) -> None:
    raise LookupError("a defect")


async def test_a_poisoned_operation_becomes_a_dead_letter_and_the_others_go_on(bulk: Bulk):
    """After five tries; it can be listed, and its problem is there for a person."""
    started = await bulk.start(sales_report={})
    job = Made(poison)
    worker = bulk.worker(jobs={"sales_report": job})
    for _ in range(MAX_ATTEMPTS + 2):
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()

    dead = await bulk.get(started.operation_id)
    assert MAX_ATTEMPTS == len(job.began) == dead.attempts
    assert State.OPERATION_STATE_DEAD == dead.state and dead.done
    assert "LookupError" == dead.problem and "INTERNAL" in str(dead.error)

    other = await bulk.start(sales_report={})
    worker = bulk.worker(jobs={"sales_report": Made(nothing)})
    assert 1 == await worker.take_due()
    await worker.settle()
    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(other.operation_id)).state


async def nothing(work: Work) -> None:
    pass


async def test_an_operation_that_kills_its_workers_becomes_a_dead_letter_too(bulk: Bulk):
    """None of them lived to say what happened, so the one after the last does."""
    started = await bulk.start(sales_report={})
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE operations SET state = 'RUNNING', attempts = $1", MAX_ATTEMPTS)
    job = Made(nothing)
    worker = bulk.worker(jobs={"sales_report": job})
    await worker.take_due()
    await worker.settle()

    dead = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_DEAD, []) == (dead.state, job.began)
    assert "died" in dead.problem


async def test_an_operation_that_gets_further_each_time_never_dies(bulk: Bulk):
    """Tries are counted at one place; a long way may have many bad ones."""
    started = await bulk.start(sales_report={})

    async def one_more(work: Work) -> None:
        position = work.operation.position + 1
        await work.save(Step(position, rows_done=position))
        if position < 3 * MAX_ATTEMPTS:
            raise LookupError

    worker = bulk.worker(jobs={"sales_report": Made(one_more)})
    for _ in range(3 * MAX_ATTEMPTS):
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()

    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(started.operation_id)).state


async def test_a_slow_step_keeps_its_lease(bulk: Bulk):
    """It is renewed while the job waits for somebody, so no other worker begins."""
    started = await bulk.start(sales_report={})

    async def slow(work: Work) -> None:
        await asyncio.sleep(0.6)

    job = Made(slow)
    one = bulk.worker(jobs={"sales_report": job}, lease_seconds=0.3)
    other = bulk.worker(jobs={"sales_report": job}, lease_seconds=0.3)
    await one.take_due()
    for _ in range(5):
        await asyncio.sleep(0.1)
        assert 0 == await other.take_due()
    await one.settle()

    assert [0] == job.began
    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(started.operation_id)).state


async def test_a_worker_that_lost_its_lease_stops_and_says_nothing(bulk: Bulk):
    """Whoever has it now says how it ends."""
    started = await bulk.start(sales_report={})

    async def endless(work: Work) -> None:
        await asyncio.Event().wait()

    worker = bulk.worker(jobs={"sales_report": Made(endless)}, lease_seconds=0.3)
    await worker.take_due()
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE operations SET lease = lease + 1, due_at = now() + interval '1 hour'")
    async with asyncio.timeout(3):
        await worker.settle()

    assert State.OPERATION_STATE_RUNNING == (await bulk.get(started.operation_id)).state


async def test_a_worker_is_at_no_more_than_it_may(bulk: Bulk):
    """The rest waits in the queue, where any other worker finds it."""
    for _ in range(3):
        await bulk.start(sales_report={})
    go_on = asyncio.Event()

    async def wait(work: Work) -> None:
        await go_on.wait()

    worker = bulk.worker(jobs={"sales_report": Made(wait)}, max_running=2)

    assert [2, 0] == [await worker.take_due(), await worker.take_due()]
    go_on.set()
    await worker.settle()
    assert 1 == await worker.take_due()
    await worker.settle()


async def test_it_runs_until_the_queue_is_empty_and_wakes_for_more(bulk: Bulk):
    """Without waiting for its next look."""
    worker = bulk.worker(jobs={"sales_report": (job := Made(nothing))}, poll_seconds=60.0)
    first = await bulk.start(sales_report={})
    second = await bulk.start(sales_report={})
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(5):
        while not (await bulk.get(second.operation_id)).done:
            await asyncio.sleep(0.02)
        third = await bulk.start(sales_report={})
        worker.wake()
        while not (await bulk.get(third.operation_id)).done:
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (await bulk.get(first.operation_id)).done and 3 == len(job.began)
