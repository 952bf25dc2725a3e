"""A database with the runtime's own tables, one per test module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from control.servers.postgres import Postgres
from mesh import inbox, schema
from mesh.database import Database
from mesh.seams import failpoints
from tests.mesh.deliveries import Dead, Shelf

PACKAGE = "svc_mesh"


class Statements:
    """Stands where `alembic.op` would."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def execute(self, sqltext: str) -> None:
        self.texts.append(sqltext)


@pytest.fixture(scope="module")
async def database_url(postgres_server: Postgres, request: pytest.FixtureRequest) -> str:
    """The DSN of a new database with outbox, inbox, idempotency, audit log, vault and a table to play with."""
    name = request.module.__name__.rpartition(".")[2]
    await postgres_server.create_database(name, package=PACKAGE, extensions=())
    url = postgres_server.package_url(PACKAGE, name)
    statements = Statements()
    schema.create_outbox(statements)
    schema.create_inbox(statements)
    schema.create_idempotency(statements)
    schema.create_audit(statements)
    schema.create_vault(statements)
    statements.execute(
        "CREATE TABLE stock (sku text PRIMARY KEY, on_hand int NOT NULL CHECK (on_hand >= 0), note jsonb)"
    )
    connection = await asyncpg.connect(url)
    await connection.execute(";".join(statements.texts))
    await connection.close()
    return url


@pytest.fixture(scope="module")
async def db(database_url: str) -> AsyncIterator[Database]:
    """That database, open."""
    database = await Database.connect(database_url, pool_size=8, name="test")
    yield database
    await database.close()


@pytest.fixture
async def shelf(db, monkeypatch) -> Shelf:
    """A handler with an empty table of what it saw, behind an inbox that does not wait long."""
    monkeypatch.setattr(inbox, "FIRST_BACKOFF_SECONDS", 0.005)
    async with db.hot() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS seen (n serial, consumer text, key text, version int)")
        await tx.execute("TRUNCATE seen, inbox, inbox_aggregates, outbox")
    return Shelf()


@pytest.fixture
def dead() -> Dead:
    """Where the inbox buries."""
    return Dead()


@pytest.fixture(autouse=True)
def _disarmed() -> None:
    failpoints.reset()
