"""What every migration keeps to, read from the statements that it would run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("svc_*/migrations/versions/*.py"))

CREATED = re.compile(r"CREATE TABLE (\w+)")
ALTERED = re.compile(r"ALTER TABLE (\w+) (.+)")
NEXT_ACTION = re.compile(r", (?=ADD |ALTER |DROP )")
INDEXED = re.compile(r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY )\w+ ON (\w+)")

CHECKED = {
    "svc_auth/0002_listed_sessions",
    "svc_auth/0004_one_time_links",
    "svc_auth/0005_federation",
    "svc_notify/0003_links",
    "svc_notify/0005_notices",
    "svc_payment/0004_sellers",
}
BLOCKED = {
    "svc_auth/0002_listed_sessions",
    "svc_auth/0008_ceremonies_of_sessions",
    "svc_cart/0002_ordered_lines",
    "svc_notify/0002_sent_by_age",
    "svc_payment/0004_sellers",
}
"""From before the two rules, when no table had many rows. Nothing is added to these."""


ANEW = re.compile(r"\bALTER TABLE\b.*(SET EXPRESSION|\bTYPE\b|ADD COLUMN[^,]* (GENERATED|AS IDENTITY))")
"""What writes every row of a table, while nobody can read one."""


class Recorder:
    """Stands where `alembic.op` would."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sqltext: str) -> None:
        self.statements.append(" ".join(sqltext.split()))

    def get_context(self) -> Recorder:
        return self

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        yield


def name_of(file: Path) -> str:
    return f"{file.parts[-4]}/{file.stem}"


def statements_of(file: Path) -> list[str]:
    """Return what a migration runs, one statement each, on one line each."""
    spec = spec_from_file_location(f"{file.parts[-4]}_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.op = Recorder()  # type: ignore[attr-defined]
    module.upgrade()
    found: list[str] = module.op.statements
    return found


def looking(statements: list[str]) -> list[str]:
    """Return what reads every row of a table that was there, under a lock that keeps its readers out."""
    made = set(CREATED.findall(" ".join(statements)))
    altered = [found.groups() for each in statements if (found := ALTERED.match(each)) and found[1] not in made]
    actions = [action for _, actions in altered for action in NEXT_ACTION.split(actions)]
    return [action for action in actions if "CHECK (" in action and not action.endswith("NOT VALID")]


def blocking(statements: list[str]) -> list[str]:
    """Return the indexes of tables that were there which are built while nobody may write to them."""
    made = set(CREATED.findall(" ".join(statements)))
    return [each for each in statements if (found := INDEXED.match(each)) and found[1] not in made]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_constraint_is_validated_in_a_migration_of_its_own(file: Path) -> None:
    """A migration is one transaction. Whatever else it does to the table locks all readers out, and the lock would
    stay while every row is looked at."""
    statements = statements_of(file)
    assert statements
    validating = [each for each in statements if "VALIDATE CONSTRAINT" in each]
    assert not validating or validating == statements


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_migration_writes_a_table_anew(file: Path) -> None:
    """All readers would wait until the last row is written; data is made anew a page at a time, by a job."""
    assert [] == [each for each in statements_of(file) if ANEW.search(each)]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_check_is_added_without_a_look_at_the_rows(file: Path) -> None:
    """NOT VALID, which a column's own CHECK cannot be: with a column comes a named constraint."""
    found = looking(statements_of(file))
    assert (name_of(file) in CHECKED) == bool(found), found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_an_index_is_built_beside_what_is_written(file: Path) -> None:
    """By `mesh.schema.build_index`, in a migration that does nothing else: after an ALTER nobody could even read."""
    statements = statements_of(file)
    found = blocking(statements)
    assert (name_of(file) in BLOCKED) == bool(found), found
    alone = [each for each in statements if " INDEX CONCURRENTLY " in each]
    assert not alone or alone == statements


def test_the_rules_know_what_they_are_about() -> None:
    """Of tables that a migration makes there is nothing to look at, and nobody to block."""
    column = "ALTER TABLE a ADD COLUMN b int, ADD COLUMN c int CHECK (c IN (1, 2)), ALTER COLUMN d DROP NOT NULL"
    constraint = "ALTER TABLE a DROP CONSTRAINT e, ADD CONSTRAINT e CHECK (b > 0)"
    index = "CREATE UNIQUE INDEX f ON a (b)"
    assert ["ADD COLUMN c int CHECK (c IN (1, 2))", "ADD CONSTRAINT e CHECK (b > 0)"] == looking([column, constraint])
    assert [index] == blocking([index])
    assert [] == looking(["CREATE TABLE a (b int)", column, f"{constraint} NOT VALID"])
    assert [] == looking([f"{constraint} NOT VALID"])
    assert [] == blocking(["CREATE TABLE a (b int)", index]) == blocking(["CREATE INDEX CONCURRENTLY f ON a (b)"])
