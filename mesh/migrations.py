"""Brings a package's database to the newest schema that the package's code knows: Alembic, without its ini file.

One history per package, in `<package>/migrations/versions/`. Each migration is a transaction of its own, but for those
that build indexes (`mesh.schema.build_index`); replicas that start together take turns; a migration that would have to
wait for a lock longer than three seconds, or that calls hold locks against, gives up and is tried again, so that it
never makes the calls behind it wait. A migration expands first and contracts in a later
release, so code that is older than the schema keeps running: a history that is ahead of the code is left alone.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from mesh.database_errors import sqlstate_of
from mesh.postgres import sign_in
from mesh.secret_files import SecretFile

# Alembic and SQLAlchemy are imported only where there is something to migrate: they are 25 MB and half a second in
# every process.
if TYPE_CHECKING:
    import sqlalchemy
    from alembic.config import Config
    from alembic.script import ScriptDirectory

CONNECT_TIMEOUT_SECONDS = 10.0
LOCK_TIMEOUT_MS = 3_000
ATTEMPTS = 5
TURN_TIMEOUT_SECONDS = 120.0
_IN_EACH_OTHERS_WAY = ("55P03", "40P01")
"""A lock that others held for too long; a deadlock with a call, which takes its locks in an order of its own."""

# Alembic's `op` belongs to the whole process, so two packages of one process migrate one after the other.
_one_at_a_time = asyncio.Lock()


class MigrationBlocked(RuntimeError):
    """A migration could not get its locks, because other transactions kept them."""


async def upgrade(package: str, admin_url: str, password: SecretFile | None = None) -> None:
    """Run the migrations of a package that its database has not seen; returns at once when there is none.

    The password is in the address where no file has it.

    Raises:
        MigrationBlocked: Other transactions or another replica kept the locks for too long.
    """
    if not await _behind(package, admin_url, password):
        return
    async with _one_at_a_time:
        await _upgrade_all(package, admin_url, password)


async def _behind(package: str, admin_url: str, password: SecretFile | None) -> bool:
    """Return whether the package has migrations that the database has not seen.

    A database that is ahead of the code is left alone: a newer release has been here, and its schema serves this code.
    """
    histories = [_names(file.read_text()) for file in (_folder(package) / "versions").glob("*.py")]
    known = {each.get("revision") for each in histories}
    followed = {each.get("down_revision") for each in histories}
    revision = await current(admin_url, password)
    return bool(known) and (revision is None or (revision in known and revision in followed))


def _names(source: str) -> dict[str, object]:
    """Return what a migration assigns to names at its top, constants alone; the module is read and not run."""
    found: dict[str, object] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign):
            continue
        targets, values = [node.targets[0]], [node.value]
        if isinstance(targets[0], ast.Tuple) and isinstance(values[0], ast.Tuple):
            targets, values = targets[0].elts, values[0].elts
        for target, value in zip(targets, values, strict=False):
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                found[target.id] = value.value
    return found


async def _upgrade_all(package: str, admin_url: str, password: SecretFile | None) -> None:
    import sqlalchemy
    from alembic.script import ScriptDirectory
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    script = ScriptDirectory.from_config(_config(package))
    session = {"lock_timeout": str(LOCK_TIMEOUT_MS), "application_name": f"{package} migrations"}
    lock = await sign_in(admin_url, password, timeout=CONNECT_TIMEOUT_SECONDS)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        async_creator=lambda: sign_in(admin_url, password, server_settings=session),
    )
    try:
        await _take_turn(lock, package)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with engine.connect() as connection:
                    await connection.run_sync(_upgrade, package, script)
                return
            except sqlalchemy.exc.DBAPIError as error:
                if sqlstate_of(error) not in _IN_EACH_OTHERS_WAY:
                    raise
                if attempt == ATTEMPTS:
                    raise MigrationBlocked(f"{package}: a migration waits for locks that others hold") from error
                await asyncio.sleep(0.5 * attempt)
    finally:
        await engine.dispose()
        await lock.close(timeout=5)


async def current(admin_url: str, password: SecretFile | None = None) -> str | None:
    """Return the revision that a database stands at, or None for an empty one."""
    connection = await sign_in(admin_url, password, timeout=CONNECT_TIMEOUT_SECONDS)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return revision
    finally:
        await connection.close(timeout=5)


def _folder(package: str) -> Path:
    return Path(str(importlib.resources.files(package))) / "migrations"


def _config(package: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder(package)).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def _take_turn(connection: asyncpg.Connection, package: str) -> None:
    key = int.from_bytes(hashlib.sha256(f"migrations of {package}".encode()).digest()[:8], "big", signed=True)
    try:
        async with asyncio.timeout(TURN_TIMEOUT_SECONDS):
            # Polled: a statement waiting in pg_advisory_lock holds a snapshot, which stops CREATE INDEX CONCURRENTLY.
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise MigrationBlocked(f"{package}: another replica is still migrating") from error


def _upgrade(connection: sqlalchemy.Connection, package: str, script: ScriptDirectory) -> None:
    from alembic.migration import MigrationContext
    from alembic.runtime.environment import EnvironmentContext

    heads = MigrationContext.configure(connection).get_current_heads()
    connection.rollback()
    known = {revision.revision for revision in script.walk_revisions()}
    if not known or not known.issuperset(heads):
        return  # A newer release has been here; its schema serves this code too.

    def steps(revision: object, _: object) -> object:
        return script._upgrade_revs("heads", revision)  # type: ignore[arg-type]

    with EnvironmentContext(_config(package), script, fn=steps, destination_rev="heads") as environment:
        environment.configure(connection=connection, transaction_per_migration=True)
        with environment.begin_transaction():
            environment.run_migrations()
