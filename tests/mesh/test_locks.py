"""Work that one process at a time does."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from mesh.database import Database
from mesh.locks import lock_key, singleton


@pytest.fixture
async def workers(database_url):
    """Start singletons of one name in a pool each; ends them afterwards."""
    started = []

    async def start(name, fn):
        db = await Database.connect(database_url, pool_size=1, name=name)
        task = asyncio.create_task(singleton(db, "sweeper", fn, turn_seconds=0.02))
        started.append((db, task))
        return task

    yield start
    for db, task in started:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await db.close()


async def test_one_at_a_time_and_the_next_takes_over(workers):
    """The second waits until the first is gone."""
    running: list[str] = []

    def work(name):
        async def run():
            running.append(name)
            try:
                await asyncio.sleep(60)
            finally:
                running.remove(name)

        return run

    first = await workers("a", work("a"))
    await until(lambda: running == ["a"])
    await workers("b", work("b"))
    await asyncio.sleep(0.1)
    assert ["a"] == running
    first.cancel()
    await until(lambda: running == ["b"])


async def test_work_that_fails_is_run_again(workers):
    """An exception is logged and does not end the worker."""
    runs = 0

    async def failing():
        nonlocal runs
        runs += 1
        raise KeyError(runs)

    await workers("a", failing)
    await until(lambda: runs >= 3)


async def test_work_stops_when_the_lock_is_lost(workers, postgres_server):
    """Without its connection the lock is gone, so the work is cancelled and the lock sought anew."""
    events: list[str] = []

    async def run():
        events.append("start")
        try:
            await asyncio.sleep(60)
        finally:
            events.append("stop")

    await workers("a", run)
    await until(lambda: events == ["start"])
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a sweeper'")
    await admin.close()
    await until(lambda: events == ["start", "stop", "start"])


def test_keys_of_names_differ():
    """A name has one key, in the range of a bigint."""
    assert lock_key("a") == lock_key("a") != lock_key("b")
    assert -(2**63) <= lock_key("a") < 2**63


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
