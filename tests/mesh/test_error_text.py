"""What is written down about errors of a real Postgres: never the row, never the value.

Through asyncpg, and through the Core that migrations use.
"""

from __future__ import annotations

import logging

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from mesh import telemetry
from mesh.error_text import line_of, traceback_of

SECRET = "ada@example.com"

STATEMENTS = {
    "unique": f"INSERT INTO people VALUES ('{SECRET}', 1), ('{SECRET}', 1)",
    "check": f"INSERT INTO people VALUES ('{SECRET}', -1)",
    "not null": f"INSERT INTO people VALUES ('{SECRET}', NULL)",
    "syntax of a value": f"INSERT INTO people SELECT 'x', w::int FROM (VALUES ('{SECRET}')) AS v (w)",
    "jsonb": f"""SELECT ('{{"a": "{SECRET}' || w)::jsonb FROM (VALUES (' ')) AS v (w)""",
}


@pytest.fixture
async def people(db):
    async with db.hot() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS people (email text PRIMARY KEY, age int NOT NULL CHECK (age > 0))")


async def failure(db, way, statement, *parameters):
    try:
        await (fail_alone if way == "asyncpg" else fail_in_core)(db, statement, *parameters)
    except Exception as error:
        return error
    raise AssertionError("nothing failed")


async def fail_alone(db, statement, *parameters):
    async with db.hot() as tx:
        await tx.execute(statement, *parameters)


async def fail_in_core(db, statement, *parameters):
    engine = create_async_engine(
        sqlalchemy.make_url(db.url).set(drivername="postgresql+asyncpg"), poolclass=NullPool, hide_parameters=True
    )
    async with engine.begin() as tx:
        if parameters:
            await tx.execute(sqlalchemy.text(statement.replace("$1", ":a")), {"a": parameters[0]})
        else:
            await tx.exec_driver_sql(statement)


@pytest.mark.parametrize("way", ["asyncpg", "core"])
@pytest.mark.parametrize("what", STATEMENTS)
async def test_rows_are_not_written_down(db, people, way, what):
    """Neither on a line nor in a traceback, whoever wrapped the error."""
    error = await failure(db, way, STATEMENTS[what])
    try:
        raise RuntimeError("while something else") from error
    except RuntimeError as outer:
        told = traceback_of(outer)

    assert SECRET not in line_of(error)
    assert SECRET not in told
    assert "while something else" in told
    assert "SQLSTATE 2" in line_of(error)


@pytest.mark.parametrize("way", ["asyncpg", "core"])
async def test_parameters_are_not_written_down(db, people, way):
    """Neither those that the driver refuses to encode, nor those that the server refuses."""
    for statement, parameter in (
        ("INSERT INTO people VALUES ('x', CAST($1 AS int))", SECRET),
        ("INSERT INTO people VALUES (CAST($1 AS text), -1)", SECRET),
    ):
        error = await failure(db, way, statement, parameter)
        assert SECRET not in traceback_of(error) + line_of(error)


async def test_what_is_needed_is_written_down(db, people):
    """The class, the state, the constraint and the first line."""
    error = await failure(db, "asyncpg", STATEMENTS["check"])
    assert line_of(error) == (
        'CheckViolationError: new row for relation "people" violates check constraint "people_age_check"'
        " (SQLSTATE 23514, constraint people_age_check)"
    )


async def test_groups_and_contexts_are_covered(db, people):
    """An error inside a group, and one that was met while another was handled."""
    error = await failure(db, "asyncpg", STATEMENTS["unique"])
    try:
        try:
            raise error
        except Exception:
            raise ExceptionGroup("two", [ValueError("plain"), error])  # noqa: B904
    except ExceptionGroup as group:
        told = traceback_of(group)
    assert SECRET not in told
    assert "ValueError: plain" in told


async def test_the_log_keeps_rows_to_itself(db, people, monkeypatch):
    """Our own logger, and third parties that log an exception through the standard library."""
    lines: list[str] = []

    class Stream:
        write = staticmethod(lines.append)
        flush = staticmethod(lambda: None)

    monkeypatch.setattr(telemetry.SINK, "stream", Stream())
    error = await failure(db, "asyncpg", STATEMENTS["unique"])
    telemetry.get_logger("a").exception("oh", error)
    record = logging.LogRecord("b", logging.ERROR, "", 0, "oh", None, (type(error), error, error.__traceback__))
    telemetry._Bridge().emit(record)

    assert 2 == len(lines)
    assert all(SECRET not in line and "people_pkey" in line for line in lines)
