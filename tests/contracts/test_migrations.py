"""What every migration keeps to, read from the statements that it would run."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("svc_*/migrations/versions/*.py"))


ANEW = re.compile(r"\bALTER TABLE\b.*(SET EXPRESSION|\bTYPE\b|ADD COLUMN[^,]* (GENERATED|AS IDENTITY))")
"""What writes every row of a table, while nobody can read one."""


class Recorder:
    """Stands where `alembic.op` would."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sqltext: str) -> None:
        self.statements.append(" ".join(sqltext.split()))


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


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-4]}/{file.stem}")
def test_a_constraint_is_validated_in_a_migration_of_its_own(file: Path) -> None:
    """A migration is one transaction. Whatever else it does to the table locks all readers out, and the lock would
    stay while every row is looked at."""
    statements = statements_of(file)
    assert statements
    validating = [each for each in statements if "VALIDATE CONSTRAINT" in each]
    assert not validating or validating == statements


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-4]}/{file.stem}")
def test_no_migration_writes_a_table_anew(file: Path) -> None:
    """All readers would wait until the last row is written; data is made anew a page at a time, by a job."""
    assert [] == [each for each in statements_of(file) if ANEW.search(each)]
