"""Secrets are in files and nowhere else, and passwords are replaced under a mesh that works."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from mesh.secret_files import SecretFile
from tests.journeys.conftest import RunningMesh, until
from tests.journeys.test_changes import orders_placed_meanwhile

pytestmark = pytest.mark.timeout(60)

REPLACED = ("database_svc_order", "database_svc_cart", "redis")


def test_no_process_shows_a_secret(mesh: RunningMesh) -> None:
    """Neither in its arguments nor in its environment: the system shows both to others, and a child inherits one."""
    secrets = {file.name: SecretFile(file).read().encode() for file in (mesh.home / "secrets").iterdir()}
    supervisor = psutil.Process(int((mesh.home / "run" / "supervisor.pid").read_text()))
    looked_at = set()
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with suppress(FileNotFoundError, ProcessLookupError):  # a session of Postgres that has just ended
            shown = b"".join(Path("/proc", str(process.pid), what).read_bytes() for what in ("cmdline", "environ"))
            assert [] == [name for name, secret in secrets.items() if secret in shown], shown.split(b"\0")[:3]
            looked_at.add(process.pid)

    assert {each["pid"] for each in mesh.read_endpoints()["processes"]} <= looked_at
    assert len(secrets) > 10


async def test_passwords_are_replaced_under_orders(mesh: RunningMesh) -> None:
    """No call fails, no process starts again; the old passwords open nothing, and new connections use the new ones."""
    before, pids = mesh.read_endpoints(), [(each["name"], each["pid"]) for each in mesh.endpoints["processes"]]
    files = {name: SecretFile(mesh.home / "secrets" / name) for name in REPLACED}
    old = {name: file.read() for name, file in files.items()}
    with orders_placed_meanwhile(mesh) as answers:
        for name in REPLACED:
            replaced = mesh.control("rotate", name)
            assert 0 == replaced.returncode, replaced.stderr
        after = len(answers)
        until(lambda: len(answers) > after + 5)
    assert all([old[name]] != list(file.read_all()) and 1 == len(file.read_all()) for name, file in files.items())

    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(before["redis"]).ping()
    superuser = await asyncpg.connect(before["postgres"]["svc_order"])
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename ~ '^svc_(order|cart)$'"
    )
    await superuser.close()
    redis.Redis.from_url(mesh.read_endpoints()["redis"]).client_kill_filter(_type="normal", skipme=True)
    shopper = mesh.guest()
    until(lambda: shopper.send("GET", "/v1/cart").status_code == 200)
    with orders_placed_meanwhile(mesh) as answers:
        until(lambda: len(answers) > 3)
    assert pids == [(each["name"], each["pid"]) for each in mesh.read_endpoints()["processes"]]


def test_a_password_that_there_is_not_is_refused(mesh: RunningMesh) -> None:
    """With the names of those that there are."""
    refused = mesh.control("rotate", "database_svc_nothing")

    assert 1 == refused.returncode
    assert "there is no password database_svc_nothing; there are database_svc_auth," in refused.stderr
