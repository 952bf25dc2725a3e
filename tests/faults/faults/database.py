"""Postgres: down, dying again and again, full, busy with somebody else's transactions, changed under running orders.

A rude client connects as the superuser and does what no service does. What it takes it lets go when its session ends,
whatever happens to the proof; triggers are taken off again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg

from tests.faults.faults.processes import kill, stop
from tests.faults.faults.scene import DATABASE_SECONDS, Fault, Scene, Skipped, Wrong, within
from tests.faults.watch import AWAY

LONGEST_DOWN_SECONDS = 5.0
DEATHS = 3
RUDE_SECONDS = 5.0
LOCKED: Sequence[tuple[str, str]] = (
    ("svc_inventory", "stock"),
    ("svc_order", "orders"),
    ("svc_order", "outbox"),
    ("svc_payment", "balances"),
    ("svc_payment", "payments"),
    ("svc_cart", "carts"),
)
CONFLICTING: Sequence[tuple[str, str]] = (
    ("svc_inventory", "stock"),
    ("svc_order", "checkouts"),
    ("svc_payment", "balances"),
    ("svc_payment", "payments"),
)
CONFLICT_SHARE = 0.3
ENDED_EVERY_SECONDS = 0.3
SPARE_WAL_BYTES = 48 << 20
"""What is free on the small disk before it is filled: three segments of the log."""

DISK_SECONDS = 30.0
READY_SECONDS = 60.0
REFUSED_SECONDS = 20.0
MIGRATION_SECONDS = 60.0
CANNOT_START = "status 78"
_TOO_MANY = asyncpg.TooManyConnectionsError


async def down(scene: Scene) -> str:
    """End Postgres without a word, and leave it down for a while."""
    seconds = scene.dice.uniform(0, LONGEST_DOWN_SECONDS)
    async with scene.mesh.without("postgres"):
        await asyncio.sleep(seconds)
    return f"{seconds:.1f} s"


async def die_again(scene: Scene) -> str:
    """End Postgres without a word every 5 to 20 s, sometimes while it still recovers."""
    for number in range(DEATHS):
        if number:
            await asyncio.sleep(scene.seconds(5, 8, full=20))
        await scene.mesh.kill("postgres")
    return f"{DEATHS} times"


async def locks(scene: Scene) -> str:
    """Hold a table that orders need, for longer than a service waits for it."""
    package, table = scene.dice.choice(LOCKED)
    seconds = scene.seconds(2, 8)
    async with rude(scene, package) as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        await asyncio.sleep(seconds)
    return f"{table}, {seconds:.1f} s"


async def deadlocks(scene: Scene) -> str:
    """Lock products in the order in which nobody else does; the service is always the victim."""
    until = time.monotonic() + RUDE_SECONDS
    async with rude(scene, "svc_inventory") as connection:
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        before = await connection.fetchval(counted)
        while time.monotonic() < until:
            # Services lock rows by SKU; the plain ones come after the hot ones.
            async with connection.transaction():
                for skus in (scene.shop.plain, scene.shop.hot):
                    await connection.execute("SELECT FROM skus WHERE sku = ANY($1) ORDER BY sku FOR UPDATE", skus)
                    await asyncio.sleep(0.3)
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        met = await connection.fetchval(counted) - before
    return f"{met} deadlocks"


async def conflicts(scene: Scene) -> str:
    """Let a share of all writes fail as transactions do that cannot be put in any order."""
    package, table = scene.dice.choice(CONFLICTING)
    async with rude(scene, package) as connection:
        await connection.execute(f"""
            CREATE OR REPLACE FUNCTION proof_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF random() < {CONFLICT_SHARE} THEN
                    RAISE EXCEPTION 'could not serialize access (proof)' USING ERRCODE = '40001';
                END IF;
                RETURN NULL;
            END $$;
            CREATE OR REPLACE TRIGGER proof_conflict AFTER INSERT OR UPDATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION proof_conflict()
        """)
        try:
            await asyncio.sleep(RUDE_SECONDS)
        finally:
            await connection.execute(f"DROP TRIGGER proof_conflict ON {table}; DROP FUNCTION proof_conflict()")
    return table


async def end_sessions(scene: Scene) -> str:
    """End every session of every service, over and over."""
    until = time.monotonic() + RUDE_SECONDS
    ended = 0
    async with rude(scene, "svc_order") as connection:
        while time.monotonic() < until:
            ended += await _end_sessions(connection)
            await asyncio.sleep(ENDED_EVERY_SECONDS)
    return f"{ended} sessions"


async def hog_connections(scene: Scene) -> str:
    """Take every connection that Postgres has, those of the services as well."""
    url = scene.mesh.endpoints["postgres"]["svc_order"]
    async with AsyncExitStack() as held:
        taken, until = 0, time.monotonic() + RUDE_SECONDS

        async def take() -> bool:
            try:
                connection = await asyncpg.connect(url, timeout=5)
            except (_TOO_MANY, TimeoutError, OSError):
                return False
            held.push_async_callback(connection.close)
            return True

        first = await asyncpg.connect(url)
        held.push_async_callback(first.close)
        while time.monotonic() < until:
            if await take():
                taken += 1
                continue
            await _end_sessions(first)
            await asyncio.sleep(0.05)
    return f"{taken} connections"


async def _end_sessions(connection: asyncpg.Connection) -> int:
    ended = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles ON rolname = usename"
        " WHERE backend_type = 'client backend' AND NOT rolsuper AND rolname <> 'titan_reader'"
    )
    return len(ended)


async def disk_full(scene: Scene) -> str:
    """Put the log of Postgres on a small disk, and fill it until Postgres gives up; then make room again.

    Raises:
        Skipped: This account may mount nothing.
        Wrong: Postgres went on.
    """
    if os.geteuid() != 0:
        raise Skipped("a small disk can be mounted by root only")
    mesh = scene.mesh
    async with rude(scene, "svc_order") as connection:
        wal = Path(await connection.fetchval("SHOW data_directory")) / "pg_wal"
    kept = wal.with_name("pg_wal.kept")
    async with mesh.without("postgres", "SIGINT"):
        await asyncio.to_thread(_move_to_small_disk, wal, kept)
    try:
        await _until_ready(scene)
        filler = wal / "filler"
        await asyncio.to_thread(_fill, filler)
        try:
            seconds = await _use_up_log(scene)
            await asyncio.sleep(2)
        finally:
            filler.unlink()
        await _until_ready(scene)
    finally:
        async with mesh.without("postgres", "SIGINT"):
            await asyncio.to_thread(_move_back, wal, kept)
    return f"gave up after {seconds:.1f} s"


def _move_to_small_disk(wal: Path, kept: Path) -> None:
    used = sum(file.stat().st_size for file in wal.rglob("*") if file.is_file())
    owner = wal.stat()
    wal.rename(kept)
    wal.mkdir(mode=0o700)
    options = f"size={used + SPARE_WAL_BYTES},mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "titan-proof", str(wal)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as problem:
        wal.rmdir()
        kept.rename(wal)
        raise Skipped(f"a small disk cannot be mounted here: {problem}") from problem
    subprocess.run(["cp", "-a", f"{kept}/.", str(wal)], check=True)


def _move_back(wal: Path, kept: Path) -> None:
    fresh = wal.with_name("pg_wal.fresh")
    subprocess.run(["cp", "-a", str(wal), str(fresh)], check=True)
    subprocess.run(["umount", str(wal)], check=True)
    wal.rmdir()
    fresh.rename(wal)
    shutil.rmtree(kept)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass


async def _use_up_log(scene: Scene) -> float:
    """Begin segment after segment of the log, until there is no room for another; returns how long that took."""
    began = time.monotonic()
    restarts = (await scene.mesh.rows())["postgres"]["restarts"]
    while time.monotonic() < began + DISK_SECONDS:
        try:
            async with rude(scene, "svc_order") as connection:
                while True:
                    await connection.execute("SELECT pg_logical_emit_message(false, 'proof', 'x'), pg_switch_wal()")
        except AWAY:
            if not (await scene.mesh.rows())["postgres"]["healthy"]:
                return time.monotonic() - began
        await asyncio.sleep(0.1)
    if (await scene.mesh.rows())["postgres"]["restarts"] > restarts:
        return time.monotonic() - began
    raise Wrong(f"Postgres went on for {DISK_SECONDS:.0f} s on a full disk")


async def _until_ready(scene: Scene) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            async with rude(scene, "svc_order") as connection:
                await connection.fetchval("SELECT 1")
            return
        except AWAY:
            if time.monotonic() > deadline:
                raise Wrong(f"Postgres was not back after {READY_SECONDS:.0f} s") from None
        await asyncio.sleep(0.1)


async def unsafe(scene: Scene, package: str = "svc_order") -> str:
    """Let Postgres acknowledge to a package what it has not written, and start the package: it has to refuse.

    Raises:
        Wrong: It serves on a database that loses orders.
    """
    async with rude(scene, package) as connection:
        await connection.execute(f"ALTER ROLE {package} SET synchronous_commit = off")
        try:
            await scene.mesh.ask(do="restart", name=package, environment={})
            deadline = time.monotonic() + REFUSED_SECONDS
            while (row := (await scene.mesh.rows())[package])["last_end"] != CANNOT_START:
                if time.monotonic() > deadline:
                    raise Wrong(f"{package} did not refuse unsafe settings: {row['state']}, {row['last_end']}")
                await asyncio.sleep(0.1)
            if row["healthy"]:
                raise Wrong(f"{package} serves on unsafe settings")
        finally:
            await connection.execute(f"ALTER ROLE {package} RESET synchronous_commit")
    return "the start was refused"


async def migrate(scene: Scene) -> str:
    """Expand the tables of every order while orders run, as the migration of the next release would.

    Whatever waits for a lock is given up quickly and tried again, so that no queue forms behind it.
    """
    scene.shop.storms += 1
    column, changes = f"proof_{scene.shop.storms}", 0
    for package, table in dict.fromkeys((*LOCKED, *CONFLICTING)):
        async with rude(scene, package) as connection:
            await connection.execute("SET lock_timeout = '200ms'")
            for statement in (
                f"ALTER TABLE {table} ADD COLUMN {column} bigint NOT NULL DEFAULT 0",
                f"ALTER TABLE {table} ADD COLUMN {column}_note text",
                f"CREATE INDEX CONCURRENTLY {column}_{table} ON {table} ({column})",
                f"DROP INDEX CONCURRENTLY {column}_{table}",
                f"ALTER TABLE {table} DROP COLUMN {column}, DROP COLUMN {column}_note",
            ):
                await _insist(connection, statement)
                changes += 1
    return f"{changes} changes"


async def _insist(connection: asyncpg.Connection, statement: str) -> None:
    deadline = time.monotonic() + MIGRATION_SECONDS
    while True:
        try:
            await connection.execute(statement)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if time.monotonic() > deadline:
                raise Wrong(f"no lock for {MIGRATION_SECONDS:.0f} s: {statement}") from None
            if "CREATE INDEX" in statement:  # one that was given up is left behind invalid
                await connection.execute(f"DROP INDEX IF EXISTS {statement.split()[3]}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def rude(scene: Scene, package: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a superuser's session that never gives up its locks for a deadlock."""
    connection = await asyncpg.connect(
        scene.mesh.endpoints["postgres"][package], timeout=5, server_settings={"deadlock_timeout": "60s"}
    )
    try:
        yield connection
    finally:
        await connection.close()


FAULTS: Mapping[str, Fault] = within(
    DATABASE_SECONDS,
    {
        "kill postgres": partial(kill, name="postgres"),
        "postgres stops at once": partial(kill, name="postgres", signal="SIGQUIT"),
        "stop postgres": partial(stop, name="postgres"),
        "postgres is down": down,
        "postgres dies again and again": die_again,
        "tables are locked": locks,
        "deadlocks": deadlocks,
        "transactions conflict": conflicts,
        "sessions are ended": end_sessions,
        "no connection is left": hog_connections,
        "the disk is full": disk_full,
        "postgres is unsafe": unsafe,
        "a migration runs": migrate,
    },
)
