"""Batches: what they share, and that neighbours, leavers and poison items do not touch each other."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import subprocess
import sys
import uuid

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from mesh import calls, telemetry
from mesh.batcher import Batcher
from mesh.refusals import (
    AccessDenied,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    MethodNotImplemented,
    Overloaded,
    Unauthenticated,
    Unavailable,
)


class Runner:
    """A set-based function that notes its batches; it can be held, and fails as its items say."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()

    async def __call__(self, items: list) -> list:
        self.batches.append(items)
        self.started.set()
        await self.gate.wait()
        for item in items:
            if isinstance(item, Exception):
                raise item
        return [item * 10 if isinstance(item, int) else InvalidInput(item) for item in items]


@pytest.fixture
def runner() -> Runner:
    return Runner()


async def held(runner, batcher, first=0):
    """Start a batch of one that stands still, so that what follows collects behind it."""
    runner.gate.clear()
    runner.started.clear()
    task = asyncio.create_task(batcher.submit(first))
    await runner.started.wait()
    return task


async def test_one_alone_runs_at_once(runner):
    """There is no timer to wait for."""
    assert 70 == await Batcher(runner, name="t").submit(7)
    assert [[7]] == runner.batches


async def test_what_arrives_while_a_batch_runs_is_the_next_batch(runner):
    """Each caller gets its own result, in arrival order."""
    batcher = Batcher(runner, name="t")
    first = await held(runner, batcher)
    others = [asyncio.create_task(batcher.submit(n)) for n in range(1, 5)]
    await asyncio.sleep(0)
    runner.gate.set()

    assert [0, 10, 20, 30, 40] == await asyncio.gather(first, *others)
    assert [[0], [1, 2, 3, 4]] == runner.batches


async def test_work_that_nobody_waits_for_gathers_company(runner):
    """What comes within the time shares the first batch; a full batch does not wait."""
    batcher = Batcher(runner, name="t", gather_seconds=0.05, max_items=3)
    first = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.01)
    assert [] == runner.batches
    assert [10, 20] == await asyncio.gather(first, batcher.submit(2))
    assert [[1, 2]] == runner.batches

    patient = Batcher(runner, name="t", gather_seconds=3600, max_items=3)
    assert [10, 20, 30] == await asyncio.gather(*(patient.submit(n) for n in (1, 2, 3)))


async def test_limits_of_items_and_weight(runner):
    """A batch stops at either limit; what is heavier than a batch goes alone."""
    batcher = Batcher(runner, name="t", max_items=3, max_weight=10, weight=lambda n: n)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 1, 1, 1, 8, 2, 50, 3)]

    assert [10, 10, 10, 10, 80, 20, 500, 30] == await asyncio.gather(*tasks)
    assert [[1, 1, 1], [1, 8], [2], [50], [3]] == runner.batches


async def test_one_answered_with_an_exception_leaves_its_neighbours(runner):
    """A refusal in the results is raised to its own caller only."""
    batcher = Batcher(runner, name="t")
    tasks = [asyncio.create_task(batcher.submit(item)) for item in (1, "no", 3)]

    one, refused, three = await asyncio.gather(*tasks, return_exceptions=True)
    assert (10, 30) == (one, three)
    assert isinstance(refused, InvalidInput)
    assert 1 == len(runner.batches)


@pytest.mark.parametrize("poison", [asyncpg.CheckViolationError("poison"), KeyError("poison"), InvalidInput("poison")])
async def test_a_poison_item_is_found_by_halves(runner, poison):
    """The batch is run in halves until the culprit stands alone; all others get their results."""
    batcher = Batcher(runner, name="t")
    items = [*range(11), poison, *range(11, 20)]
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert poison is found[11]
    assert [n * 10 for n in range(20)] == found[:11] + found[12:]
    assert len(runner.batches) < 12


async def test_two_poison_items_are_both_found(runner):
    """Also when they stand side by side."""
    batcher = Batcher(runner, name="t")
    tasks = [asyncio.create_task(batcher.submit(item)) for item in (1, KeyError("a"), KeyError("b"), 2)]
    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert (10, 20) == (found[0], found[3])
    assert ["a", "b"] == [each.args[0] for each in found[1:3]]


@pytest.mark.parametrize("refusal", [AccessDenied, Unauthenticated, MethodNotImplemented])
async def test_what_is_said_to_the_whole_batch_is_not_bisected(refusal):
    """Who may call what is no matter of items."""
    runs = []

    async def run(items):
        runs.append(items)
        raise refusal("no")

    batcher = Batcher(run, name="t")
    answers = await asyncio.gather(*[batcher.submit(n) for n in range(8)], return_exceptions=True)
    assert [refusal] * 8 == [type(each) for each in answers]
    assert 1 == len(runs)


@pytest.mark.parametrize("failure", [InternalError("internal error"), RuntimeError("broken")])
@pytest.mark.parametrize("size", [2, 16, 256])
async def test_a_downstream_that_is_broken_is_not_asked_for_each_item(failure, size):
    """When nothing succeeds, the number of runs grows with the logarithm of the batch."""
    runs = []

    async def run(items):
        runs.append(len(items))
        raise failure

    batcher = Batcher(run, name="t")
    answers = await asyncio.gather(*[batcher.submit(n) for n in range(size)], return_exceptions=True)
    assert [failure] * size == answers
    assert len(runs) <= 2 * math.log2(size) + 9


@pytest.mark.parametrize("place", [0, 100, 255])
async def test_one_item_that_breaks_a_downstream_is_found(place):
    """Wherever it stands in a full batch, its neighbours get their results."""

    async def run(items):
        if place in items:
            raise InternalError("internal error")
        return items

    batcher = Batcher(run, name="t")
    answers = await asyncio.gather(*[batcher.submit(n) for n in range(256)], return_exceptions=True)
    assert isinstance(answers.pop(place), InternalError)
    assert [n for n in range(256) if n != place] == answers


async def test_many_bad_rows_do_not_fail_a_good_one():
    """The database says what is wrong, so each bad row is looked for, however many there are."""

    async def run(items):
        if items != [255]:
            raise asyncpg.CheckViolationError("bad row")
        return items

    batcher = Batcher(run, name="t")
    answers = await asyncio.gather(*[batcher.submit(n) for n in range(256)], return_exceptions=True)
    assert 255 == answers[-1]


@pytest.mark.parametrize("cause", [asyncpg.DeadlockDetectedError("x"), Unavailable("x"), ConnectionResetError("x")])
async def test_what_a_retry_cures_is_not_bisected(runner, cause):
    """A database that is away says nothing about an item: all are told to ask again, after one attempt."""
    batcher = Batcher(runner, name="t")
    tasks = [asyncio.create_task(batcher.submit(item)) for item in (1, cause, 3)]

    assert [Unavailable] * 3 == [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)]
    assert 1 == len(runner.batches)


async def test_a_caller_that_leaves_removes_only_itself(runner):
    """Before its batch: it is not run. During it: its neighbours do not notice."""
    batcher = Batcher(runner, name="t")
    first = await held(runner, batcher)
    stays, leaves = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0)
    leaves.cancel()
    first.cancel()  # the call whose arrival started the running batch
    await asyncio.sleep(0)
    runner.gate.set()

    assert 10 == await stays
    assert [[0], [1]] == runner.batches
    for gone in (first, leaves):
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_a_cancelled_leader_keeps_nobody_waiting(runner):
    """When the task that runs batches is cancelled, its batch is told to ask again, and the next one runs."""
    batcher = Batcher(runner, name="t")
    running = await held(runner, batcher)
    behind = asyncio.create_task(batcher.submit(5))
    await asyncio.sleep(0)
    leader = next(task for task in asyncio.all_tasks() if task.get_name() == "batcher t")
    leader.cancel()
    with pytest.raises(Unavailable):
        await running
    runner.gate.set()

    assert 50 == await behind


async def test_what_expired_before_the_start_is_dropped(runner):
    """Work for a caller without time left is not begun; the caller reads DEADLINE_EXCEEDED."""
    batcher = Batcher(runner, name="t")
    first = await held(runner, batcher)

    async def short() -> int:
        with calls.detached(timeout_seconds=0.01):
            return await batcher.submit(1)

    with pytest.raises(DeadlineExceeded):
        await short()
    runner.gate.set()
    await first
    assert 20 == await batcher.submit(2)
    assert [[0], [2]] == runner.batches


async def test_a_batch_has_a_deadline_of_its_own(runner):
    """A batch that hangs is cut, and the batcher goes on."""
    batcher = Batcher(runner, name="t", timeout_seconds=0.02)
    runner.gate.clear()
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(1)
    runner.gate.set()
    assert 20 == await batcher.submit(2)


async def test_a_batch_belongs_to_none_of_its_callers():
    """It does not run in the context of the call that came first, and knows how long it may take."""
    whose = contextvars.ContextVar("whose", default="nobody's")
    seen = []

    async def run(items):
        seen.append((whose.get(), calls.remaining_seconds()))
        return items

    whose.set("the first caller's")
    with calls.detached(timeout_seconds=60) as call:
        await Batcher(run, name="t", timeout_seconds=5).submit(1)
        assert 1 == call.batch_size
    assert "nobody's" == seen[0][0]
    assert 4 < seen[0][1] <= 5


async def test_too_many_waiting_are_shed(runner):
    """Beyond the limit a call is refused at once; a place that its caller left is given again."""
    batcher = Batcher(runner, name="t", max_waiting=2)
    first = await held(runner, batcher)
    waiting = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as shed:
        await batcher.submit(3)
    assert shed.value.retry_after_seconds
    waiting[0].cancel()
    await asyncio.sleep(0)
    late = asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    runner.gate.set()

    assert [0, 20, 40] == await asyncio.gather(first, waiting[1], late)


async def test_a_wrong_number_of_results_fails_all_and_is_not_repeated():
    """What was done cannot be told apart, so it is not done again."""
    runs = 0

    async def short(items):
        nonlocal runs
        runs += 1
        return items[1:]

    batcher = Batcher(short, name="t")
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [RuntimeError] * 2 == [type(each) for each in found]
    assert 1 == runs


async def test_closing_answers_what_waits_and_takes_no_more(runner):
    """A drain loses nobody."""
    batcher = Batcher(runner, name="t")
    first = await held(runner, batcher)
    second = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await batcher.submit(2)
    runner.gate.set()
    await closing

    assert (0, 10) == (await first, await second)


async def test_waiting_inside_a_transaction_is_a_bug(db, runner):
    """The batch needs a connection of the pool that its caller would be holding."""
    with pytest.raises(RuntimeError):
        async with db.hot():
            await Batcher(runner, name="t").submit(1)


CLAIMING = """
import asyncio, sys, uuid
from mesh.batcher import Batcher
from mesh.database import Database
from mesh.idempotency import Claim, claim_many, store_many

async def main():
    url, who, barrier = sys.argv[1:]
    db = await Database.connect(url, pool_size=2, name=who)

    async def work(tx, claims):
        found = await claim_many(tx, claims)
        new = [c for c, answer in zip(claims, found) if answer is None]
        await tx.executemany("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'batched' AND $1 <> ''",
                             [(c.request_id,) for c in new])
        await store_many(tx, [(c.key, who.encode()) for c in new])
        return [who.encode() if answer is None else answer for answer in found]

    batcher = Batcher(lambda claims: db.transact(lambda tx: work(tx, claims)), name="claims", max_items=16)
    claims = [Claim(uuid.UUID(int=9), "m", f"r{n}", b"body") for n in range(200)]
    if who == "two":
        claims.reverse()
    async with db.hot_read() as connection:
        await connection.execute("SELECT pg_advisory_lock_shared($1)", int(barrier))
    print(b",".join(await asyncio.gather(*[batcher.submit(c) for c in claims])).decode())

asyncio.run(main())
"""


async def test_the_same_claims_from_two_processes(db, database_url):
    """Two replicas batch the same 200 requests: each is done once, and both answer what the doer stored."""
    async with db.hot() as tx:
        await tx.execute("INSERT INTO stock VALUES ('batched', 1000)")
    barrier = uuid.uuid4().int >> 66
    async with db.hot_read() as gate:
        await gate.execute("SELECT pg_advisory_lock($1)", barrier)
        env = {**os.environ, "PYTHONPATH": ".:gen"}
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLAIMING, database_url, who, str(barrier), stdout=subprocess.PIPE, env=env
            )
            for who in ("one", "two")
        ]
        async with asyncio.timeout(20):
            while 2 > await gate.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                await asyncio.sleep(0.02)
        await gate.execute("SELECT pg_advisory_unlock($1)", barrier)
    outs = [(await process.communicate())[0].decode().strip().split(",") for process in processes]

    assert [0, 0] == [process.returncode for process in processes]
    assert 200 == len(outs[0])
    assert outs[0] == outs[1][::-1]
    async with db.hot_read() as connection:
        assert 800 == await connection.fetchval("SELECT on_hand FROM stock WHERE sku = 'batched'")


async def test_a_batch_is_a_part_of_its_only_callers_trace_else_of_one_that_is_recorded():
    """So an order's steps carry the trace id of the call that placed it."""
    seen: list[str] = []
    opened = asyncio.Event()

    async def run(items: list[int]) -> list[int]:
        await opened.wait()
        seen.append(telemetry.current_trace_id())
        return items

    async def submit(number: int, *, recorded: bool = False) -> None:
        span = SpanContext(number, 1, False, TraceFlags(TraceFlags.SAMPLED if recorded else 0))
        with telemetry.in_trace(trace.set_span_in_context(NonRecordingSpan(span))):
            await batcher.submit(number)

    batcher = Batcher(run, name="traced")
    alone = asyncio.create_task(submit(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    together = [asyncio.create_task(submit(number, recorded=number == 3)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    opened.set()
    await asyncio.gather(alone, *together)

    assert [f"{1:032x}", f"{3:032x}"] == seen
