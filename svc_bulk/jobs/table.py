"""A job that carries the rows of a file to another service, a few at a time, each of them once.

The file is copied to the disk of this process first, so that neither memory nor a connection is held for its sake. A
batch is asked for under a request id of the operation, and its answer and the place after it are stored together: a
worker that takes over asks for the batch again, hears the stored answer, and goes on.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TextIO
from uuid import UUID

from google.protobuf.message import Message

from mesh.database import Database
from mesh.refusals import Refusal
from mesh.seams import failpoint
from svc_bulk.errors import RowInvalid
from svc_bulk.file import store as file_store
from svc_bulk.file.store import Format
from svc_bulk.jobs import rows
from svc_bulk.operation.rules import RowProblem
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Source, Work

BATCH_BYTES = 512 * 1024
"""What a batch of large things holds at most. A worker that takes over has to make the same batches: a service refuses
a request id with another content, and an operation that was under way when this changed may end as a dead letter."""
CALL_SECONDS = 15.0
MEMORY_BYTES = 1024 * 1024
"""What a copy of a file holds in memory before it goes to the disk."""


class Done(StrEnum):
    """What became of a thing that was not refused."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Thing:
    """What one row asks for, or several together; `number` is that of the first, or of the one with the problem."""

    number: int
    rows: int
    message: Message | None = None
    problem: RowInvalid | None = None


Read = Callable[[TextIO, Format], Iterator[Thing]]
"""Reads the things of a file."""

Apply = Callable[[UUID, str, Sequence[Message], bool], Awaitable[Sequence[Done | Refusal]]]
"""Asks a service for things: for an operation, under a request id, dry or not; one answer each, in their order."""


class Table:
    """One kind of rows: how they are read, and how they are asked for."""

    def __init__(self, db: Database, read: Read, apply: Apply) -> None:
        self._db = db
        self._read = read
        self._apply = apply

    async def run(self, work: Work, source: Source, *, place: str = "") -> None:
        """Carry over what has not been yet; `place` is kept in every step."""
        operation = work.operation
        done, total, position = operation.progress.rows_done, operation.progress.rows_total, operation.position
        async with copied(self._db, source.file_id) as file:
            if not position:
                self._read(file, source.format)  # a header that can't be read ends the operation here
                file.seek(0)
                total = await asyncio.to_thread(rows.count, file, is_csv=source.format is Format.CSV)
                file.seek(0)
            things = self._read(file, source.format)
            await asyncio.to_thread(lambda: sum(1 for _ in islice(things, position)))
            for batch in _batches(things, operation.batch_things):
                with work.timed() as rest:
                    answers = await self._ask(work, position, batch, source.dry_run)
                    position, done = position + len(batch), done + sum(thing.rows for thing in batch)
                    await work.save(_step(position, place, done, total, batch, answers))
                await rest()

    async def _ask(self, work: Work, position: int, batch: Sequence[Thing], dry_run: bool) -> list[Done | Refusal]:
        wanted = [thing.message for thing in batch if thing.message is not None]
        asked: Iterator[Done | Refusal] = iter(())
        if wanted:
            asked = iter(await self._apply(work.operation_id, str(position), wanted, dry_run))
        await failpoint("bulk.batch.answered")
        return [next(asked) if thing.problem is None else thing.problem for thing in batch]


def _batches(things: Iterator[Thing], most: int) -> Iterator[list[Thing]]:
    batch: list[Thing] = []
    size = 0
    for thing in things:
        more = 0 if thing.message is None else thing.message.ByteSize()
        if batch and (len(batch) >= most or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(thing)
        size += more
    if batch:
        yield batch


def _step(
    position: int, place: str, done: int, total: int, batch: Sequence[Thing], answers: Sequence[Done | Refusal]
) -> Step:
    problems = [
        RowProblem.of(thing.number, answer)
        for thing, answer in zip(batch, answers, strict=True)
        if isinstance(answer, Refusal)
    ]
    return Step(
        position,
        place,
        rows_done=done,
        rows_total=total,
        created=answers.count(Done.CREATED),
        updated=answers.count(Done.UPDATED),
        unchanged=answers.count(Done.UNCHANGED),
        problems=problems,
        refused=len(problems),
    )


@asynccontextmanager
async def copied(db: Database, file_id: UUID) -> AsyncIterator[TextIO]:
    """Copy a file here and open it as text: what is no UTF-8 becomes surrogates, and a byte order mark nothing."""
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as copy:
        async for part in file_store.parts(db, file_id):
            copy.write(part)
        copy.seek(0)
        with io.TextIOWrapper(copy, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file
