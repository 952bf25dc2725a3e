"""`make audit-verify`: what it reads, what it remembers, and what it says of a chain that lost its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from control import audit as verifying
from control.atomic_file import replace_text
from mesh import audit
from mesh.audit import Command
from mesh.database import Database
from mesh.sealing import Head

PACKAGE = "svc_notify"


@pytest.fixture(scope="module")
async def notify(fresh_database: Callable[[str], Awaitable[str]]) -> str:
    """A database with an audit log of one entry a block."""
    url = await fresh_database(PACKAGE)
    db = await Database.connect(url, pool_size=2, name=PACKAGE)
    for number in range(3):
        async with db.hot() as tx:
            await audit.accept(tx, f"things/{number}", Command("a.test.Of.This"))
        while not await audit.seal(db):
            pass
    await db.close()
    return url


async def verify(url: str, folder: Path, *more: str) -> int:
    """Run the command as it is typed, in a thread: it has a loop of its own."""
    parts, passwords = urlsplit(url), folder / "pgpass"
    replace_text(passwords, f"*:*:*:*:{parts.password}\n")
    place = f"{parts.username}@{parts.hostname}:{parts.port}{parts.path}"
    database = f"{PACKAGE}=postgresql://{place}?passfile={passwords}"
    arguments = ["--database", database, "--heads", str(folder / "heads.json"), *more]
    return await asyncio.to_thread(verifying.main, arguments)


async def test_a_whole_log_is_verified_and_its_head_is_kept(notify: str, tmp_path: Path, capsys: Any):
    """The next run begins there; what it has read once it does not read again."""
    assert 0 == await verify(notify, tmp_path)
    head = verifying.read_heads(tmp_path / "heads.json")[PACKAGE]
    assert 3 == head.height
    capsys.readouterr()
    assert 0 == await verify(notify, tmp_path, "--new")
    assert [PACKAGE, "1", "1", "0"] == row_of(capsys.readouterr().out)[:4]


def row_of(printed: str) -> list[str]:
    """Return the cells of the package's row."""
    (line,) = (line for line in printed.splitlines() if PACKAGE in line)
    return [cell for cell in line.replace("│", " ").split() if cell]


async def test_the_end_that_was_cut_off_is_missed(
    notify: str, postgres_server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """By the head of the run before, and by what the service wrote into its log; without either it looks whole."""
    assert 0 == await verify(notify, tmp_path)
    head = verifying.read_heads(tmp_path / "heads.json")[PACKAGE]
    log = tmp_path / "svc.log"
    line = {"message": "audit block sealed", "package": PACKAGE, "height": head.height, "hash": head.hash.hex()}
    log.write_text(json.dumps(line, separators=(",", ":")) + '\n{"message":"audit block sealed","pack')
    superuser = await asyncpg.connect(postgres_server.superuser_url(notify.rpartition("/")[2]))
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(
        f"DELETE FROM audit_entries WHERE xid >= (SELECT from_xid FROM audit_blocks WHERE height = {head.height});"
        f"DELETE FROM audit_blocks WHERE height = {head.height}"
    )
    await superuser.close()

    (fresh := tmp_path / "fresh").mkdir()
    assert 0 == await verify(notify, fresh, "--log", "/dev/null")
    for folder, more in ((tmp_path, ("--log", "/dev/null")), (fresh, ("--log", str(log)))):
        capsys.readouterr()
        assert 1 == await verify(notify, folder, *more)
        assert f"{PACKAGE}: block {head.height}: it was there, and is gone" in capsys.readouterr().out
    assert head == verifying.read_heads(tmp_path / "heads.json")[PACKAGE], "a broken chain gives no head"


async def test_nothing_verified_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No mesh, and no database that answers, are told apart from a whole log."""
    monkeypatch.setenv("TITAN_HOME", str(tmp_path))
    assert 2 == verifying.main([])
    assert 2 == await verify("postgresql://nobody@127.0.0.1:1/nothing", tmp_path)


@pytest.mark.parametrize(
    "dsn", ["postgresql://a:swordfish@h/d", "postgresql://a@h/d?sslmode=prefer&password=swordfish"]
)
def test_a_password_is_no_argument(capsys: pytest.CaptureFixture[str], dsn: str):
    """Every account of the machine can read the arguments of a process."""
    with pytest.raises(SystemExit) as ended:
        verifying.main(["--database", f"svc_order={dsn}"])

    printed = capsys.readouterr().err
    assert 2 == ended.value.code and "passfile" in printed and "swordfish" not in printed


def test_the_newest_head_of_each_log_counts(tmp_path: Path):
    """Of each process and package; other lines say nothing."""
    lines = [
        {"message": "audit block sealed", "package": "a", "height": 1, "hash": "00"},
        {"message": "call", "package": "a", "height": 9, "hash": "00"},
        {"message": "audit block sealed", "package": "a", "height": 2, "hash": "01"},
    ]
    file = tmp_path / "svc_a.log"
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    assert {"a": [Head(2, b"\x01")]} == verifying.heads_of_logs([file])
