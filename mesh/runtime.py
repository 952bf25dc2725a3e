"""The life of a service process, from its settings to its last flushed line; the same for every package.

It reads, connects, checks, builds, serves, and leaves when told. What a package is made of it learns from the `build`
function of that package's `app.py`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from mesh import audit, calls, contract, policies, telemetry, topology
from mesh import settings as mesh_settings
from mesh.auth_feed import AUTH_SERVICE, AuthFeed
from mesh.clients import Clients
from mesh.contract import Contract
from mesh.database import Database
from mesh.identity import KeySource, RevocationView, TokenVerifier
from mesh.interceptors.admission import Admission
from mesh.interceptors.audit import Accesses, Denials
from mesh.interceptors.chain import standard_stages
from mesh.migrations import MigrationBlocked, upgrade
from mesh.postgres import UnsafeDurability
from mesh.refusals import Refusal, Unavailable
from mesh.seams import Clock, Ids, SystemClock, SystemIds
from mesh.secret_files import SecretUnusable
from mesh.server import AddressTaken, Server
from mesh.settings import Settings
from mesh.topology import Topology

if TYPE_CHECKING:
    from redis.asyncio import Redis

CANNOT_START = 78
"""EX_CONFIG of sysexits.h: starting again will not help until a person changes something."""

TRY_AGAIN = 75
"""EX_TEMPFAIL: what the process needs is not there yet."""

CRASHED = 70
"""EX_SOFTWARE: an exception that nobody expected."""

POOL_CONNECTIONS = 10
PATIENCE_SECONDS = 30.0
AUTH_PATIENCE_SECONDS = 8.0
"""How long a start waits for keys and ended sessions: longer than AuthService is behind when a mesh starts on a machine
that is busy. Then it serves without them: what carries no user's token, such as the
steps of a checkout, must not wait for AuthService to come back."""

BACKOFF_SECONDS = (0.2, 10.0)

Background = Callable[[], Awaitable[None]]
log = telemetry.get_logger("mesh.runtime")


class CannotStart(Exception):
    """The process must not serve like this; the message is one line for a person."""


@dataclass(frozen=True)
class Runtime:
    """What a package builds itself from."""

    package: str
    settings: Settings
    db: Database | None
    redis: Redis | None
    clients: Clients
    clock: Clock
    ids: Ids
    contract: Contract
    topology: Topology


@dataclass(frozen=True)
class Hosted:
    """What a package hosts.

    `servicers` by full gRPC service name; `background` runs until cancelled and is started again when it crashes;
    `on_stop` runs after the last call has ended. A package that owns keys and revocations itself (svc_auth) gives its
    `keys` and `revocations`; every other follows AuthService.
    """

    servicers: Mapping[str, object]
    background: Sequence[Background] = ()
    on_stop: Sequence[Background] = ()
    keys: KeySource | None = None
    revocations: RevocationView | None = None


Build = Callable[[Runtime], Awaitable[Hosted]]


def main(package: str, build: Build) -> None:
    """Run a process of `package` until SIGTERM; the command line names the services to host, all of them by default."""
    try:
        status = uvloop.run(_life(package, build, sys.argv[1:]))
    except (CannotStart, mesh_settings.SettingProblem, contract.ContractProblem, topology.TopologyError) as problem:
        status = _complain(package, problem, CANNOT_START)
    except (policies.PolicyProblem, UnsafeDurability, AddressTaken, SecretUnusable) as problem:
        status = _complain(package, problem, CANNOT_START)
    except (Unavailable, MigrationBlocked) as problem:
        status = _complain(package, problem, TRY_AGAIN)
    except Exception as error:
        # Not left to the interpreter, which would print whatever the exception carries.
        log.exception("crashed", error, package=package)
        status = CRASHED
    sys.exit(status)


def _complain(package: str, problem: Exception, status: int) -> int:
    lines = str(problem).splitlines() or [type(problem).__name__]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    print(f"{package} cannot start: {lines[0]}{more}", file=sys.stderr, flush=True)
    for line in lines[1:]:
        print(f"  {line}", file=sys.stderr, flush=True)
    return status


async def _life(package: str, build: Build, wanted: Sequence[str]) -> int:
    stop = asyncio.Event()
    running = asyncio.current_task()
    loop = asyncio.get_running_loop()
    starting = True

    def told_to_stop() -> None:
        stop.set()
        if starting and running is not None:
            running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    process = Process(package, build, wanted)
    try:
        await process.start()
        starting = False
        await stop.wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        starting = False
        await process.stop()
    return 0


class Process:
    """One process of a package, without signals and exit codes, so that a test can run it in its own loop."""

    def __init__(
        self,
        package: str,
        build: Build,
        wanted: Sequence[str] = (),
        *,
        settings: Settings | None = None,
        auth_patience_seconds: float = AUTH_PATIENCE_SECONDS,
    ) -> None:
        self.package = package
        self._build = build
        self._wanted = wanted
        self._settings = settings
        self._auth_patience_seconds = auth_patience_seconds
        self._closers: list[Background] = []
        self._probe: Database | None = None
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._hosted: Hosted | None = None

    async def start(self) -> None:
        """Connect, check, build and serve.

        Raises:
            CannotStart, SettingProblem, SecretUnusable, ContractProblem, TopologyError, PolicyProblem,
                UnsafeDurability, AddressTaken: A person has to change something.
            Unavailable: The database does not answer.
        """
        began = time.monotonic()
        settings = self._settings or mesh_settings.read(self.package)
        self._settings = settings
        self._start_telemetry(settings)
        known = contract.load()
        known.check()
        mesh = topology.load(settings.topology)
        mesh.check_against(known.services)
        if self.package not in mesh.packages:
            raise CannotStart(f"the topology has no package {self.package}")
        known_policies = policies.load(settings.policies, known, mesh.packages[self.package].services)

        needs = mesh.packages[self.package].needs
        db = await self._connect_database(settings) if "postgres" in needs else None
        redis = self._connect_redis(settings) if "redis" in needs else None
        clients = Clients(settings.outbound)
        self._closers.append(clients.close)
        runtime = Runtime(self.package, settings, db, redis, clients, SystemClock(), SystemIds(), known, mesh)
        self._hosted = hosted = await self._build(runtime)
        services = self._choose(hosted.servicers, mesh, known)

        # Where packages alone call, no user's token is looked at: it needs no keys, and does not wait for them.
        outward = known.only(services).public_services()
        verifier = await self._verifier(hosted, clients, known, mesh) if outward else None
        admission = Admission(settings.max_running_calls)
        admission.publish()
        stages = standard_stages(
            verifier=verifier,
            admission=admission,
            policies=known_policies,
            denials=None if db is None else Denials(db),
            accesses=None if db is None else Accesses(db),
            callers={name: frozenset(mesh.callers_of(name)) for name in services},
            trust_domain=mesh.trust_domain,
        )
        self._server = Server(
            listen=settings.listen,
            contract=known,
            services=services,
            stages=stages,
            check=health_check(self._probe, redis),
        )
        await self._server.start()
        for task in hosted.background:
            self._run_in_background(task)
        if db is not None:
            self._run_in_background(audit.Sealer(db).follow)
        # What was made until now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        log.info("serving", services=sorted(services), ready_ms=round((time.monotonic() - began) * 1000))

    async def stop(self) -> None:
        """Leave in order: health, running calls, background work, the package's own endings, connections, telemetry."""
        settings = self._settings
        if self._server is not None and settings is not None:
            log.info("draining")
            await self._server.drain(lame_duck_seconds=settings.lame_duck_seconds, grace_seconds=settings.drain_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ending in (*(self._hosted.on_stop if self._hosted is not None else ()), *reversed(self._closers)):
            try:
                async with asyncio.timeout(5):
                    await ending()
            except Exception as error:
                log.exception("could not end cleanly", error, step=name_of(ending))

    def _start_telemetry(self, settings: Settings) -> None:
        try:
            started = telemetry.setup(settings)
        except OSError as error:
            raise CannotStart(f"the metrics port {settings.metrics_port} cannot be used: {error.strerror}") from None

        async def close() -> None:
            await asyncio.to_thread(started.close)

        self._closers.append(close)

    async def _connect_database(self, settings: Settings) -> Database:
        if not settings.database_url:
            raise CannotStart("TITAN_DATABASE_URL is not set")
        opened = partial(Database.connect, settings.database_url, password=settings.database_password)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                db = await opened(pool_size=POOL_CONNECTIONS, name=self.package)
                break
            except Unavailable as error:
                if time.monotonic() > until:
                    raise
                log.warning("waiting for the database", error=str(error))
                await asyncio.sleep(0.5)
        self._closers.append(db.close)
        # A connection of its own: a pool that is busy must not look like a database that is down.
        self._probe = await opened(pool_size=1, name=f"{self.package} health")
        self._closers.append(self._probe.close)
        await upgrade(self.package, settings.database_admin_url, settings.database_admin_password)
        return db

    def _connect_redis(self, settings: Settings) -> Redis:
        if settings.redis_password is None:
            raise CannotStart("TITAN_REDIS_URL is not set")
        from mesh.redis_client import open_redis

        redis = open_redis(settings.redis_url, settings.redis_password)
        self._closers.append(redis.aclose)
        return redis

    def _choose(self, servicers: Mapping[str, object], mesh: Topology, known: Contract) -> dict[str, object]:
        """Return the servicers that this process hosts, after holding them against the topology and the contract."""
        declared = set(mesh.packages[self.package].services)
        for name in servicers:
            if name not in known.services:
                raise CannotStart(f"{name} is hosted here, but no descriptor has it")
            if name not in declared:
                raise CannotStart(f"{name} is hosted here, but the topology does not say so: add it to `services`")
        missing = sorted(declared - set(servicers))
        if missing:
            raise CannotStart(f"the topology hosts {', '.join(missing)} here, but {self.package} does not build it")
        if not self._wanted:
            return dict(servicers)
        chosen: dict[str, object] = {}
        for word in self._wanted:
            found = [name for name in servicers if word in (name, name.rpartition(".")[2])]
            if not found:
                raise CannotStart(f"there is no service {word}; this package hosts {', '.join(sorted(servicers))}")
            chosen.update((name, servicers[name]) for name in found)
        return chosen

    def _run_in_background(self, task: Background) -> None:
        self._tasks.append(asyncio.create_task(supervise(task), name=name_of(task)))

    async def _verifier(self, hosted: Hosted, clients: Clients, known: Contract, mesh: Topology) -> TokenVerifier:
        keys, revocations = hosted.keys, hosted.revocations
        if keys is None and AUTH_SERVICE in known.services:
            feed = AuthFeed(clients, known)
            self._run_in_background(feed.follow)
            # Before the socket exists: calls wait at the door for a process that starts, and one that served them too
            # early would refuse every change, for want of knowing which sessions have ended.
            if not await feed.complete(within_seconds=self._auth_patience_seconds):
                log.warning("serving without AuthService: users' changes are refused until it answers")
            keys, revocations = feed.keys, feed.revocations
        if keys is None:
            raise CannotStart("nothing verifies tokens: the contract has no AuthService and the package gives no keys")
        return TokenVerifier(
            keys,
            revocations=revocations,
            issuer=mesh.token_issuer,
            audience=mesh.token_audience,
            cell=mesh.cell,
            max_lifetime_seconds=mesh.token_max_lifetime_seconds,
        )


def health_check(db: Database | None, redis: Any) -> Callable[[], Awaitable[bool]]:
    """Return the check of what this process cannot do without: its own database, and its Redis where it has one."""

    async def check() -> bool:
        if db is not None and not await db.healthy():
            return False
        return redis is None or bool(await redis.ping())

    return check


async def supervise(task: Background, *, pauses: tuple[float, float] = BACKOFF_SECONDS) -> None:
    """Run a background task, and again after a pause when it crashes; one that returns has finished."""
    least, most = pauses
    pause = least
    name = name_of(task)
    while True:
        began = time.monotonic()
        try:
            with calls.detached():
                await task()
            return
        except Refusal as refusal:
            # A dependency that is away is no defect of the task: a line, not a traceback.
            log.warning("background task refused", task=name, reason=refusal.reason, error=str(refusal))
        except Exception as error:
            log.exception("background task crashed", error, task=name)
        telemetry.RESTARTS.labels(name).inc()
        if time.monotonic() - began > 60:
            pause = least
        await asyncio.sleep(pause)
        pause = min(most, pause * 2)


def name_of(task: Any) -> str:
    """Return a name for a callable that means something in a log."""
    return getattr(task, "__qualname__", None) or type(task).__name__


__all__ = ["Hosted", "Process", "Runtime", "main"]
