"""The queue on a real Postgres: who gets what, for how long, and who may still write."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from mesh.seams import SystemIds
from svc_bulk.operation import rules, store
from svc_bulk.operation.rules import Operation, RowProblem, State
from svc_bulk.operation.store import LeaseLost, Step
from tests.svc_bulk.conftest import Bulk


async def add(bulk: Bulk, count: int = 1) -> list[UUID]:
    ids = [SystemIds().new() for _ in range(count)]
    for operation_id in ids:
        await bulk.db.transact(
            lambda tx, operation_id=operation_id: store.add(
                tx, operation_id, uuid4(), kind="sales_report", job=b"", source_file_id=None
            )
        )
    return ids


async def claim(bulk: Bulk, limit: int = 1, **settings: float) -> list[Operation]:
    return await bulk.db.transact(lambda tx: store.claim_due(tx, limit=limit, **settings))


async def save(bulk: Bulk, taken: Operation, step: Step) -> bool:
    return await bulk.db.transact(lambda tx: store.checkpoint(tx, taken.operation_id, taken.lease, step))


async def read(bulk: Bulk, operation_id: UUID) -> Operation:
    async with bulk.db.hot_read() as connection:
        return await store.get(connection, operation_id)


async def test_two_workers_never_take_the_same_operation(bulk: Bulk):
    """However many ask at once, each operation is leased to one of them."""
    ids = await add(bulk, 20)

    taken = [
        each.operation_id for found in await asyncio.gather(*(claim(bulk, 3) for _ in range(12))) for each in found
    ]

    assert sorted(ids) == sorted(taken)


async def test_a_worker_skips_what_another_is_just_taking(bulk: Bulk):
    """It waits for nobody: the row is locked, and the next one is there."""
    first, second = await add(bulk, 2)
    async with bulk.db.hot() as mine:
        assert [first] == [each.operation_id for each in await store.claim_due(mine, limit=1)]
        async with asyncio.timeout(2):
            assert [second] == [each.operation_id for each in await claim(bulk, 2)]


async def test_a_lease_that_is_over_is_taken_over_and_its_holder_writes_nothing_more(bulk: Bulk):
    """Neither a step, nor an end, nor a longer lease: what it does is no longer its own."""
    await add(bulk)
    [old] = await claim(bulk, lease_seconds=0.0)
    [new] = await claim(bulk)
    assert (old.operation_id, old.lease + 1, 2) == (new.operation_id, new.lease, new.attempts)

    with pytest.raises(LeaseLost):
        await save(bulk, old, Step(5, rows_done=5))
    with pytest.raises(LeaseLost):
        await bulk.db.transact(lambda tx: store.renew(tx, old.operation_id, old.lease))
    await bulk.db.transact(lambda tx: store.end_try(tx, old.operation_id, old.lease, rules.dead("old"), b""))

    assert not await save(bulk, new, Step(1, rows_done=1))
    now = await read(bulk, new.operation_id)
    assert (State.RUNNING, 1, 1) == (now.state, now.position, now.progress.rows_done)


async def test_a_renewed_lease_is_nobody_elses(bulk: Bulk):
    """As long as its holder lives."""
    await add(bulk)
    [taken] = await claim(bulk, lease_seconds=0.0)
    await bulk.db.transact(lambda tx: store.renew(tx, taken.operation_id, taken.lease))

    assert [] == await claim(bulk)


async def test_progress_sets_the_tries_back_and_talk_does_not(bulk: Bulk):
    """An operation that dies again and again without getting anywhere must come to an end."""
    await add(bulk)
    await claim(bulk, lease_seconds=0.0)
    [taken] = await claim(bulk)
    await save(bulk, taken, Step(0, rows_done=100))
    assert 2 == (await read(bulk, taken.operation_id)).attempts

    await save(bulk, taken, Step(1, rows_done=100))
    assert 1 == (await read(bulk, taken.operation_id)).attempts


async def test_the_counts_of_steps_add_up(bulk: Bulk):
    """And problems are kept in the order of the file, once each."""
    await add(bulk)
    [taken] = await claim(bulk)
    problems = [RowProblem(number, "ROW_INVALID", "no") for number in (9, 3)]
    for position in (2, 4):
        step = Step(position, rows_done=position, created=1, updated=2, refused=2, problems=problems)
        await save(bulk, taken, step)

    async with bulk.db.hot_read() as connection:
        found = await store.list_problems(connection, taken.operation_id, after=0, limit=10)
    progress = (await read(bulk, taken.operation_id)).progress
    assert (4, 2, 4, 4) == (progress.rows_done, progress.created, progress.updated, progress.refused)
    assert [3, 9] == [each.row_number for each in found]


async def test_what_ended_long_ago_is_forgotten_and_a_dead_letter_is_not(bulk: Bulk):
    """Somebody has to look at it first."""
    done, dead, fresh, waiting = await add(bulk, 4)
    async with bulk.db.hot() as tx:
        ended = "UPDATE operations SET state = $2, ended_at = now() - make_interval(days => $3) WHERE operation_id = $1"
        await tx.execute(ended, done, "SUCCEEDED", store.OPERATIONS_KEPT_DAYS + 1)
        await tx.execute(ended, dead, "DEAD", store.OPERATIONS_KEPT_DAYS + 1)
        await tx.execute(ended, fresh, "SUCCEEDED", store.OPERATIONS_KEPT_DAYS - 1)

    assert 1 == await bulk.db.transact(lambda tx: store.prune(tx, limit=10))
    async with bulk.db.hot_read() as connection:
        left = await store.list_newest(connection, state=None, before=None, limit=10)
    assert {dead, fresh, waiting} == {each.operation_id for each in left}
