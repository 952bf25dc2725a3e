"""Histories of a package that exists for this test only, on a real Postgres."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

import asyncpg
import pytest

from mesh import migrations
from mesh.migrations import MigrationBlocked, current, upgrade

FIRST = """
from alembic import op
from mesh import schema
revision, down_revision, branch_labels, depends_on = "0001", None, None, None

def upgrade():
    schema.create_outbox(op)
    schema.create_inbox(op)
    schema.create_idempotency(op)
    op.execute("CREATE TABLE ran (n int)")
    op.execute("INSERT INTO ran VALUES (1)")
"""
SECOND = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None

def upgrade():
    op.execute("ALTER TABLE ran ADD COLUMN note text")
    op.execute("INSERT INTO ran VALUES (2)")
"""
BROKEN = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None

def upgrade():
    op.execute("INSERT INTO ran VALUES (3)")
    op.execute("SELECT 1 / 0")
"""
DEADLOCKED_ONCE = """
DO $$ BEGIN
    IF nextval('tries') = 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
END $$
"""
INDEX = """
from alembic import op
from mesh import schema
revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None

def upgrade():
    schema.build_index(op, "ran_once", "ran (n)", unique=True)
"""
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ran_once'::regclass"


class Package:
    """A package with migrations in a folder, and a database for it."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.name, self.folder, self.url = name, folder / name, url
        (self.folder / "migrations" / "versions").mkdir(parents=True)
        (self.folder / "__init__.py").touch()

    def write(self, name: str, text: str) -> None:
        (self.folder / "migrations" / "versions" / f"{name}.py").write_text(text)

    def remove(self, name: str) -> None:
        (self.folder / "migrations" / "versions" / f"{name}.py").unlink()

    async def ran(self) -> list[int]:
        connection = await asyncpg.connect(self.url)
        try:
            return [row["n"] for row in await connection.fetch("SELECT n FROM ran ORDER BY n")]
        finally:
            await connection.close()


@pytest.fixture
async def package(postgres_server, tmp_path, monkeypatch, request) -> Package:
    name = f"svc_{request.node.name.removeprefix('test_')}"[:60]
    await postgres_server.create_database(name, package="svc_mesh", extensions=())
    monkeypatch.syspath_prepend(str(tmp_path))
    package = Package(name, tmp_path, postgres_server.package_url("svc_mesh", name))
    importlib.invalidate_caches()
    package.write("0001_first", FIRST)
    yield package
    sys.modules.pop(name, None)


async def test_history_is_run_once(package):
    """An empty database gets everything, one that is up to date nothing, one behind the rest."""
    await upgrade(package.name, package.url)
    await upgrade(package.name, package.url)
    assert [1] == await package.ran()

    package.write("0002_second", SECOND)
    await upgrade(package.name, package.url)
    assert [1, 2] == await package.ran()
    assert "0002" == await current(package.url)


async def test_replicas_take_turns(package):
    """Replicas that start together run each migration once."""
    package.write("0002_second", SECOND)
    await asyncio.gather(*[upgrade(package.name, package.url) for _ in range(4)])

    assert [1, 2] == await package.ran()


async def test_broken_one_keeps_those_before(package):
    """Each migration is a transaction: the broken one leaves nothing, the ones before it stay."""
    package.write("0002_second", SECOND)
    package.write("0003_broken", BROKEN)
    with pytest.raises(Exception, match="division by zero"):
        await upgrade(package.name, package.url)

    assert [1, 2] == await package.ran()
    assert "0002" == await current(package.url)


async def test_older_code_leaves_a_newer_schema(package):
    """A replica of the last release starts on a database that the new release has migrated."""
    package.write("0002_second", SECOND)
    await upgrade(package.name, package.url)
    package.remove("0002_second")

    await upgrade(package.name, package.url)
    assert "0002" == await current(package.url)


async def test_waits_for_no_lock_long(package, monkeypatch):
    """A table in use makes the migration give up and try again, rather than queue calls behind itself."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(migrations, "ATTEMPTS", 2)
    await upgrade(package.name, package.url)
    package.write("0002_second", SECOND)
    user = await asyncpg.connect(package.url)
    async with user.transaction():
        await user.execute("SELECT * FROM ran")
        with pytest.raises(MigrationBlocked):
            await upgrade(package.name, package.url)
        monkeypatch.setattr(migrations, "ATTEMPTS", 5)
        later = asyncio.create_task(upgrade(package.name, package.url))
        await asyncio.sleep(0.2)
    await user.close()
    await later

    assert [1, 2] == await package.ran()


async def test_one_that_met_a_deadlock_is_tried_again(package):
    """Postgres ends whoever it likes of those who wait for each other, and that may be the migration."""
    package.write("0001_first", FIRST + '    op.execute("CREATE SEQUENCE tries")\n')
    await upgrade(package.name, package.url)
    package.write("0002_second", SECOND + f"    op.execute({DEADLOCKED_ONCE!r})\n")
    await upgrade(package.name, package.url)

    assert [1, 2] == await package.ran()
    assert "0002" == await current(package.url)


async def test_an_index_that_was_broken_off_is_built_again(package):
    """It is no transaction, and what it left under its name counts for nothing."""
    await upgrade(package.name, package.url)
    package.write("0002_index", INDEX)
    connection = await asyncpg.connect(package.url)
    try:
        await connection.execute("INSERT INTO ran VALUES (1)")
        with pytest.raises(Exception, match="could not create unique index"):
            await upgrade(package.name, package.url)
        left = await connection.fetchval(IS_VALID)
        await connection.execute("UPDATE ran SET n = 2 WHERE ctid = (SELECT max(ctid) FROM ran)")

        await upgrade(package.name, package.url)

        assert [False, True] == [left, await connection.fetchval(IS_VALID)]
    finally:
        await connection.close()
    assert "0002" == await current(package.url)


async def test_no_history_no_work(package):
    """A package without a migration has nothing to upgrade."""
    package.remove("0001_first")
    await upgrade(package.name, package.url)
    assert await current(package.url) is None
