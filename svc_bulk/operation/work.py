"""What a job is to its worker, and a worker to its job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.seams import Ids, failpoint
from svc_bulk.file import store as file_store
from svc_bulk.file.store import Format
from svc_bulk.operation import store
from svc_bulk.operation.rules import Operation
from svc_bulk.operation.store import Step
from titan.bulk.v1 import operation_pb2

T = TypeVar("T")

REST_SHARE = 3.0
"""How long a job rests after a call that was as fast as any, in terms of what it took: it has a quarter of one service
at most."""
LEAST_REST_SECONDS = 0.01
MOST_REST_SECONDS = 1.0
"""However slow the services are, a job gets on: by twenty rows a second or so."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file of a job: which one, how it is written, and whether nothing is to be changed."""

    file_id: UUID
    format: Format
    dry_run: bool


Output = tuple[str, Format, bytes]
"""What is appended to a file that the operation writes: its name, its format, the content."""


class Cancelled(Exception):
    """Somebody has asked the operation to stop."""


class Job(Protocol):
    """Knows how to do one kind of work, from wherever it stopped before."""

    async def run(self, work: Work) -> None:
        """Do the work to its end, saving each step. What it raises is for `rules.judge`."""
        ...


class Pace:
    """How long a job rests between its calls: the longer, the more a call was slower than the fastest one.

    What a call takes beyond that is waiting, in a queue in which shoppers wait too. Whoever runs in the background
    gives way as soon as there is one (LEDBAT, RFC 6817, does this to packets).
    """

    def __init__(self, share: float = REST_SHARE) -> None:
        self._share = share
        self._fastest = float("inf")

    def rest_seconds(self, took: float) -> float:
        """Return how long to rest after a call that took so many seconds."""
        self._fastest = min(self._fastest, took)
        slower = took / self._fastest if self._fastest else 1.0
        return min(MOST_REST_SECONDS, max(LEAST_REST_SECONDS, took * self._share * slower))


class Work:
    """One try of one operation: where the job finds its place, and leaves it."""

    def __init__(self, db: Database, ids: Ids, operation: Operation, *, rest_share: float = REST_SHARE) -> None:
        self.operation = operation
        self.job = operation_pb2.Job.FromString(operation.job)
        self._db = db
        self._ids = ids
        self._pace = Pace(rest_share)
        self._stopped = asyncio.Event()

    @property
    def operation_id(self) -> UUID:
        """Whose work this is."""
        return self.operation.operation_id

    async def source(self, dry_run: bool) -> Source:
        """Return the file that the operation was started with.

        Raises:
            FileNotFound: It is forgotten.
        """
        file_id = self.operation.source_file_id
        assert file_id is not None, "an operation that reads a file was started with one"
        async with self._db.hot_read() as connection:
            file = await file_store.get(connection, file_id)
        return Source(file_id, file.format, dry_run)

    async def save(
        self,
        step: Step,
        *,
        outputs: Sequence[Output] = (),
        also: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Store a step and what came of it, in one transaction.

        Raises:
            LeaseLost: Another worker has the operation.
            Cancelled: Somebody has asked it to stop; the step is stored all the same.
            FileTooLarge: A file that it writes would be larger than a file may be.
        """
        await failpoint("bulk.step.before_save")

        async def write(tx: asyncpg.Connection) -> bool:
            stop = await store.checkpoint(tx, self.operation_id, self.operation.lease, step)
            for name, format, content in outputs:
                await file_store.append_result(tx, self.operation_id, self._ids.new(), name, format, content)
            if also is not None:
                await also(tx)
            return stop

        stop = await self._db.transact(write)
        await failpoint("bulk.step.after_save")
        if stop:
            raise Cancelled

    async def while_mine(self, do: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Run a function in a transaction, for what is no step and still only this worker's to write.

        Raises:
            LeaseLost: Another worker has the operation.
        """

        async def fenced(tx: asyncpg.Connection) -> T:
            await store.renew(tx, self.operation_id, self.operation.lease)
            return await do(tx)

        return await self._db.transact(fenced)

    def stop(self) -> None:
        """Have the job end where nothing would be lost: somebody has asked for it."""
        self._stopped.set()

    async def unless_stopped(self, doing: Coroutine[Any, Any, T]) -> T:
        """Wait for something that changes nothing, no longer than until the operation is to stop.

        Raises:
            Cancelled: Somebody has asked it to stop.
        """
        task = asyncio.ensure_future(doing)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Cancelled
            return task.result()
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    @contextmanager
    def timed(self, share: float | None = None) -> Iterator[Callable[[], Awaitable[None]]]:
        """Time what is done inside, and give a function that rests after it: at the job's pace, or for a plain share of
        what it took, where calls differ too much for the fastest one to say anything about the others."""
        began = time.monotonic()
        ended = began

        async def rest() -> None:
            took = ended - began
            await asyncio.sleep(self._pace.rest_seconds(took) if share is None else took * share)

        try:
            yield rest
        finally:
            ended = time.monotonic()
