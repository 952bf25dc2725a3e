"""Takes operations from the queue and has them done, a few at a time, until each has ended.

An operation is leased for seconds and renewed while its worker lives, so what a killed process leaves is taken up by
any other, at the place that was stored last. What it was doing then is asked for again under the same request id.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge

from mesh import calls
from mesh.database import Database
from mesh.refusals import Refusal, Unavailable
from mesh.seams import Ids, failpoint
from mesh.telemetry import REGISTRY, get_logger, join_unrecorded_trace
from svc_bulk.operation import rules, store, wire
from svc_bulk.operation.rules import Operation, State, Verdict
from svc_bulk.operation.store import LeaseLost
from svc_bulk.operation.work import REST_SHARE, Cancelled, Job, Work

MAX_RUNNING_JOBS = 1
"""Of one process: a second one would only share its rests with the first."""
POLL_SECONDS = 1.0
"""For what other processes add or leave behind; this one's own calls wake it."""

log = get_logger("svc_bulk.worker")

TRIES = Counter(
    "titan_bulk_tries", "Tries of operations, by what became of them.", ["kind", "state"], registry=REGISTRY
)
RUNNING = Gauge("titan_bulk_running", "Operations that this process is at.", registry=REGISTRY)


class Worker:
    """The worker of one process; any number of processes may have one."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        jobs: Mapping[str, Job],
        *,
        max_running: int = MAX_RUNNING_JOBS,
        poll_seconds: float = POLL_SECONDS,
        lease_seconds: float = store.LEASE_SECONDS,
        rest_share: float = REST_SHARE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._ids = ids
        self._jobs = jobs
        self._max_running = max_running
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._rest_share = rest_share
        self._jitter = jitter
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    async def run(self) -> None:
        """Take what is due, until cancelled; what runs then is given back, and goes on elsewhere."""
        try:
            while True:
                self._woken.clear()
                if await self.take_due() == 0:
                    try:
                        async with asyncio.timeout(self._poll_seconds):
                            await self._woken.wait()
                    except TimeoutError:
                        pass
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def take_due(self) -> int:
        """Begin with what is due and has room; returns how many operations."""
        room = self._max_running - len(self._running)
        if room <= 0:
            return 0
        taken = await self._db.transact(lambda tx: store.claim_due(tx, limit=room, lease_seconds=self._lease_seconds))
        await failpoint("bulk.after_claim")
        for operation in taken:
            # An empty context: the work belongs to no call, so no call's deadline or trace may end it.
            task = asyncio.get_running_loop().create_task(
                self._live(operation), name=f"operation {operation.operation_id}", context=contextvars.Context()
            )
            self._running.add(task)
            task.add_done_callback(self._ended)
        RUNNING.set(len(self._running))
        return len(taken)

    async def settle(self) -> None:
        """Wait until what this process is at has ended its try."""
        while self._running:
            await asyncio.wait(set(self._running))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        RUNNING.set(len(self._running))
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The row keeps its lease, so another try comes by itself.
            log.warning("the end of a try is not stored", error=type(error).__name__)

    async def _live(self, operation: Operation) -> None:
        join_unrecorded_trace()
        with calls.detached():
            if rules.is_dead(operation.attempts):
                await self._end(operation, rules.dead(operation.problem))
                return
            if operation.cancel_at is not None:
                await self._end(operation, rules.cancelled())
                return
            error = await self._try(operation)
            if isinstance(error, LeaseLost):
                log.warning("another worker has taken over", operation_id=str(operation.operation_id))
            elif isinstance(error, asyncio.CancelledError):
                await self._end(operation, Verdict(State.QUEUED, counted=False))
                raise error
            elif isinstance(error, Cancelled):
                await self._end(operation, rules.cancelled())
            else:
                await self._end(operation, await self._judge(operation, error))

    async def _try(self, operation: Operation) -> BaseException | None:
        """Do an operation's job while its lease is renewed; returns what it raised, or what ended the lease."""
        work = Work(self._db, self._ids, operation, rest_share=self._rest_share)
        job = asyncio.ensure_future(self._jobs[operation.kind].run(work))
        lease = asyncio.ensure_future(self._renew(work))
        try:
            await asyncio.wait([job, lease], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as stopped:
            return stopped
        finally:
            for task in (job, lease):
                task.cancel()
            await asyncio.gather(job, lease, return_exceptions=True)
        if not job.cancelled():
            return job.exception()
        return lease.exception()

    async def _renew(self, work: Work) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                stop = await self._db.transact(
                    lambda tx: store.renew(
                        tx, work.operation_id, work.operation.lease, lease_seconds=self._lease_seconds
                    )
                )
            except Unavailable as refusal:
                log.warning("a lease is not renewed", why=refusal.reason)
            else:
                if stop:
                    work.stop()

    async def _judge(self, operation: Operation, error: BaseException | None) -> Verdict:
        """Return what becomes of an operation, as its row counts the tries now: progress has set them back."""
        async with self._db.hot_read() as connection:
            now = await store.get(connection, operation.operation_id)
        verdict = rules.judge(error, attempts=now.attempts, waits=now.waits, jitter=self._jitter())
        if isinstance(error, Exception) and not isinstance(error, Refusal):
            log.exception("an operation failed", error, operation_id=str(operation.operation_id))
        return verdict

    async def _end(self, operation: Operation, verdict: Verdict) -> None:
        error = wire.error_of(verdict)
        await self._db.transact(lambda tx: store.end_try(tx, operation.operation_id, operation.lease, verdict, error))
        TRIES.labels(operation.kind, verdict.state.value).inc()
        tell = log.error if verdict.state is State.DEAD else log.info
        tell(
            "a try has ended",
            operation_id=str(operation.operation_id),
            kind=operation.kind,
            state=verdict.state.value,
            problem=verdict.problem,
        )
