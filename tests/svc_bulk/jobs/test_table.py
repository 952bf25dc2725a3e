"""Files of rows carried to the real catalogue and inventory: every row once, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
import sys

from mesh.clients import Clients
from mesh.seams import SystemIds, failpoints
from svc_bulk.jobs import stock as stock_job
from svc_bulk.jobs import table
from svc_bulk.operation.rules import BATCH_THINGS
from svc_bulk.operation.worker import Worker
from tests.contracts.reading import ROOT
from tests.svc_bulk.conftest import CSV, NDJSON, Bulk, State, csv, new_sku
from titan.inventory.v1 import inventory_service_pb2_grpc


def deltas(sku: str, rows: int) -> str:
    return csv(("sku", "delta"), *((sku, 1) for _ in range(rows)))


async def test_each_row_of_a_file_is_carried_over(bulk: Bulk):
    """Batch after batch, with what became of the rows."""
    sku, rows = new_sku(), BATCH_THINGS * 2 + 1

    done = await bulk.do(stock_update={"file_id": await bulk.file(deltas(sku, rows))})

    assert State.OPERATION_STATE_SUCCEEDED == done.state and done.done and not done.HasField("error")
    assert (rows, rows, rows, 0) == (
        done.progress.rows_done,
        done.progress.rows_total,
        done.progress.updated,
        done.progress.refused,
    )
    assert (rows, rows) == await bulk.stock(sku)
    assert done.HasField("start_time") and done.HasField("end_time")


async def test_a_bad_row_is_told_with_its_number_and_the_rest_goes_on(bulk: Bulk):
    """By this process, or by the service that was asked; in the order of the file."""
    good, other = new_sku(), new_sku()
    rows = csv(
        ("sku", "on_hand", "delta", "warehouse_id"),
        (good, 5, "", ""),
        (good, "", "", ""),
        (good, "many", "", ""),
        (" spaced ", 5, "", ""),
        (good, "", 1),
        (other, "", -1, ""),
        (other, "", 4, "nowhere"),
        (good, 9, "", ""),
    )

    done = await bulk.do(stock_update={"file_id": await bulk.file(rows)})

    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert (8, 2, 6) == (done.progress.rows_done, done.progress.updated, done.progress.refused)
    assert [
        (3, "ROW_INVALID"),
        (4, "ROW_INVALID"),
        (5, "ROW_INVALID"),
        (6, "ROW_INVALID"),
        (7, "STOCK_BELOW_RESERVED"),
        (8, "WAREHOUSE_NOT_FOUND"),
    ] == await bulk.problems(done.operation_id)
    assert (9, 2) == await bulk.stock(good)


async def test_a_dry_run_says_the_same_and_changes_nothing(bulk: Bulk):
    """The counters and the problems are those of the real run."""
    sku = new_sku()
    file_id = await bulk.file(csv(("sku", "delta"), (sku, 3), (sku, -9)))

    dry = await bulk.do(stock_update={"file_id": file_id, "dry_run": True})

    assert (0, 0) == await bulk.stock(sku)
    assert (1, 1) == (dry.progress.updated, dry.progress.refused)
    real = await bulk.do(stock_update={"file_id": file_id})
    assert dry.progress == real.progress
    assert await bulk.problems(dry.operation_id) == await bulk.problems(real.operation_id)
    assert (3, 1) == await bulk.stock(sku)


async def test_a_worker_that_is_killed_is_replaced_and_nothing_is_done_twice(bulk: Bulk):
    """Killed as by kill -9: once after a batch was stored, and once when the next was answered and is not stored."""
    sku, rows = new_sku(), BATCH_THINGS * 3
    started = await bulk.start(stock_update={"file_id": await bulk.file(deltas(sku, rows))})
    url = bulk.db.url

    for place in ("bulk.step.after_save", "bulk.batch.answered"):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/gen", "TITAN_FAILPOINTS": f"{place}=exit"}
        command = (sys.executable, "-m", "tests.svc_bulk.mortal", url, bulk.target)
        killed = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT)
        assert 137 == await killed.wait()
        assert 0 == await bulk.worker().take_due(), "its lease is not over"
        await bulk.overdue()

    left = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_RUNNING, BATCH_THINGS) == (left.state, left.progress.rows_done)
    assert (2 * BATCH_THINGS, 2 * BATCH_THINGS) == await bulk.stock(sku)
    await work_off(bulk.worker())
    done = await bulk.get(started.operation_id)
    assert State.OPERATION_STATE_SUCCEEDED == done.state
    assert (rows, rows) == (done.progress.rows_done, done.progress.updated)
    assert (rows, rows) == await bulk.stock(sku)


async def test_a_worker_that_is_told_to_stop_gives_its_operation_back(bulk: Bulk):
    """The next one need not wait for a lease to end, and no try is counted."""
    sku = new_sku()
    started = await bulk.start(stock_update={"file_id": await bulk.file(deltas(sku, 3))})
    failpoints.arm("bulk.batch.answered", "hang")
    stopped = asyncio.create_task((worker := bulk.worker()).run())
    while (1, 1) != (len(worker._running), (await bulk.stock(sku))[1] // 3):
        await asyncio.sleep(0.01)
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    failpoints.reset()

    back = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_QUEUED, 0) == (back.state, back.attempts)
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE operations SET due_at = now() WHERE due_at > now() AND state = 'QUEUED'")
    await work_off(bulk.worker())
    assert (3, 3) == await bulk.stock(sku)


async def test_a_service_that_is_away_costs_no_try(bulk: Bulk):
    """The operation waits, says why, and goes on where it was."""
    sku, rows = new_sku(), BATCH_THINGS + 5
    started = await bulk.start(stock_update={"file_id": await bulk.file(deltas(sku, rows))})
    nobody = Clients("unix:/nobody/is/here")
    inventory = nobody.get(inventory_service_pb2_grpc.InventoryServiceStub)
    away = {"stock_update": stock_job.StockUpdate(table.Table(bulk.db, stock_job.read, stock_job.Changes(inventory)))}
    for _ in range(7):
        await work_off(Worker(bulk.db, SystemIds(), away, rest_share=0.0))
        await bulk.overdue()
    await nobody.close()

    waiting = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_QUEUED, 0) == (waiting.state, waiting.attempts)
    assert "UNAVAILABLE" in waiting.problem
    await work_off(bulk.worker())
    done = await bulk.get(started.operation_id)
    assert (State.OPERATION_STATE_SUCCEEDED, "") == (done.state, done.problem)
    assert (rows, rows) == await bulk.stock(sku)


async def test_a_cancelled_operation_stops_after_the_rows_that_it_is_at(bulk: Bulk):
    """What it has done stays, and is counted."""
    sku = new_sku()
    started = await bulk.start(stock_update={"file_id": await bulk.file(deltas(sku, BATCH_THINGS * 3))})
    failpoints.arm("bulk.batch.answered", "sleep:200")
    worker = bulk.worker()
    await worker.take_due()
    await asyncio.sleep(0.1)
    asked = await bulk.cancel(started.operation_id)
    assert asked.cancel_requested and not asked.done
    await worker.settle()

    stopped = await bulk.get(started.operation_id)
    assert State.OPERATION_STATE_CANCELLED == stopped.state and stopped.done
    assert stopped.HasField("error")
    assert BATCH_THINGS == stopped.progress.rows_done == (await bulk.stock(sku))[0]


async def test_a_file_that_is_no_table_fails_the_operation(bulk: Bulk):
    """At once: it would be the same the next time."""
    for content, format in ((csv(("sku", "amount"), ("a", 1)), CSV), ("", CSV), ("x" * 1_100_000, NDJSON)):
        failed = await bulk.do(stock_update={"file_id": await bulk.file(content, format)})

        assert State.OPERATION_STATE_FAILED == failed.state
        assert 1 == failed.attempts and "FILE_UNREADABLE" in str(failed.error)


async def test_an_operation_keeps_the_batches_that_it_began_with(bulk: Bulk):
    """Also under a newer version that makes larger ones: else what was answered and not stored would be refused."""
    sku = new_sku()
    started = await bulk.start(stock_update={"file_id": await bulk.file(deltas(sku, 30))})
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE operations SET batch_things = 4")
    failpoints.arm("bulk.batch.answered", "raise*1")
    worker = bulk.worker()
    await work_off(worker)
    assert (4, 4) == await bulk.stock(sku)
    await bulk.overdue()
    await work_off(worker)

    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(started.operation_id)).state
    assert (30, 30) == await bulk.stock(sku)


async def test_two_batches_of_one_file_have_different_keys(bulk: Bulk):
    """Equal rows are equal content: without keys of their own the second batch would be taken for the first."""
    sku, rows = new_sku(), BATCH_THINGS * 2

    await bulk.do(stock_update={"file_id": await bulk.file(deltas(sku, rows))})

    assert (rows, rows) == await bulk.stock(sku)


async def work_off(worker: Worker) -> None:
    assert 1 == await worker.take_due()
    await worker.settle()
