"""Transactions, reads, retries and refusals, on a real Postgres."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager

import asyncpg
import pytest

from control.servers.ports import free_port
from mesh import database as database_module
from mesh import pool, postgres
from mesh.database import Database, after_commit, in_transaction
from mesh.postgres import UnsafeDurability
from mesh.refusals import Unavailable


async def on_hand(db, sku):
    async with db.hot_read() as connection:
        return await connection.fetchval("SELECT on_hand FROM stock WHERE sku = $1", sku)


async def test_hot_commits_and_rolls_back(db):
    """The end of the block commits, an exception rolls back."""
    async with db.hot() as tx:
        await tx.execute("INSERT INTO stock VALUES ('hot', 1)")
    with pytest.raises(ZeroDivisionError):
        async with db.hot() as tx:
            await tx.execute("UPDATE stock SET on_hand = 9 WHERE sku = 'hot'")
            raise ZeroDivisionError

    assert 1 == await on_hand(db, "hot")


async def test_json_is_python_on_both_ways(db):
    """A jsonb column takes and gives values, not text."""
    note = {"sizes": [1, 2.5, None], "name": "é"}
    async with db.hot() as tx:
        await tx.execute("INSERT INTO stock VALUES ('json', 1, $1)", note)

    async with db.hot_read() as connection:
        assert note == await connection.fetchval("SELECT note FROM stock WHERE sku = 'json'")


async def test_guard_is_up_inside_transactions_only(db):
    """Clients ask `in_transaction`; reads and other tasks are free."""
    assert not in_transaction()
    async with db.hot():
        assert in_transaction()
    async with db.hot_read():
        assert not in_transaction()
    await db.transact(lambda _: asyncio.sleep(0))
    assert not in_transaction()


async def test_after_commit_runs_after_commits_only(db):
    """What waits for a commit is called once it happened, and forgotten when it did not."""
    called = []
    async with db.hot():
        after_commit(lambda: called.append("committed"))
        assert [] == called
    with pytest.raises(ZeroDivisionError):
        async with db.hot():
            after_commit(lambda: called.append("rolled back"))
            raise ZeroDivisionError

    assert ["committed"] == called


async def test_transact_repeats_a_serialization_failure(db):
    """Transactions that read and write the same row all get done."""
    async with db.hot() as tx:
        await tx.execute("INSERT INTO stock VALUES ('raced', 0)")
    runs, all_have_read = 0, asyncio.Barrier(3)

    async def add(tx):
        nonlocal runs
        runs += 1
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        value = await tx.fetchval("SELECT on_hand FROM stock WHERE sku = 'raced'")
        if runs <= all_have_read.parties:
            await all_have_read.wait()
        await tx.execute("UPDATE stock SET on_hand = $1 WHERE sku = 'raced'", value + 1)

    await asyncio.gather(db.transact(add), db.transact(add), db.transact(add))

    assert 3 == await on_hand(db, "raced")
    assert runs > 3


async def test_a_statement_alone_is_repeated_as_a_transaction_is(db):
    """The victim of a conflict does not know whether it was alone in its transaction."""
    runs = 0

    async def add(connection):
        nonlocal runs
        runs += 1
        if runs < 3:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        await connection.execute("INSERT INTO stock VALUES ('alone', 5)")

    await db.execute_alone(add)

    assert 3 == runs
    assert 5 == await on_hand(db, "alone")


async def test_transact_repeats_a_deadlock(db):
    """The victim of a deadlock is run again."""
    async with db.hot() as tx:
        await tx.execute("INSERT INTO stock VALUES ('left', 0), ('right', 0)")

    both_hold, runs = asyncio.Barrier(2), 0

    async def take(tx, first, second):
        nonlocal runs
        runs += 1
        await tx.execute("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = $1", first)
        if runs <= both_hold.parties:
            await both_hold.wait()
        await tx.execute("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = $1", second)

    await asyncio.gather(
        db.transact(lambda tx: take(tx, "left", "right")), db.transact(lambda tx: take(tx, "right", "left"))
    )

    assert (2, 2) == (await on_hand(db, "left"), await on_hand(db, "right"))
    assert runs > 2


async def test_transact_gives_up_as_unavailable(db):
    """A conflict at every attempt is told as a thing to try again."""

    async def conflict(tx):
        raise asyncpg.SerializationError("again")

    with pytest.raises(Unavailable):
        await db.transact(conflict, attempts=2)


async def test_transact_lets_other_errors_fly_once(db):
    """A broken constraint is nobody's race."""
    runs = 0

    async def broken(tx):
        nonlocal runs
        runs += 1
        await tx.execute("INSERT INTO stock VALUES ('negative', -1)")

    with pytest.raises(asyncpg.CheckViolationError):
        await db.transact(broken)
    assert 1 == runs


async def test_synchronous_commit_off_is_refused(database_url, postgres_server):
    """A role or database that was told to lose what it acknowledged is not worked with, even by a pool that is open."""
    db = await Database.connect(database_url, pool_size=2, name="late")
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute("ALTER DATABASE test_database SET synchronous_commit = off")
    try:
        with pytest.raises(UnsafeDurability, match="synchronous_commit = off"):
            await Database.connect(database_url, pool_size=1, name="unsafe")
        with pytest.raises(UnsafeDurability):
            async with db.hot(), db.hot():
                pass
    finally:
        await admin.execute("ALTER DATABASE test_database RESET synchronous_commit")
        await admin.close()
        await db.close()


async def test_fsync_off_is_refused(postgres_server, titan_home, secret_files):
    """A server without fsync or full page writes stops the start, and the message names both."""
    server = type(postgres_server)(
        data=titan_home / "data" / "unsafe",
        log=titan_home / "log" / "unsafe.log",
        secrets=secret_files,
        shelter=titan_home / "shelter",
        settings={"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"},
    )
    with server:
        with pytest.raises(UnsafeDurability, match=r"fsync = off, full_page_writes = off"):
            await Database.connect(server.url, pool_size=1, name="unsafe")


async def test_pool_heals_after_its_connections_were_cut(db, postgres_server):
    """A killed session fails the statement it runs and nothing later."""
    async with db.hot_read() as one, db.hot_read() as two:
        pids = [one.get_server_pid(), two.get_server_pid()]
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
    await asyncio.sleep(0.05)
    with pytest.raises(Unavailable):
        async with db.hot() as tx:
            await admin.execute("SELECT pg_terminate_backend($1)", tx.get_server_pid())
            await tx.execute("SELECT 1")
    await admin.close()

    async def count(tx):
        return await tx.fetchval("SELECT 1")

    assert [1] * 12 == await asyncio.gather(*[db.transact(count) for _ in range(12)])
    assert await db.healthy()


async def test_a_server_that_is_away_is_unavailable():
    """Nothing listens: the caller reads Unavailable, not a driver's error."""
    with pytest.raises(Unavailable, match="test_away"):
        await Database.connect(f"postgresql://a:b@127.0.0.1:{free_port()}/x", pool_size=1, name="test_away")


@pytest.mark.parametrize("way", ["hot_read", "hot"])
async def test_a_server_that_takes_no_connection_now_is_unavailable(database_url, postgres_server, way, monkeypatch):
    """It listens and says no, as one does that recovers after a crash: that is not an error of ours."""
    monkeypatch.setattr(pool, "KNOCK_SECONDS", 0.0)
    db = await Database.connect(database_url, pool_size=1, name="test_not_now")
    admin = await asyncpg.connect(postgres_server.url)
    await db.close()
    await admin.execute("ALTER ROLE svc_mesh CONNECTION LIMIT 0")
    try:
        with pytest.raises(Unavailable, match="test_not_now"):
            await ask(db, way)
        assert not await db.healthy()
    finally:
        await admin.execute("ALTER ROLE svc_mesh CONNECTION LIMIT -1")
        await admin.close()
    assert await ask(db, way)
    await db.close()


async def test_a_cancelled_transaction_leaves_nothing_behind(database_url):
    """A caller that leaves in the middle of a statement holds no connection and no lock afterwards."""
    db = await Database.connect(database_url, pool_size=1, name="one")

    async def slow():
        async with db.hot() as tx:
            await tx.execute("INSERT INTO stock VALUES ('cancelled', 1)")
            await tx.execute("SELECT pg_sleep(5)")

    for _ in range(3):
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await on_hand(db, "cancelled") is None
    async with db.hot() as tx:
        await tx.execute("SET LOCAL lock_timeout = 20")
        await tx.execute("LOCK TABLE stock")
    await db.close()


async def test_a_begin_that_the_server_broke_off_spoils_no_connection(database_url):
    """A cancellation that comes late may meet it; the next call begins a transaction, and no savepoint of nothing."""
    db = await Database.connect(database_url, pool_size=1, name="begins")
    other = await asyncpg.connect(db.url)

    async def one() -> int:
        async with db.hot() as tx:
            return await tx.fetchval("SELECT pg_backend_pid()")

    async def cancel() -> None:
        while True:
            await other.execute("SELECT pg_cancel_backend($1)", pid)

    pid, broken_off = await one(), 0
    cancelling = asyncio.create_task(cancel())
    try:
        async with asyncio.timeout(20):
            while broken_off < 8:
                try:
                    pid = await one()
                except (asyncpg.QueryCanceledError, Unavailable):
                    broken_off += 1
        cancelling.cancel()
        await asyncio.gather(cancelling, return_exceptions=True)
        assert await one()
    finally:
        cancelling.cancel()
        await other.close()
        await db.close()


@contextmanager
def stopped(pid):
    """A backend that keeps its connection and says nothing, as a machine does whose network was cut."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def ask(db, way="hot_read"):
    """Return the pid of the backend that answers."""
    async with getattr(db, way)() as connection:
        return await connection.fetchval("SELECT pg_backend_pid()")


@pytest.fixture
async def impatient(database_url, monkeypatch):
    """A pool of one connection whose statements may take a short time."""
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(database_module, "CLEANUP_TIMEOUT_SECONDS", 0.3)
    db = await Database.connect(database_url, pool_size=1, name="impatient")
    yield db
    await db.close()


@pytest.mark.parametrize("way", ["hot_read", "hot"])
async def test_a_server_that_says_nothing_more_is_unavailable(impatient, way):
    """The statement ends by our clock, and the connection goes with it."""
    pid = await ask(impatient, way)
    with stopped(pid):
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await ask(impatient, way)
            assert pid != await ask(impatient, way)


@pytest.mark.parametrize("way", ["hot_read", "hot"])
async def test_a_caller_that_leaves_takes_a_dead_connection_along(impatient, way):
    """Whoever asks next does not wait for a server that never answered the one before."""
    pid = await ask(impatient, way)
    with stopped(pid):
        task = asyncio.create_task(ask(impatient, way))
        await asyncio.sleep(0.1)
        task.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pid != await ask(impatient, way)


@pytest.mark.parametrize("way", ["hot_read", "hot"])
async def test_a_cancelled_statement_does_not_cost_its_connection(impatient, way):
    """A server that lives lets go of the statement, and the next caller has the same session."""
    pid = await ask(impatient, way)
    for statement in ("SELECT pg_sleep(5)", None):

        async def leave(statement=statement):
            async with getattr(impatient, way)() as connection:
                await (asyncio.sleep(5) if statement is None else connection.execute(statement))

        task = asyncio.create_task(leave())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pid == await ask(impatient, way)


async def test_a_connection_of_its_own_does_not_wait_for_ever(impatient):
    """Relays and holders of locks notice a server that says nothing more."""
    connection = await impatient.connect_alone("alone")
    with stopped(connection.get_server_pid()):
        async with asyncio.timeout(2):
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT 1")
    connection.terminate()


async def test_a_lock_that_takes_too_long_is_unavailable(db):
    """lock_timeout ends the wait, and the refusal says to ask again."""
    async with db.hot() as holder:
        await holder.execute("LOCK TABLE stock")
        with pytest.raises(Unavailable):
            async with db.hot() as waiter:
                await waiter.execute("SET LOCAL lock_timeout = 20")
                await waiter.execute("LOCK TABLE stock")


async def test_a_server_that_says_no_is_not_asked_by_everybody(database_url, monkeypatch):
    """Who comes with the first or soon after hears the same, and who comes later asks again."""
    monkeypatch.setattr(pool, "KNOCK_SECONDS", 0.2)
    db = await Database.connect(database_url, pool_size=8, name="polite")
    await db.close()
    knocks = 0

    async def refuse(*_, **__):
        nonlocal knocks
        knocks += 1
        await asyncio.sleep(0)
        raise asyncpg.CannotConnectNowError("the database system is starting up")

    with monkeypatch.context() as away:
        away.setattr(asyncpg, "connect", refuse)
        heard = await asyncio.gather(*(ask(db) for _ in range(20)), return_exceptions=True)
        assert [Unavailable] * 20 == [type(each) for each in heard]
        with pytest.raises(Unavailable):
            await ask(db)
        assert 1 == knocks
    await asyncio.sleep(0.2)
    assert await ask(db)
    await db.close()


async def test_a_pool_has_a_bound_and_says_so(database_url, monkeypatch):
    """Whoever waits too long for a connection is told to ask again, and takes none along."""
    monkeypatch.setattr(pool, "POOL_TIMEOUT_SECONDS", 0.05)
    db = await Database.connect(database_url, pool_size=1, name="small")
    async with db.hot_read() as only:
        with pytest.raises(Unavailable):
            await ask(db)
        asking = asyncio.create_task(ask(db))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        pid = only.get_server_pid()
    assert [pid] * 3 == [await ask(db) for _ in range(3)]
    await db.close()


async def test_whoever_waits_for_a_connection_gets_it_when_it_is_free(database_url):
    """In the order of asking, also before one who gives it back and asks again at once; and each has it alone."""
    db = await Database.connect(database_url, pool_size=2, name="few")
    inside, most, served = 0, 0, []
    async with db.hot_read(), db.hot_read():
        pass  # from now on nobody waits for a connection to be made

    async def use(*turns):
        nonlocal inside, most
        for turn in turns:
            async with db.hot_read() as connection:
                served.append(turn)
                inside += 1
                most = max(most, inside)
                await connection.execute("SELECT pg_sleep(0.005)")
                inside -= 1

    await asyncio.gather(use(0, 12), use(1, 13), *(use(number) for number in range(2, 12)))
    assert (0, 2) == (inside, most)
    assert list(range(12)) == served[:12] and {12, 13} == set(served[12:])
    await db.close()


async def test_a_connection_that_cannot_be_made_leaves_its_place_free(database_url, monkeypatch):
    """The next one to ask tries again."""
    db = await Database.connect(database_url, pool_size=1, name="again")
    await db.close()
    with monkeypatch.context() as broken:
        broken.setattr(asyncpg, "connect", lambda *_, **__: asyncio.Event().wait())
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ask(db)
        await db.close()
    assert await ask(db)
    await db.close()
