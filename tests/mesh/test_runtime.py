"""A process starts only with everything in place, says in one line what is missing, and leaves in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from control.secrets import SecretFiles
from mesh import runtime, server, settings, telemetry, topology
from mesh.auth_feed import AUTH_SERVICE
from mesh.clients import Clients
from mesh.runtime import CannotStart, Hosted, Process, supervise
from mesh.settings import SettingProblem
from tests.harness import KEYS, as_service, serve, titan_contract, told_of
from tests.mesh.test_auth_feed import Auth

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def as_it_was():
    """A process sets up logs and the collector for itself; here it shares both with other tests."""
    root, sink, thresholds = logging.getLogger(), telemetry.SINK, gc.get_threshold()
    before = (root.handlers, root.level, sink.level, sink.fixed)
    yield
    root.handlers, level, sink.level, sink.fixed = before
    root.setLevel(level)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="titan-") as folder:
        yield Path(folder)


def write_topology(home: Path, services: list[str], needs: tuple[str, ...] = ()) -> Path:
    """Write a topology with one package that hosts everything."""
    real = (ROOT / "deploy" / "topology.toml").read_text()
    head = real[: real.index("[packages.")]
    callers = "\n".join(f'"{name}" = []' for name in services)
    path = home / "topology.toml"
    path.write_text(
        f"{head}\n[packages.svc_sample]\nservices = {list(services)}\nneeds = {list(needs)}\n"
        f"[packages.svc_sample.callers]\n{callers}\n"
    )
    return path


def settings_of(home: Path, topology_file: Path, **more: str) -> settings.Settings:
    environment = {
        "TITAN_HOME": str(home),
        "TITAN_TOPOLOGY": str(topology_file),
        "TITAN_LAME_DUCK_SECONDS": "0",
        **more,
    }
    return settings.read("svc_sample", environment)


def building(services, **more):
    async def build(built: runtime.Runtime) -> Hosted:
        return Hosted({name: object() for name in services}, keys=KEYS, **more)

    return build


def process(home: Path, services=None, wanted=(), declared=None, **more) -> Process:
    known = list(titan_contract().services)
    file = write_topology(home, declared or known)
    return Process(
        "svc_sample",
        building(services or known, **more),
        wanted,
        settings=settings_of(home, file, TITAN_LOG_LEVEL="ERROR"),
    )


async def test_a_process_serves_works_in_the_background_and_leaves_in_order(home):
    """Calls first, then background work, then the package's own endings."""
    events = []

    async def sweep() -> None:
        events.append("sweeping")
        try:
            await asyncio.sleep(60)
        finally:
            events.append("swept")

    async def flush() -> None:
        events.append("flushed")

    running = process(home, background=[sweep], on_stop=[flush])
    await running.start()
    async with grpc.aio.insecure_channel(f"unix:{home}/run/app/svc_sample.0.sock") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="titan.order.v1.OrderService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await running.stop()

    assert events == ["sweeping", "swept", "flushed"]


async def test_one_service_can_be_hosted_alone(home):
    """By its short name, as on the command line."""
    running = process(home, wanted=["CartService"])
    await running.start()
    async with grpc.aio.insecure_channel(f"unix:{home}/run/app/svc_sample.0.sock") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest(service="titan.cart.v1.CartService"))
        with pytest.raises(grpc.aio.AioRpcError):
            await health.Check(health_pb2.HealthCheckRequest(service="titan.order.v1.OrderService"))
    await running.stop()


@pytest.fixture
async def follower(home, monkeypatch):
    """A process that owns no keys, so that it follows AuthService, as the package that Envoy would say it is."""
    known = list(titan_contract().services)

    async def build(built: runtime.Runtime) -> Hosted:
        return Hosted({name: object() for name in known})

    monkeypatch.setattr(runtime, "Clients", partial(Clients, metadata=as_service("svc_order")))
    running = Process(
        "svc_sample", build, settings=settings_of(home, write_topology(home, known), TITAN_LOG_LEVEL="ERROR")
    )
    yield running
    await running.stop()


async def test_a_process_serves_when_it_knows_keys_and_ended_sessions(home, follower):
    """Its socket is not there before: a call that waits for it at the door is never refused for coming early."""
    socket, auth = home / "run" / "app" / "svc_sample.0.sock", Auth()
    auth.whole.clear()
    (home / "run" / "out").mkdir(parents=True)
    async with serve({AUTH_SERVICE: auth}) as channel:
        (home / "run" / "out" / "svc_sample.sock").symlink_to(channel.target.removeprefix("unix:"))
        starting = asyncio.create_task(follower.start())
        async with asyncio.timeout(3):
            while not auth.streams or not auth.asked:
                await asyncio.sleep(0.01)
        early = starting.done() or socket.exists()
        auth.whole.set()
        await asyncio.wait_for(starting, 3)
        assert not early
        assert socket.exists()
        await follower.stop()


async def test_a_process_serves_without_authservice_after_a_while(home, follower):
    """The steps of a checkout carry no user's token; they do not wait for it to come back."""
    follower._auth_patience_seconds = 0.1
    await asyncio.wait_for(follower.start(), 3)
    async with grpc.aio.insecure_channel(f"unix:{home}/run/app/svc_sample.0.sock") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_process_that_packages_alone_call_waits_for_nobody(home, follower):
    """It looks at no user's token, so it wants no keys and follows no sessions."""
    follower._wanted, follower._auth_patience_seconds = ["SalesService"], 3600
    await asyncio.wait_for(follower.start(), 3)
    assert not follower._tasks


async def test_a_process_that_waits_for_authservice_can_be_stopped(follower):
    """SIGTERM cancels the start; what had begun ends."""
    starting = asyncio.create_task(follower.start())
    async with asyncio.timeout(3):
        while not follower._tasks:
            await asyncio.sleep(0.01)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await asyncio.wait_for(follower.stop(), 3)
    assert all(task.done() for task in follower._tasks)


MIGRATION = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "0001", None, None, None

def upgrade():
    op.execute("CREATE TABLE made (n int)")
"""


async def test_a_process_migrates_its_database_and_serves_while_it_is_there(home, postgres_server, monkeypatch):
    """NOT_SERVING as soon as the database has been away for two checks, SERVING when it is back."""
    monkeypatch.setattr(server, "HEALTH_SECONDS", 0.1)
    (home / "svc_sample" / "migrations" / "versions").mkdir(parents=True)
    (home / "svc_sample" / "__init__.py").touch()
    (home / "svc_sample" / "migrations" / "versions" / "0001_first.py").write_text(MIGRATION)
    monkeypatch.syspath_prepend(str(home))
    await postgres_server.create_database("runtime", package="svc_mesh", extensions=())
    known = list(titan_contract().services)
    told = told_of("DATABASE", postgres_server.package_url("svc_mesh", "runtime"), home)
    read = settings_of(home, write_topology(home, known, ("postgres",)), TITAN_LOG_LEVEL="ERROR", **told)
    seen = []

    async def build(built: runtime.Runtime) -> Hosted:
        async with built.db.hot_read() as connection:
            seen.append(await connection.fetchval("SELECT count(*) FROM made"))
        return Hosted({name: object() for name in known}, keys=KEYS)

    async def let_in(admitted: bool) -> None:
        connection = await asyncpg.connect(postgres_server.superuser_url("postgres"))
        await connection.execute(f"ALTER DATABASE runtime ALLOW_CONNECTIONS {admitted}")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'runtime'")
        await connection.close()

    running = Process("svc_sample", build, settings=read)
    await running.start()
    assert seen == [0]
    async with grpc.aio.insecure_channel(read.listen) as channel, asyncio.timeout(10):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=known[0]))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await let_in(False)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await let_in(True)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
    await running.stop()


@pytest.mark.parametrize(
    ("changes", "problem", "message"),
    [
        ({"wanted": ["NoService"]}, CannotStart, "there is no service NoService"),
        ({"services": ["titan.order.v1.OrderService"]}, CannotStart, "but svc_sample does not build it"),
        ({"services": ["titan.none.v1.NoneService"]}, CannotStart, "no descriptor has it"),
        ({"declared": ["titan.order.v1.OrderService"]}, topology.TopologyError, "no package of the topology hosts it"),
        ({"declared": ["titan.none.v1.NoneService"]}, topology.TopologyError, "no descriptor has it"),
    ],
)
async def test_a_mismatch_of_topology_and_code_stops_the_start(home, changes, problem, message):
    """The message names the service and where to look."""
    refused = process(home, **changes)

    with pytest.raises(problem, match=message):
        await refused.start()
    await refused.stop()


async def test_a_crashed_background_task_is_started_again():
    """After a pause; one that returns has finished."""
    runs = 0

    async def shaky() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("oops")

    async with asyncio.timeout(2):
        await supervise(shaky, pauses=(0.001, 0.01))
    assert runs == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TITAN_METRICS_PORT", "99999999", "TITAN_METRICS_PORT"),
        ("TITAN_REPLICA", "one", "not a whole number"),
        ("TITAN_TRACE_SAMPLE", "2", "not between"),
        ("TITAN_MAX_RUNNING_CALLS", "0", "not between"),
        ("TITAN_LISTEN", "unix:/" + "x" * 120, "longer than"),
        ("TITAN_DATABASE_URL", "postgresql://a@h/d", "TITAN_DATABASE_PASSWORD_FILE: .* cannot be read: No such file"),
        ("TITAN_DATABASE_ADMIN_URL", "postgresql://a@[h/d", "TITAN_DATABASE_ADMIN_URL: not an address"),
        ("TITAN_REDIS_URL", "redis://h", "TITAN_REDIS_PASSWORD_FILE: .* cannot be read: No such file"),
    ],
)
def test_a_setting_of_the_wrong_form_is_named(name, value, message, tmp_path):
    """With its value, so that it can be found."""
    with pytest.raises(SettingProblem, match=message):
        settings.read("svc_sample", {"TITAN_HOME": str(tmp_path), name: value})


@pytest.mark.parametrize("server", ["TITAN_DATABASE", "TITAN_DATABASE_ADMIN", "TITAN_REDIS"])
@pytest.mark.parametrize("address", ["any://a:swordfish@h/d", "any://:swordfish@h/d", "any://a@h/d?password=swordfish"])
def test_a_password_in_an_address_is_refused(server, address):
    """The environment of a process is no place for it, and the message does not repeat it."""
    with pytest.raises(SettingProblem, match=f"{server}_URL: .* belongs into the file of {server}_PASSWORD_FILE") as no:
        settings.read("svc_sample", {f"{server}_URL": address})
    assert "swordfish" not in str(no.value)


def test_settings_know_the_files_of_secrets_and_no_secret(home):
    """Below the folder of secrets unless another is named; migrations run as the same role unless another is named."""
    secrets = SecretFiles(home / "secrets")
    known = [secrets.read(name) for name in ("database_svc_sample", "redis", "database_of_migrations")]
    addresses = {"TITAN_DATABASE_URL": "postgresql://a@h/d", "TITAN_REDIS_URL": "redis://h:1/0"}
    migrations = {
        "TITAN_DATABASE_ADMIN_URL": "postgresql://b@h/d",
        "TITAN_DATABASE_ADMIN_PASSWORD_FILE": str(home / "secrets" / "database_of_migrations"),
    }
    read = settings.read("svc_sample", {"TITAN_HOME": str(home), **addresses})
    other = settings.read("svc_sample", {"TITAN_HOME": str(home), **addresses, **migrations})

    assert known == [read.database_password.read(), read.redis_password.read(), other.database_admin_password.read()]
    assert (read.database_url, read.database_password) == (read.database_admin_url, read.database_admin_password)
    assert not any(secret in f"{read!r} {other!r}" for secret in known)


SCRIPT = """
import sys
from mesh.runtime import Hosted, main
from mesh import contract
from mesh.identity import KeySet
async def build(runtime):
    return Hosted({name: object() for name in runtime.contract.services}, keys=KeySet())
sys.argv[1:] = sys.argv[2:]
main("svc_sample", build)
"""


def start(home: Path, **environment: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "TITAN_HOME": str(home), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "-"],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_ends_a_process_cleanly(home):
    """Status 0, after a line that says it drains."""
    file = write_topology(home, list(titan_contract().services))
    with start(home, TITAN_TOPOLOGY=str(file), TITAN_LAME_DUCK_SECONDS="0") as child:
        line = child.stdout.readline()
        assert '"message":"serving"' in line
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=10)
    assert child.returncode == 0, err
    assert "draining" in out


def test_a_start_that_cannot_succeed_ends_with_one_line_and_status_78(home):
    """A supervisor can tell it from a crash, a person can read it."""
    with start(home, TITAN_TOPOLOGY=str(home / "nowhere.toml")) as child:
        _, err = child.communicate(timeout=20)
    assert child.returncode == 78
    assert err.startswith("svc_sample cannot start: there is no topology at")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("text", [None, "permit (principal", ""])
def test_a_process_without_its_policies_does_not_start(home, text):
    """A file that is missing, broken, or says less than the contract: nobody is let in by a guess."""
    path, file = home / "policies.cedar", write_topology(home, list(titan_contract().services))
    if text is not None:
        path.write_text(text)
    with start(home, TITAN_TOPOLOGY=str(file), TITAN_POLICIES=str(path)) as child:
        _, err = child.communicate(timeout=20)
    assert child.returncode == 78
    assert err.startswith(f"svc_sample cannot start: {path}: the policies cannot be ")
