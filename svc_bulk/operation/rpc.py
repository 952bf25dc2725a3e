"""OperationService on the wire: decodes, calls the store, encodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from mesh import audit, calls, idempotency, pages
from mesh.database import Database, after_commit
from mesh.identity import caller_of
from mesh.refusals import Overloaded
from mesh.seams import Ids
from svc_bulk.errors import TooManyOperations
from svc_bulk.feed.fetching import FeedRules
from svc_bulk.file import store as file_store
from svc_bulk.operation import rules, store, wire
from svc_bulk.operation.rules import Operation
from svc_bulk.operation.wire import problem_to_wire, state_of, to_wire
from svc_bulk.report.days import settled_days
from titan.bulk.v1 import operation_pb2, operation_service_pb2_grpc
from titan.bulk.v1 import operation_service_pb2 as pb

START = "titan.bulk.v1.OperationService/StartOperation"
LIST = "titan.bulk.v1.OperationService/ListOperations"
LIST_PROBLEMS = "titan.bulk.v1.OperationService/ListOperationProblems"

MAX_OPEN_OPERATIONS = 1_000
MAX_WAITING_CALLS = 64
WAIT_SECONDS = 20
LOOK_SECONDS = 0.25
"""How often a call that waits looks at its operation."""


class OperationServicer(operation_service_pb2_grpc.OperationServiceServicer):
    """Serves OperationService from one database; `wake` tells the worker of this process that there is something."""

    def __init__(self, db: Database, ids: Ids, feeds: FeedRules, wake: Callable[[], None]) -> None:
        self._db = db
        self._ids = ids
        self._feeds = feeds
        self._wake = wake
        self._waiting = 0

    async def StartOperation(self, request: pb.StartOperationRequest, context: Any) -> pb.StartOperationResponse:
        """Refuses with FILE_NOT_FOUND, FEED_NOT_ALLOWED or TOO_MANY_OPERATIONS."""
        user_id, kind = caller_of().require_user_id(), request.job.WhichOneof("work")
        if kind == "feed_sync":
            self._feeds.check(request.job.feed_sync.url)
        if kind == "provider_settlement":
            settled_days(request.job.provider_settlement.first_date, request.job.provider_settlement.last_date)
        file_id = _source_of(request.job)
        claim = idempotency.Claim(user_id, START, request.request_id, idempotency.fingerprint(request))

        async def add(tx: asyncpg.Connection) -> bytes:
            await _check_room(tx)
            if file_id is not None:
                await file_store.seal(tx, file_id)
            added = await store.add(
                tx,
                self._ids.new(),
                user_id,
                kind=kind or "",
                job=request.job.SerializeToString(),
                source_file_id=file_id,
            )
            await audit.accept(tx, store.resource(added.operation_id), audit.command(request.request_id))
            after_commit(self._wake)
            return pb.StartOperationResponse(operation=to_wire(added)).SerializeToString()

        return pb.StartOperationResponse.FromString(await idempotency.once(self._db, claim, add))

    async def GetOperation(self, request: pb.GetOperationRequest, context: Any) -> pb.GetOperationResponse:
        """Refuses with OPERATION_NOT_FOUND."""
        return pb.GetOperationResponse(operation=await self._shown(UUID(request.operation_id)))

    async def WaitOperation(self, request: pb.WaitOperationRequest, context: Any) -> pb.WaitOperationResponse:
        """Refuses with OPERATION_NOT_FOUND or OVERLOADED."""
        if self._waiting >= MAX_WAITING_CALLS:
            raise Overloaded(f"{MAX_WAITING_CALLS} calls wait already", retry_after_seconds=1)
        operation_id, left = UUID(request.operation_id), calls.remaining_for_children()
        until = time.monotonic() + min(request.timeout_seconds or WAIT_SECONDS, WAIT_SECONDS if left is None else left)
        self._waiting += 1
        try:
            # Looked at, not listened to: whichever process works on it, its row says when it has ended.
            while not (await self._read(operation_id)).done and time.monotonic() + LOOK_SECONDS < until:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._waiting -= 1
        return pb.WaitOperationResponse(operation=await self._shown(operation_id))

    async def ListOperations(self, request: pb.ListOperationsRequest, context: Any) -> pb.ListOperationsResponse:
        """Refuses with PAGE_TOKEN_INVALID."""
        size, state = pages.page_size(request.page_size), state_of(request.state)
        before = pages.decode_id(request.page_token, LIST, state)
        async with self._db.hot_read() as connection:
            found = await store.list_newest(connection, state=state, before=before, limit=size + 1)
        shown = found[:size]
        token = pages.encode(LIST, [str(shown[-1].operation_id)], state) if len(found) > size else ""
        return pb.ListOperationsResponse(operations=[to_wire(each) for each in shown], next_page_token=token)

    async def ListOperationProblems(
        self, request: pb.ListOperationProblemsRequest, context: Any
    ) -> pb.ListOperationProblemsResponse:
        """Refuses with OPERATION_NOT_FOUND or PAGE_TOKEN_INVALID."""
        size, operation_id = pages.page_size(request.page_size), UUID(request.operation_id)
        after = pages.decode_number(request.page_token, LIST_PROBLEMS, operation_id) or 0
        async with self._db.hot_read() as connection:
            await store.get(connection, operation_id)
            found = await store.list_problems(connection, operation_id, after=after, limit=size + 1)
        shown = found[:size]
        token = pages.encode(LIST_PROBLEMS, [shown[-1].row_number], operation_id) if len(found) > size else ""
        return pb.ListOperationProblemsResponse(problems=map(problem_to_wire, shown), next_page_token=token)

    async def CancelOperation(self, request: pb.CancelOperationRequest, context: Any) -> pb.CancelOperationResponse:
        """Refuses with OPERATION_NOT_FOUND."""
        operation_id = UUID(request.operation_id)
        error = wire.error_of(rules.cancelled())
        await self._db.transact(lambda tx: store.cancel(tx, operation_id, error or b""))
        return pb.CancelOperationResponse(operation=await self._shown(operation_id))

    async def RetryOperation(self, request: pb.RetryOperationRequest, context: Any) -> pb.RetryOperationResponse:
        """Refuses with OPERATION_NOT_FOUND, OPERATION_NOT_RETRYABLE or TOO_MANY_OPERATIONS."""
        operation_id = UUID(request.operation_id)

        async def retry(tx: asyncpg.Connection) -> None:
            found = await store.lock(tx, operation_id)
            if found.done:
                rules.check_retryable(found.state)
                await _check_room(tx)
                await store.requeue(tx, operation_id)
                after_commit(self._wake)

        await self._db.transact(retry)
        return pb.RetryOperationResponse(operation=await self._shown(operation_id))

    async def _read(self, operation_id: UUID) -> Operation:
        async with self._db.hot_read() as connection:
            return await store.get(connection, operation_id)

    async def _shown(self, operation_id: UUID) -> operation_pb2.Operation:
        async with self._db.hot_read() as connection:
            found = await store.get(connection, operation_id)
            files = await file_store.list_results(connection, operation_id)
        return to_wire(found, files)


async def _check_room(tx: asyncpg.Connection) -> None:
    if await store.count_open(tx, most=MAX_OPEN_OPERATIONS) >= MAX_OPEN_OPERATIONS:
        raise TooManyOperations(f"{MAX_OPEN_OPERATIONS} operations wait already", retry_after_seconds=60)


def _source_of(job: operation_pb2.Job) -> UUID | None:
    """Return the file that a job reads, where it reads one that is there."""
    kind = job.WhichOneof("work")
    if kind in ("product_import", "stock_update", "price_update", "reconciliation"):
        return UUID(getattr(job, kind).file_id)
    return None
