"""OperationService behind the real chain, on a real Postgres."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import grpc
import pytest

from svc_bulk.operation import rpc
from tests.harness import as_user, reason_of
from tests.svc_bulk.conftest import Bulk, State, csv, uuid_of
from titan.bulk.v1 import operation_pb2
from titan.bulk.v1 import operation_service_pb2 as pb


async def test_an_operation_is_started_once_under_its_key(bulk: Bulk):
    """The same key of one user gives the same answer, byte for byte, and another body under it is refused."""
    me, key = as_user(roles=("importer",)), str(uuid4())
    job = operation_pb2.Job(sales_report={})
    request = pb.StartOperationRequest(job=job, request_id=key)

    answers = await asyncio.gather(*(bulk.operations.StartOperation(request, metadata=me) for _ in range(5)))
    assert 1 == len({each.SerializeToString() for each in answers})
    assert State.OPERATION_STATE_QUEUED == answers[0].operation.state and not answers[0].operation.done
    found = await bulk.operations.ListOperations(pb.ListOperationsRequest(), metadata=me)
    assert [answers[0].operation.operation_id] == [each.operation_id for each in found.operations]

    other = pb.StartOperationRequest(job=operation_pb2.Job(product_export={"format": 1}), request_id=key)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bulk.operations.StartOperation(other, metadata=me)
    assert "IDEMPOTENCY_KEY_REUSED" == reason_of(refusal.value)


async def test_a_key_is_asked_for(bulk: Bulk):
    """What a job does may move stock."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        request = pb.StartOperationRequest(job=operation_pb2.Job(sales_report={}))
        await bulk.operations.StartOperation(request, metadata=bulk.admin)
    assert "IDEMPOTENCY_KEY_REQUIRED" == reason_of(refusal.value)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ({"stock_update": {"file_id": str(uuid4())}}, "FILE_NOT_FOUND"),
        ({"feed_sync": {"url": "https://elsewhere.example.com/a.csv", "format": 1}}, "FEED_NOT_ALLOWED"),
        ({"feed_sync": {"url": "https://a@feeds.example.com/a.csv", "format": 1}}, "FEED_NOT_ALLOWED"),
        ({"feed_sync": {"url": "file:///etc/passwd", "format": 1}}, "INVALID_INPUT"),
        ({"product_export": {}}, "INVALID_INPUT"),
        ({}, "INVALID_INPUT"),
    ],
)
async def test_what_can_not_be_done_is_refused_at_once(bulk: Bulk, work: dict, reason: str):
    """And nothing is put on the queue."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bulk.start(**work)

    assert reason == reason_of(refusal.value)
    assert 0 == len((await bulk.operations.ListOperations(pb.ListOperationsRequest(), metadata=bulk.admin)).operations)


async def test_a_full_queue_takes_no_more(bulk: Bulk, monkeypatch: pytest.MonkeyPatch):
    """Neither a new one nor an old one again."""
    old = await bulk.start(sales_report={})
    await bulk.cancel(old.operation_id)
    monkeypatch.setattr(rpc, "MAX_OPEN_OPERATIONS", 1)
    await bulk.start(sales_report={})

    with pytest.raises(grpc.aio.AioRpcError) as new:
        await bulk.start(sales_report={})
    with pytest.raises(grpc.aio.AioRpcError) as again:
        request = pb.RetryOperationRequest(operation_id=old.operation_id)
        await bulk.operations.RetryOperation(request, metadata=bulk.admin)
    assert ("TOO_MANY_OPERATIONS", "TOO_MANY_OPERATIONS") == (reason_of(new.value), reason_of(again.value))


NAMING_ONE = [
    ("GetOperation", pb.GetOperationRequest),
    ("WaitOperation", pb.WaitOperationRequest),
    ("CancelOperation", pb.CancelOperationRequest),
    ("RetryOperation", pb.RetryOperationRequest),
    ("ListOperationProblems", pb.ListOperationProblemsRequest),
]


@pytest.mark.parametrize(("method", "request_class"), NAMING_ONE)
async def test_an_unknown_operation_is_not_found(bulk: Bulk, method: str, request_class: type):
    """Whatever is asked of it."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await getattr(bulk.operations, method)(request_class(operation_id=str(uuid4())), metadata=bulk.admin)

    assert "OPERATION_NOT_FOUND" == reason_of(refusal.value)


async def test_a_waiting_operation_is_cancelled_at_once_and_may_be_tried_again(bulk: Bulk):
    """Cancelling twice is safe, and so is trying again what waits already."""
    started = await bulk.start(sales_report={})
    stopped = await bulk.cancel(started.operation_id)

    assert State.OPERATION_STATE_CANCELLED == stopped.state and stopped.done and "CANCELLED" in str(stopped.error)
    assert stopped == await bulk.cancel(started.operation_id)
    assert 0 == await bulk.worker().take_due()
    for _ in range(2):
        request = pb.RetryOperationRequest(operation_id=started.operation_id)
        again = (await bulk.operations.RetryOperation(request, metadata=bulk.admin)).operation
        assert State.OPERATION_STATE_QUEUED == again.state
        assert not again.done and not again.HasField("error") and not again.cancel_requested


async def test_a_success_is_not_tried_again(bulk: Bulk):
    """It would be done twice."""
    done = await bulk.do(stock_update={"file_id": await bulk.file(csv(("sku", "delta")))})
    assert State.OPERATION_STATE_SUCCEEDED == done.state

    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        request = pb.RetryOperationRequest(operation_id=done.operation_id)
        await bulk.operations.RetryOperation(request, metadata=bulk.admin)
    assert "OPERATION_NOT_RETRYABLE" == reason_of(refusal.value)
    assert done == await bulk.cancel(done.operation_id)


async def test_waiting_ends_with_the_operation(bulk: Bulk):
    """Not with the time."""
    started = await bulk.start(sales_report={})
    request = pb.WaitOperationRequest(operation_id=started.operation_id, timeout_seconds=10)
    waiting = asyncio.ensure_future(bulk.operations.WaitOperation(request, metadata=bulk.admin))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    began = time.monotonic()
    await bulk.cancel(started.operation_id)

    assert (await waiting).operation.done and time.monotonic() - began < 5


async def test_waiting_ends_with_its_time(bulk: Bulk):
    """And says how far the operation is."""
    started = await bulk.start(sales_report={})
    request = pb.WaitOperationRequest(operation_id=started.operation_id, timeout_seconds=1)

    assert not (await bulk.operations.WaitOperation(request, metadata=bulk.admin)).operation.done


async def test_only_so_many_calls_wait(bulk: Bulk, monkeypatch: pytest.MonkeyPatch):
    """Each holds a place of this process."""
    monkeypatch.setattr(rpc, "MAX_WAITING_CALLS", 0)
    started = await bulk.start(sales_report={})
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        request = pb.WaitOperationRequest(operation_id=started.operation_id)
        await bulk.operations.WaitOperation(request, metadata=bulk.admin)
    assert "OVERLOADED" == reason_of(refusal.value)


async def test_operations_are_listed_page_by_page_and_by_state(bulk: Bulk):
    """The newest first; the dead letters are a list of their own."""
    started = [await bulk.start(sales_report={}) for _ in range(3)]
    async with bulk.db.hot() as tx:
        await tx.execute(
            "UPDATE operations SET state = 'DEAD', ended_at = now() WHERE operation_id = $1", uuid_of(started[1])
        )

    async def listed(**request: object) -> pb.ListOperationsResponse:
        return await bulk.operations.ListOperations(pb.ListOperationsRequest(**request), metadata=bulk.admin)

    first = await listed(page_size=2)
    second = await listed(page_size=2, page_token=first.next_page_token)
    ids = [each.operation_id for each in (*first.operations, *second.operations)]
    assert [each.operation_id for each in reversed(started)] == ids and not second.next_page_token
    dead = await listed(state=State.OPERATION_STATE_DEAD)
    assert [started[1].operation_id] == [each.operation_id for each in dead.operations]
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await listed(page_token=first.next_page_token, state=State.OPERATION_STATE_DEAD)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)


async def test_refused_rows_are_listed_page_by_page(bulk: Bulk):
    """In the order of the file."""
    done = await bulk.do(stock_update={"file_id": await bulk.file("sku,delta\n" + "A,\n" * 5)})
    numbers, token = [], ""
    for _ in range(3):
        request = pb.ListOperationProblemsRequest(operation_id=done.operation_id, page_size=2, page_token=token)
        page = await bulk.operations.ListOperationProblems(request, metadata=bulk.admin)
        numbers += [each.row_number for each in page.problems]
        token = page.next_page_token

    assert [2, 3, 4, 5, 6] == numbers and not token
    request = pb.ListOperationProblemsRequest(operation_id=done.operation_id, page_token="!")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bulk.operations.ListOperationProblems(request, metadata=bulk.admin)
    assert "PAGE_TOKEN_INVALID" == reason_of(refusal.value)
