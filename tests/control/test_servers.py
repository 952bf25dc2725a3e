"""The embedded servers start by themselves, keep their databases apart, and die with whoever started them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from confluent_kafka import Producer

from control.home import PORT_SPAN
from control.secrets import SecretFiles
from control.servers import ports
from control.servers.broker import Broker
from control.servers.mailbox import Mailbox
from control.servers.ports import claim_block, free_port, port_is_taken
from control.servers.postgres import EXTENSIONS, READER, Postgres
from control.servers.server import ask
from control.servers.valkey import Valkey
from control.spawn import StartFailed
from mesh.secret_files import SecretFile

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("svc_red", "svc_green", "svc_blue")
READABLE = ("svc_red", "svc_green")


@pytest.fixture(scope="module")
async def databases(postgres_server: Postgres) -> Postgres:
    """A server with three packages on it, made twice to show that this is safe."""
    await postgres_server.create_databases(PACKAGES, readable=READABLE)
    await postgres_server.create_databases(PACKAGES, readable=READABLE)
    return postgres_server


async def test_every_role_is_refused_on_every_database_but_its_own(databases: Postgres):
    """A package that lost its password endangers its own rows only; the reader sees what was opened to it."""
    opened = set()
    for role in (*PACKAGES, READER):
        for database in (*PACKAGES, "postgres", "template1"):
            url = databases.reader_url(database) if role == READER else databases.package_url(role, database)
            try:
                connection = await asyncpg.connect(url)
            except asyncpg.InsufficientPrivilegeError:
                continue
            opened.add((role, database))
            await connection.close()

    assert {(name, name) for name in PACKAGES} | {(READER, name) for name in READABLE} == opened


async def test_the_reader_reads_every_table_and_changes_nothing(databases: Postgres):
    """Also a table that a later migration makes; a check from outside can't disturb what it checks."""
    owner = await asyncpg.connect(databases.package_url("svc_red"))
    reader = await asyncpg.connect(databases.reader_url("svc_red"))
    try:
        await owner.execute("CREATE TABLE seen (n integer); INSERT INTO seen VALUES (7)")
        assert 7 == await reader.fetchval("SELECT n FROM seen")
        for change in ("DELETE FROM seen", "INSERT INTO seen VALUES (8)", "UPDATE seen SET n = 8", "CREATE TABLE t ()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(change)
    finally:
        await owner.close()
        await reader.close()


async def test_a_role_without_its_password_is_refused(databases: Postgres):
    """Standing on the same machine opens nothing."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://svc_red:wrong@127.0.0.1:{databases.port}/svc_red")


async def test_values_of_a_row_are_not_logged(databases: Postgres):
    """A name that is taken is nobody else's business, and whoever reads logs is somebody else."""
    connection = await asyncpg.connect(databases.package_url("svc_red"))
    try:
        await connection.execute("CREATE TABLE taken (name text UNIQUE)")
        for refusal in (contextlib.nullcontext(), pytest.raises(asyncpg.UniqueViolationError)):
            with refusal:
                await connection.execute("INSERT INTO taken VALUES ($1)", "canary@example.com")
    finally:
        await connection.close()

    told = databases.log.read_text()
    assert "duplicate key" in told
    assert "canary" not in told


async def test_a_package_owns_its_database_and_finds_the_extensions(databases: Postgres):
    """Migrations run as the package's own role, and need no superuser."""
    connection = await asyncpg.connect(databases.package_url("svc_red"))
    try:
        await connection.execute("CREATE TABLE owned (embedding vector(3))")
        present = {row["extname"] for row in await connection.fetch("SELECT extname FROM pg_extension")}
    finally:
        await connection.close()

    assert set(EXTENSIONS) <= present


async def test_durability_is_on(databases: Postgres):
    """What was committed survives a power cut."""
    connection = await asyncpg.connect(databases.url)
    try:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert "on" == await connection.fetchval("SELECT current_setting($1)", setting)
    finally:
        await connection.close()


async def test_valkey_answers_only_with_the_password(valkey_server: Valkey):
    """The URL is enough to use it; the port alone is not."""
    async with redis.asyncio.from_url(valkey_server.url) as client:
        assert await client.ping()
    assert ask(valkey_server.port, b"GET cart\r\n").startswith(b"-NOAUTH")


def test_the_broker_takes_an_idempotent_message(kafka_broker: Broker):
    """A topic appears when it is first written to."""
    producer = Producer({"bootstrap.servers": kafka_broker.url, "enable.idempotence": True, "acks": "all"})
    problems: list[object] = []

    producer.produce("titan.test.v1", b"value", b"key", on_delivery=lambda problem, _: problems.append(problem))

    assert 0 == producer.flush(10)
    assert [None] == problems


async def test_mail_lands_in_the_maildir(mailbox_server: Mailbox):
    """A message that was accepted is a file."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mailbox_server.port)
    lines = ("HELO test", "MAIL FROM:<shop@titan.local>", "RCPT TO:<anna@example.com>", "DATA")
    for line in lines:
        await reader.readline()
        writer.write(f"{line}\r\n".encode())
    await reader.readline()
    writer.write(b"Subject: Receipt\r\n\r\nThank you.\r\n.\r\n")
    assert (await reader.readline()).startswith(b"250")
    writer.close()

    (message,) = (mailbox_server.data / "new").iterdir()
    assert "Subject: Receipt" in message.read_text()


def secret_in(folder: Path) -> SecretFile:
    """Return the file of a new password."""
    return SecretFiles(folder).file("redis")


def test_a_taken_port_is_named_before_anything_starts(valkey_server: Valkey, tmp_path: Path):
    """The message says which server wanted which port."""
    second = Valkey(data=tmp_path / "data", log=tmp_path / "log", password=secret_in(tmp_path), port=valkey_server.port)

    with pytest.raises(StartFailed, match=f"valkey cannot start: port {valkey_server.port} .* is taken"):
        second.start()


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path):
    """A start that fails says why."""

    class Misconfigured(Valkey):
        def prepare(self) -> None:
            super().prepare()
            (self.data / "valkey.conf").write_text("no-such-setting yes\n")

    with pytest.raises(StartFailed, match=r"(?s)valkey ended with status 1\..*no-such-setting"):
        Misconfigured(data=tmp_path / "data", log=tmp_path / "log", password=secret_in(tmp_path)).start()


def test_postgres_survives_kill_and_starts_again(titan_home: Path, secret_files: SecretFiles):
    """The lock file of a killed server neither blocks the next one nor passes for its readiness."""
    server = Postgres(data=titan_home / "killed" / "data", log=titan_home / "killed.log", secrets=secret_files)
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.stop()

    with server:
        assert server.pid not in (None, pid)
        connected = asyncio.new_event_loop().run_until_complete(asyncpg.connect(server.url))
        connected.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand its servers to another account")
def test_postgres_moves_to_its_shelter_when_root_keeps_it_from_its_account(titan_home: Path, secret_files: SecretFiles):
    """A clone in root's own home works too."""
    closed = titan_home / "closed"
    closed.mkdir(mode=0o700)
    shelter = titan_home / "open"
    server = Postgres(data=closed / "postgres", log=titan_home / "closed.log", secrets=secret_files, shelter=shelter)

    with server:
        assert shelter / "data" == server.data


def test_servers_die_with_the_process_that_started_them(tmp_path: Path):
    """A test run that is killed leaves no server on its ports."""
    port = free_port()
    script = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from control.servers.valkey import Valkey
        from mesh.secret_files import SecretFile
        folder, password = Path({str(tmp_path)!r}), SecretFile(Path({str(secret_in(tmp_path).path)!r}))
        Valkey(data=folder, log=folder / "log", password=password, port={port}).start()
        print("ready", flush=True)
        signal.pause()
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert "ready\n" == parent.stdout.readline()
        assert port_is_taken(port)
        parent.kill()

    deadline = time.monotonic() + 5
    while port_is_taken(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not port_is_taken(port)


def test_a_free_port_is_no_one_elses_while_its_process_lives():
    """A server that starts again finds its port: neither another run nor any client's connection took it meanwhile."""
    script = textwrap.dedent("""
        import sys
        from control.servers import ports
        ports.FIRST_BLOCK = ports.LAST_BLOCK = int(sys.argv[1])
        print(ports.claim_block())
    """)
    mine = claim_block()

    def claim_elsewhere() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, str(mine)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert f"OSError: no {PORT_SPAN} free ports in a row from {mine}" in claim_elsewhere().stderr
    ports._claims.pop().close()
    assert f"{mine}\n" == claim_elsewhere().stdout
    given = {free_port() for _ in range(PORT_SPAN + 1)}
    assert PORT_SPAN + 1 == len(given)
    lowest_of_the_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(given) < lowest_of_the_kernel
