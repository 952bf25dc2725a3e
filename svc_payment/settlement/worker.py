"""Runs the work that providers owe an answer to, outside of any transaction and apart from the calls that caused it.

At most so many calls run per provider and so many wait, so that a slow one holds up its own payments and nobody else's.
The sweeper renews the leases of what its process has; what a process leaves behind is taken up by any replica, seconds
later.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import asyncpg

from mesh import calls
from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import failpoint
from mesh.telemetry import get_logger
from svc_payment.settlement import store
from svc_payment.settlement.store import SubjectKind, Work

MAX_RUNNING_CALLS = 32
"""Calls at once to one provider."""

MAX_JOBS = 1024
"""Jobs in memory for one provider; what does not fit is found by the sweeper."""

MAX_WAITING_CALLS = 128
"""Calls that wait for providers at once: a quarter of the running calls, so that the others keep their places."""

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
        settlers: Mapping[SubjectKind, Settler],
        *,
        max_running: int = MAX_RUNNING_CALLS,
        max_jobs: int = MAX_JOBS,
    ) -> None:
        self._db = db
        self._settlers = settlers
        self._max_running = max_running
        self._max_jobs = max_jobs
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._jobs: dict[UUID, _Job] = {}
        self._crowds: Counter[str] = Counter()
        self._waiters = 0
        self._closed = False

    def start(self, work: Iterable[Work]) -> None:
        """Begin with work that was committed and leased; never waits. What runs already runs once more."""
        for each in work:
            job = self._jobs.get(each.subject_id)
            if job is not None:
                job.again = True
            elif not self._closed and self._room(each.provider) > 0:
                self._begin(each)

    async def wait(self, subject_id: UUID, *, timeout_seconds: float) -> bool:
        """Wait until this process is through with a subject, for so long at most. Nothing is cancelled.

        Returns False, at once, where too many wait already.
        """
        job = self._jobs.get(subject_id)
        if job is None or job.task is None:
            return True
        if self._waiters >= MAX_WAITING_CALLS:
            return False
        self._waiters += 1
        try:
            await asyncio.wait([job.task], timeout=max(0.0, timeout_seconds))
        finally:
            self._waiters -= 1
        return True

    async def sweep(self) -> None:
        """Keep what runs and take up what is due, for ever: retries, and what a process that died left behind."""
        while True:
            await self.sweep_once()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep_once(self) -> int:
        """Take up what is due and has room; returns how many pieces of work."""

        async def claim(tx: asyncpg.Connection) -> list[Work]:
            await store.renew(tx, list(self._jobs))
            due: list[Work] = []
            for provider in await store.list_providers(tx):
                if (room := self._room(provider)) > 0:
                    due += await store.claim_due(tx, provider, limit=room)
            return due

        due = await self._db.transact(claim)
        self.start(due)
        return len(due)

    async def close(self) -> None:
        """Stop. What was under way is asked again by the next sweep, under the same ids."""
        self._closed = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _room(self, provider: str) -> int:
        return self._max_jobs - self._crowds[provider]

    def _begin(self, work: Work) -> None:
        # An empty context: the work belongs to no call, so no call's deadline or trace may end it.
        task = asyncio.get_running_loop().create_task(
            self._run(work), name=f"settle {work.kind} {work.subject_id}", context=contextvars.Context()
        )
        job = self._jobs[work.subject_id] = _Job(work, task)
        self._crowds[work.provider] += 1
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
            self._crowds[job.work.provider] -= 1

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
