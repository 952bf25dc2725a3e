"""The only writer of `operations` and `row_problems`: the queue, its leases, and how far each operation is.

All times of the queue are the database's: a process whose clock is wrong neither keeps work from the others nor takes
theirs. A lease has a number; every write of a worker names it, and one whose lease was taken over writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from uuid import UUID

import asyncpg

from mesh import audit
from svc_bulk.errors import OperationNotFound
from svc_bulk.operation.rules import BATCH_THINGS, Operation, Progress, RowProblem, State, Verdict

LEASE_SECONDS = 5.0
"""What an operation waits after a crash. A worker that lives renews it: see `renew`."""
MAX_PROBLEMS = 10_000
"""Rows of one operation that are told one by one; the rest is counted."""
OPERATIONS_KEPT_DAYS = 90
"""After its end; dead letters stay until somebody has looked at them."""

_PROGRESS = tuple(each.name for each in fields(Progress))
_CLAIM = """
UPDATE operations o
SET state = 'RUNNING', lease = o.lease + 1, attempts = o.attempts + 1, started_at = coalesce(o.started_at, now()),
    due_at = now() + make_interval(secs => $1)
FROM (SELECT operation_id FROM operations WHERE state IN ('QUEUED', 'RUNNING') AND due_at <= now()
      ORDER BY due_at, operation_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
WHERE o.operation_id = due.operation_id
RETURNING o.*
"""
_MINE = "operation_id = $1 AND lease = $2 AND state = 'RUNNING'"
_RENEW = f"UPDATE operations SET due_at = now() + make_interval(secs => $3) WHERE {_MINE} RETURNING cancel_at"
_CHECKPOINT = f"""
UPDATE operations
SET position = $3, place = $4, rows_done = $5, rows_total = $6, created = created + $7, updated = updated + $8,
    unchanged = unchanged + $9, refused = refused + $10, source_file_id = coalesce($11, source_file_id),
    attempts = CASE WHEN position < $3 OR place <> $4 THEN 1 ELSE attempts END,
    waits = CASE WHEN position < $3 OR place <> $4 THEN 0 ELSE waits END,
    problem = CASE WHEN position < $3 OR place <> $4 THEN '' ELSE problem END,
    due_at = now() + make_interval(secs => $12)
WHERE {_MINE} RETURNING cancel_at
"""
_SAVE_PROBLEMS = """
INSERT INTO row_problems (operation_id, row_number, reason, message)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[])
WHERE (SELECT count(*) FROM row_problems WHERE operation_id = $1) < $5
ON CONFLICT DO NOTHING
"""
_END = f"""
UPDATE operations
SET state = $3, problem = $4, error = $5, ended_at = CASE WHEN $3 = 'QUEUED' THEN NULL ELSE now() END,
    attempts = attempts - CASE WHEN $6 THEN 0 ELSE 1 END, waits = waits + CASE WHEN $6 THEN 0 ELSE 1 END,
    due_at = now() + make_interval(secs => $7)
WHERE {_MINE}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a job got, and what came of it: `position`, `place` and the rows are where it is now, the rest is added.

    A step that moves neither `position` nor `place` is no progress: it tells people something, and no more.
    """

    position: int
    place: str = ""
    rows_done: int = 0
    rows_total: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    problems: Sequence[RowProblem] = field(default=())
    refused: int = 0
    source_file_id: UUID | None = None


def resource(operation_id: UUID) -> str:
    """Return how the audit log names an operation."""
    return f"operations/{operation_id}"


class LeaseLost(Exception):
    """Another worker has the operation: whoever hears this writes nothing more."""


async def add(
    tx: asyncpg.Connection, operation_id: UUID, user_id: UUID, *, kind: str, job: bytes, source_file_id: UUID | None
) -> Operation:
    """Put an operation on the queue."""
    row = await tx.fetchrow(
        "INSERT INTO operations (operation_id, user_id, kind, job, source_file_id, batch_things)"
        " VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
        operation_id,
        user_id,
        kind,
        job,
        source_file_id,
        BATCH_THINGS,
    )
    return _operation(row)


async def count_open(connection: asyncpg.Connection, *, most: int) -> int:
    """Return how many operations wait or run, counting no further than `most`."""
    counted: int = await connection.fetchval(
        "SELECT count(*) FROM (SELECT FROM operations WHERE state IN ('QUEUED', 'RUNNING') LIMIT $1) AS o", most
    )
    return counted


async def get(connection: asyncpg.Connection, operation_id: UUID) -> Operation:
    """Return an operation.

    Raises:
        OperationNotFound: There is none.
    """
    row = await connection.fetchrow("SELECT * FROM operations WHERE operation_id = $1", operation_id)
    if row is None:
        raise _no_operation(operation_id)
    return _operation(row)


async def lock(tx: asyncpg.Connection, operation_id: UUID) -> Operation:
    """Hold an operation until the transaction ends.

    Raises:
        OperationNotFound: There is none.
    """
    row = await tx.fetchrow("SELECT * FROM operations WHERE operation_id = $1 FOR UPDATE", operation_id)
    if row is None:
        raise _no_operation(operation_id)
    return _operation(row)


async def list_newest(
    connection: asyncpg.Connection, *, state: State | None, before: UUID | None, limit: int
) -> list[Operation]:
    """Return operations older than `before`, the newest first, at most `limit`."""
    rows = await connection.fetch(
        "SELECT * FROM operations WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR operation_id < $2)"
        " ORDER BY operation_id DESC LIMIT $3",
        state,
        before,
        limit,
    )
    return [_operation(row) for row in rows]


async def list_problems(
    connection: asyncpg.Connection, operation_id: UUID, *, after: int, limit: int
) -> list[RowProblem]:
    """Return the refused rows after a row, in the order of the file, at most `limit`."""
    rows = await connection.fetch(
        "SELECT row_number, reason, message FROM row_problems WHERE operation_id = $1 AND row_number > $2"
        " ORDER BY row_number LIMIT $3",
        operation_id,
        after,
        limit,
    )
    return [RowProblem(*row) for row in rows]


async def claim_due(tx: asyncpg.Connection, *, limit: int, lease_seconds: float = LEASE_SECONDS) -> list[Operation]:
    """Take at most `limit` operations that are due, the longest due first; what another worker takes is skipped."""
    return [_operation(row) for row in await tx.fetch(_CLAIM, lease_seconds, limit)]


async def renew(
    tx: asyncpg.Connection, operation_id: UUID, lease: int, *, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Hold on to an operation. Returns whether somebody has asked it to stop.

    Raises:
        LeaseLost: Another worker has it.
    """
    row = await tx.fetchrow(_RENEW, operation_id, lease, lease_seconds)
    if row is None:
        raise LeaseLost
    return row["cancel_at"] is not None


async def checkpoint(
    tx: asyncpg.Connection, operation_id: UUID, lease: int, step: Step, *, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Store how far an operation is. Returns whether somebody has asked it to stop.

    Raises:
        LeaseLost: Another worker has it.
    """
    row = await tx.fetchrow(
        _CHECKPOINT,
        operation_id,
        lease,
        step.position,
        step.place,
        step.rows_done,
        step.rows_total,
        step.created,
        step.updated,
        step.unchanged,
        step.refused,
        step.source_file_id,
        lease_seconds,
    )
    if row is None:
        raise LeaseLost
    if step.problems:
        await tx.execute(
            _SAVE_PROBLEMS,
            operation_id,
            [each.row_number for each in step.problems],
            [each.reason for each in step.problems],
            [each.message for each in step.problems],
            MAX_PROBLEMS,
        )
    return row["cancel_at"] is not None


async def end_try(
    tx: asyncpg.Connection, operation_id: UUID, lease: int, verdict: Verdict, error: bytes | None
) -> None:
    """Store what became of a try, and give the lease back. A lease that was lost leaves everything as it is."""
    await tx.execute(
        _END,
        operation_id,
        lease,
        verdict.state.value,
        verdict.problem,
        error,
        verdict.counted,
        verdict.pause_seconds,
    )


async def cancel(tx: asyncpg.Connection, operation_id: UUID, error: bytes) -> Operation:
    """Stop an operation that waits, with this status, and ask one that runs to stop.

    Raises:
        OperationNotFound: There is none.
    """
    before = await lock(tx, operation_id)
    if before.done or before.cancel_at is not None:
        return before
    await audit.accept(tx, resource(operation_id))
    row = await tx.fetchrow(
        "UPDATE operations SET cancel_at = now(), state = CASE state WHEN 'QUEUED' THEN 'CANCELLED' ELSE state END,"
        " ended_at = CASE state WHEN 'QUEUED' THEN now() END, error = CASE state WHEN 'QUEUED' THEN $2::bytea END"
        " WHERE operation_id = $1 RETURNING *",
        operation_id,
        error,
    )
    return _operation(row)


async def requeue(tx: asyncpg.Connection, operation_id: UUID) -> Operation:
    """Put an operation that has ended on the queue again, where it stopped."""
    await audit.accept(tx, resource(operation_id))
    row = await tx.fetchrow(
        "UPDATE operations SET state = 'QUEUED', attempts = 0, waits = 0, problem = '', error = NULL, cancel_at = NULL,"
        " ended_at = NULL, due_at = now() WHERE operation_id = $1 RETURNING *",
        operation_id,
    )
    return _operation(row)


async def prune(tx: asyncpg.Connection, *, limit: int) -> int:
    """Forget at most so many operations that ended long ago, dead letters apart, and say how many."""
    deleted: str = await tx.execute(
        "DELETE FROM operations WHERE operation_id IN ("
        " SELECT operation_id FROM operations WHERE ended_at < now() - make_interval(days => $1) AND state <> 'DEAD'"
        " ORDER BY ended_at LIMIT $2)",
        OPERATIONS_KEPT_DAYS,
        limit,
    )
    return int(deleted.split()[-1])


def _operation(row: asyncpg.Record) -> Operation:
    return Operation(
        operation_id=row["operation_id"],
        user_id=row["user_id"],
        kind=row["kind"],
        job=row["job"],
        state=State(row["state"]),
        lease=row["lease"],
        attempts=row["attempts"],
        waits=row["waits"],
        position=row["position"],
        place=row["place"],
        source_file_id=row["source_file_id"],
        batch_things=row["batch_things"],
        progress=Progress(**{name: row[name] for name in _PROGRESS}),
        problem=row["problem"],
        error=row["error"],
        cancel_at=row["cancel_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
    )


def _no_operation(operation_id: UUID) -> OperationNotFound:
    return OperationNotFound(f"no operation {operation_id}", operation_id=operation_id)
