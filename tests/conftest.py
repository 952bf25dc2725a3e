"""Fixtures that every test may use: the embedded servers, fresh databases, and gRPC servers in the test's own loop.

The servers start when the first test asks for them, on free ports, in a folder of their own; they die with the test
process, however it ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from control.secrets import SecretFiles
from control.servers.broker import Broker
from control.servers.mailbox import Mailbox
from control.servers.postgres import Postgres
from control.servers.valkey import Valkey
from mesh.database import Database

TESTS = Path(__file__).parent
_FOLDER_PREFIX = "titan-test-"
_IN_MEMORY = Path("/dev/shm")
_SPARE_BYTES = 12 * 2**30
"""What a machine must have to spare for the databases of three runs (a gigabyte each) to be kept in its memory."""


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C, so that a run that is broken off or out of time takes its servers with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep thousands of tests, which stay to the end, out of every look for garbage: a seventh of a run's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _spare_bytes(folder: Path) -> int:
    """Return what may be written into a folder of memory: no more than it has room, nor than the machine has free."""
    return min(shutil.disk_usage(folder).free, psutil.virtual_memory().available)


@pytest.fixture(scope="session")
def titan_home() -> Iterator[Path]:
    """A folder for this test run, short enough for Unix sockets; folders of runs that were killed are removed.

    It is in memory where there is plenty: a disk that others use makes the tests wait for it half of their time, and
    what must survive is killed here, never a machine.
    """
    place = Path(tempfile.gettempdir())
    if "TMPDIR" not in os.environ and os.access(_IN_MEMORY, os.W_OK) and _spare_bytes(_IN_MEMORY) >= _SPARE_BYTES:
        place = _IN_MEMORY
    for leftover in place.glob(f"{_FOLDER_PREFIX}*"):
        owner = leftover.name.removeprefix(_FOLDER_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-", dir=place))
    folder.chmod(0o711)  # the account that Postgres runs as has to pass through
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def secret_files(titan_home: Path) -> SecretFiles:
    """The secrets of this test run."""
    return SecretFiles(titan_home / "secrets")


@pytest.fixture(scope="session")
def postgres_server(titan_home: Path, secret_files: SecretFiles) -> Iterator[Postgres]:
    """A Postgres with the settings of the real one."""
    data, log = titan_home / "data" / "postgres", titan_home / "log" / "postgres.log"
    with Postgres(data=data, log=log, secrets=secret_files, shelter=titan_home / "shelter") as server:
        yield server
        if server.pid is not None:
            os.kill(server.pid, signal.SIGQUIT)  # at once: nobody needs what a checkpoint would take seconds to write


@pytest.fixture(scope="session")
def valkey_server(titan_home: Path, secret_files: SecretFiles) -> Iterator[Valkey]:
    """A Redis; its `url` carries the password. Tests that share it keep to keys of their own."""
    data, log = titan_home / "data" / "valkey", titan_home / "log" / "valkey.log"
    with Valkey(data=data, log=log, password=secret_files.file("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_broker(titan_home: Path) -> Iterator[Broker]:
    """A Kafka-protocol broker; its `url` is the bootstrap address. Topics appear when first used."""
    with Broker(data=titan_home / "data" / "kafka", log=titan_home / "log" / "kafka.log") as server:
        yield server


@pytest.fixture(scope="session")
def mailbox_server(titan_home: Path) -> Iterator[Mailbox]:
    """An SMTP server; `url` is host:port and `data` the Maildir."""
    with Mailbox(data=titan_home / "mail", log=titan_home / "log" / "mailbox.log") as server:
        yield server


class FreshDatabases:
    """Makes databases that carry a package's migrations: migrated once per run, then copied."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._templates: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self._made = 0

    async def __call__(self, package: str) -> str:
        """Return the DSN, for the package's own role, of a new database with its migrations applied."""
        async with self._turn:
            template = self._templates.get(package) or await self._migrate(package)
            self._made += 1
            name = f"{package}_{self._made}"
            await self._server.copy_database(name, template=template, owner=package)
        return self._server.package_url(package, name)

    async def _migrate(self, package: str) -> str:
        from mesh.migrations import upgrade

        template = f"{package}_template"
        await self._server.create_database(template, package=package)
        await upgrade(package, self._server.package_url(package, template))
        self._templates[package] = template
        return template


@pytest.fixture(scope="session")
def fresh_database(postgres_server: Postgres) -> Callable[[str], Awaitable[str]]:
    """`await fresh_database("svc_order")` is the DSN of a new, migrated database of that package."""
    return FreshDatabases(postgres_server)


@pytest.fixture(scope="module")
async def database_url(fresh_database: Callable[[str], Awaitable[str]], request: pytest.FixtureRequest) -> str:
    """The DSN of a module's own database; whatever stands in `tests/svc_order/` gets one of svc_order."""
    return await fresh_database(request.path.relative_to(TESTS).parts[0])


@pytest.fixture(scope="module")
async def db(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """That database, open."""
    database = await Database.connect(database_url, name=request.path.stem)
    yield database
    await database.close()


# gRPC over grpc.aio, under the fixture names of pytest-grpc, whose own are synchronous and never await a handler.
# A test module defines grpc_add_to_server, grpc_servicer and grpc_stub_cls, and may override grpc_interceptors.


@pytest.fixture(scope="module")
def grpc_interceptors() -> Sequence[grpc.aio.ServerInterceptor]:
    """The server's interceptors; none unless a module says so."""
    return ()


@pytest.fixture(scope="module")
async def grpc_server(
    grpc_add_to_server: Callable[[Any, grpc.aio.Server], None],
    grpc_servicer: Any,
    grpc_interceptors: Sequence[grpc.aio.ServerInterceptor],
) -> AsyncIterator[grpc.aio.Server]:
    """A server in the test's loop, on a port of its own (`server.port`)."""
    server = grpc.aio.server(interceptors=list(grpc_interceptors), options=[("grpc.so_reuseport", 0)])
    grpc_add_to_server(grpc_servicer, server)
    server.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server
    await server.stop(grace=None)


@pytest.fixture(scope="module")
async def grpc_channel(grpc_server: grpc.aio.Server) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to that server."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_server.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def grpc_stub(grpc_stub_cls: Callable[[grpc.aio.Channel], Any], grpc_channel: grpc.aio.Channel) -> Any:
    """The stub on that channel."""
    return grpc_stub_cls(grpc_channel)
