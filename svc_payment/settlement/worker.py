"""Runs the work that providers owe an answer to, outside of any transaction and apart from the calls that caused it.

At most so many calls run per provider, so that a slow one holds up its own payments and nobody else's. What a process
leaves behind is taken up by the sweeper of any replica when its lease is over.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from mesh import calls
from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from svc_payment.settlement import store
from svc_payment.settlement.store import SubjectKind, Work

MAX_RUNNING = 32
"""Calls at once to one provider."""

MAX_JOBS = 1024
"""Jobs in memory; what does not fit is found by the sweeper."""

MAX_TURNS = 10
"""How often one job goes on at once; a subject that never settles goes back to the sweeper."""

SWEEP_SECONDS = 0.5

log = get_logger("svc_payment.settlement")


class Settler(Protocol):
    """Knows how to go on with one kind of subject."""

    async def settle(self, subject_id: UUID) -> bool:
        """Ask the provider once and store what it answered. Returns whether there is more to ask at once."""
        ...


@dataclass(slots=True)
class _Job:
    work: Work
    task: asyncio.Task[None] | None = None
    again: bool = False


class Worker:
    """The running work of one process."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settlers: Mapping[SubjectKind, Settler],
        *,
        max_running: int = MAX_RUNNING,
        max_jobs: int = MAX_JOBS,
    ) -> None:
        self._db = db
        self._clock = clock
        self._settlers = settlers
        self._max_running = max_running
        self._max_jobs = max_jobs
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._jobs: dict[UUID, _Job] = {}
        self._closed = False

    def start(self, work: Iterable[Work]) -> None:
        """Begin with work that was committed and leased; never waits. What runs already runs once more."""
        for each in work:
            job = self._jobs.get(each.subject_id)
            if job is not None:
                job.again = True
            elif not self._closed and len(self._jobs) < self._max_jobs:
                self._begin(each)

    async def wait(self, subject_id: UUID, *, timeout_seconds: float) -> None:
        """Wait until this process is through with a subject, for so long at most. Nothing is cancelled."""
        job = self._jobs.get(subject_id)
        if job is not None and job.task is not None:
            await asyncio.wait([job.task], timeout=max(0.0, timeout_seconds))

    async def sweep(self) -> None:
        """Take up, for ever, work whose time has come: retries, and what a process that died left behind."""
        while True:
            room = self._max_jobs - len(self._jobs)
            if room > 0:
                await self.sweep_once(room)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep_once(self, limit: int = MAX_JOBS) -> int:
        """Take up at most `limit` pieces of work that are due; returns how many."""
        due = await self._db.transact(lambda tx: store.claim_due(tx, at=self._clock.now(), limit=limit))
        self.start(due)
        return len(due)

    async def close(self) -> None:
        """Stop. What was under way is asked again by the next sweep, under the same ids."""
        self._closed = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Work) -> None:
        # An empty context: the work belongs to no call, so no call's deadline or trace may end it.
        task = asyncio.get_running_loop().create_task(
            self._run(work), name=f"settle {work.kind} {work.subject_id}", context=contextvars.Context()
        )
        job = self._jobs[work.subject_id] = _Job(work, task)
        task.add_done_callback(lambda done: self._ended(work, job, done))

    async def _run(self, work: Work) -> None:
        job = self._jobs[work.subject_id]
        turns = self._turns.setdefault(work.provider, asyncio.Semaphore(self._max_running))
        try:
            with calls.detached():
                async with turns:
                    for _ in range(MAX_TURNS):
                        job.again = False
                        await failpoint("payment.settle.before_call")
                        if not await self._settlers[work.kind].settle(work.subject_id) and not job.again:
                            return
        finally:
            # At once, not when the task's callback runs: what is started in between must find no job to join.
            self._forget(job)

    def _forget(self, job: _Job) -> None:
        if self._jobs.get(job.work.subject_id) is job:
            del self._jobs[job.work.subject_id]

    def _ended(self, work: Work, job: _Job, task: asyncio.Task[None]) -> None:
        self._forget(job)  # A task that was cancelled before it began forgot nothing.
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Refusal):
            log.warning("provider work waits", kind=work.kind.value, subject_id=str(work.subject_id), error=str(error))
        elif isinstance(error, Exception):
            # The row keeps its lease, so the sweeper comes back to it.
            log.exception("provider work failed", error, kind=work.kind.value, subject_id=str(work.subject_id))
