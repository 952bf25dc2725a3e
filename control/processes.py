"""What a mesh is made of: the table of its processes, and the order in which they start. Built from the topology."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from control import logs, membership, render, spawn, topology_file
from control.atomic_file import replace_text
from control.authority import Authority
from control.envoy_names import EDGE, MESH, PUBLIC, admin_socket, config_file, secret_file
from control.home import Home
from control.membership import Membership
from control.probes import grpc_health, http_health
from control.public_certificate import PublicCertificate
from control.remote import Refused
from control.render import Options, Surface
from control.rotation import Learn, Rotation
from control.secrets import SecretFiles
from control.servers import envoy
from control.servers.broker import Broker
from control.servers.mailbox import Mailbox
from control.servers.ports import HOST
from control.servers.postgres import READER, SUPERUSER, Postgres, secret_of
from control.servers.server import Server
from control.servers.valkey import REDIS_SECRET, Valkey
from control.spawn import Program, StartFailed
from control.supervised import Process, Supervised, ended
from control.supervisor import Plan, Stage
from control.topology_file import ROOT
from mesh.topology import Package, Topology, TopologyError

EDGE_PACKAGE = "edge_http"
AUTH_PACKAGE = "svc_auth"
ADMIN_EMAIL = "admin@titan.local"
IMPORTER_EMAIL = "importer@titan.local"

SERVICES_STOP, ENVOYS_STOP, SERVERS_STOP = range(3)
DRAIN_SECONDS = 10.0
"""A service that is told to stop finishes its calls within this time; it is killed a little later."""

HOUSE_ACCOUNTS = "admin importer"
"""The accounts of the house that a local mesh has."""
PASSWORD_ROLES = "admin importer"  # noqa: S105
"""What svc_auth opens without a second factor here and nowhere else: whoever may read this mesh's files reads both
accounts' passwords in endpoints.json, and a second secret beside them would be no second factor (docs/SECURITY.md)."""

PASSED_ON = (
    "TITAN_AUTH_PASSWORD_ROLES",
    "TITAN_AUTH_PROVIDERS_FILE",
    "TITAN_FAILPOINTS",
    "TITAN_FEED_ORIGINS",
    "TITAN_LOG_LEVEL",
    "TITAN_MAX_RUNNING_CALLS",
    "TITAN_PLATFORM_FEE_BASIS_POINTS",
    "TITAN_PRIVATE_FEED_ORIGINS",
    "TITAN_TRACE_FILE",
    "TITAN_TRACE_SAMPLE",
)
"""What a person may set for all services of a mesh."""


def plan(home: Home, profile: str) -> Plan:
    """Return how to bring up the mesh of a home.

    Raises:
        StartFailed: The topology cannot be used, or has no limits for the profile.
    """
    try:
        topology = topology_file.read()
    except TopologyError as problem:
        raise StartFailed(str(problem)) from problem
    if profile not in topology.limits:
        raise StartFailed(f"there is no profile {profile}; the topology has {', '.join(topology.limits)}")
    return Mesh(home, topology, profile).plan()


class Mesh:
    """The processes of one mesh."""

    def __init__(self, home: Home, topology: Topology, profile: str) -> None:
        """Describe a mesh; nothing is started.

        Raises:
            StartFailed: The settings name half a certificate.
        """
        self.home = home
        self.topology = topology
        self.profile = profile
        self.secrets = SecretFiles(home.secrets)
        self.authority = Authority(topology, home)
        self.public = PublicCertificate.from_environment(os.environ)
        self.members = Membership(home)
        self.postgres = postgres_of(home)
        self.valkey = Valkey(
            data=home.data / "valkey",
            log=home.log_file("valkey"),
            port=home.ports.redis,
            password=self.secrets.file(REDIS_SECRET),
        )
        self.rotation = Rotation(self.secrets, self._passwords())
        self.broker = Broker(data=home.data / "kafka", log=home.log_file("kafka"), port=home.ports.kafka)
        self.mailbox = Mailbox(data=home.mail, log=home.log_file("mailbox"), port=home.ports.smtp)

    def plan(self) -> Plan:
        """Return the stages: what needs nothing from one another starts together."""
        packages = list(self.topology.packages.values())
        return Plan(
            ports=self._ports(),
            stages=[
                Stage("servers, certificates and Envoy configurations", self._servers, self._configure),
                Stage("databases and migrations", lambda: [self._psp_sim(), self._mesh_envoy()], self._migrate),
                Stage("services", lambda: [self._service(each, n) for each in packages for n in range(each.replicas)]),
                Stage("edge", lambda: [self._edge_envoy()]),
            ],
            background=[self.authority.rotate_forever, lambda: logs.bound_forever(self.home.log)],
            publish=self._publish,
            retract=self._retract,
            replica=lambda package, number: self._service(self.topology.packages[package], number),
            join=lambda process: self.members.join(process.package or "", self._socket(process)),
            leave=self._leave,
            rotate=self.authority.rotate_all,
            replace_password=self.rotation.replace,
        )

    # Steps of the start

    async def _configure(self) -> None:
        await asyncio.to_thread(self._write_configurations)

    def _write_configurations(self) -> None:
        """Hold the topology against the contract and write all that the Envoys read."""
        from mesh import contract

        for account in ("admin_password", "importer_password"):
            self.secrets.path(account)  # svc_auth makes the accounts of the secrets that it finds at its start
        self.authority.open()
        methods = contract.load()
        try:
            self.topology.check_against(methods.services)
        except TopologyError as problem:
            raise StartFailed(str(problem)) from problem
        for package in self.topology.packages.values():
            sockets = [self.home.app_socket(package.name, number) for number in range(package.replicas)]
            self.members.replace(package.name, sockets)
        if self.public is not None:
            self.public.check()
            replace_text(secret_file(self.home, PUBLIC), self.public.secret())
        options = Options(profile=self.profile, public_certificate=self.public is not None)
        configurations = render.render(self.topology, self.home, Surface.of(methods), options)
        for name, text in configurations.items():
            replace_text(config_file(self.home, name), text)

    async def _migrate(self) -> None:
        """Make the databases and bring each to its newest schema, in a process that ends: it needs much memory."""
        await self.postgres.create_databases(self._with_database(), readable=self._readable())
        await self._finish_rotations()
        program = self._migration()
        migration = spawn.start(program)
        try:
            await ended(migration)
        finally:
            # A start that is cut short takes it along: Postgres is about to stop.
            migration.kill()
            migration.wait()
        if migration.returncode != 0:
            raise StartFailed(f"the migrations failed. {spawn.last_words(program.log)}")

    async def _finish_rotations(self) -> None:
        """End what was broken off, before anybody outside is told an address with a password that goes."""
        try:
            await self.rotation.finish()
        except Refused as problem:
            raise StartFailed(str(problem)) from problem

    # The processes

    def _migration(self) -> Program:
        return self._python("migrate", "control.migrate", *self._with_database())

    def _servers(self) -> list[Process]:
        def process(server: Server, hosts: str) -> Process:
            return Process(
                program=server.program(),
                hosts=[hosts],
                address=f"{HOST}:{server.port}",
                stop_order=SERVERS_STOP,
                prepare=server.prepare,
            )

        return [
            process(self.postgres, "Postgres"),
            process(self.valkey, "Redis"),
            process(self.broker, "Kafka"),
            process(self.mailbox, "SMTP"),
        ]

    def _psp_sim(self) -> Process:
        ports = self.home.ports
        return Process(
            program=self._python(
                "psp_sim",
                "psp_sim",
                TITAN_PSP_LISTEN=f"{HOST}:{ports.psp}",
                TITAN_PSP_PUBLIC_URL=f"http://{HOST}:{ports.psp}",
                TITAN_PSP_API_KEY_FILE=str(self.secrets.path("psp_api_key")),
                TITAN_PSP_WEBHOOK_SECRET_FILE=str(self.secrets.path("psp_webhook_secret")),
                TITAN_PSP_WEBHOOK_URL=f"https://{HOST}:{ports.edge}/v1/webhooks/psp_sim",
                TITAN_PSP_WEBHOOK_CA_FILE=str(self.authority.ca_file),
                TITAN_PSP_LOG=str(self.home.psp_log),
            ),
            hosts=["payment provider"],
            address=f"{HOST}:{ports.psp}",
            stop_order=SERVICES_STOP,
            health=http_health("/healthz", port=ports.psp),
        )

    def _service(self, package: Package, replica: int) -> Process:
        socket = self.home.app_socket(package.name, replica)
        name = package.name if replica == 0 else f"{package.name}.{replica}"
        is_edge = package.name == EDGE_PACKAGE
        return Process(
            program=self._python(name, package.name, **self._service_environment(package, replica)),
            hosts=[service.rpartition(".")[2].removesuffix("Service") for service in package.services] or ["HTTP"],
            address=str(socket),
            stop_order=SERVICES_STOP,
            health=http_health("/healthz", socket=socket) if is_edge else grpc_health(socket),
            package=package.name,
            replica=replica,
        )

    def _mesh_envoy(self) -> Process:
        ports = self.home.ports
        return self._envoy("envoy_mesh", MESH, ["mTLS between packages"], f"{HOST}:{ports.grpc} (developers)")

    def _edge_envoy(self) -> Process:
        port = self.home.ports.edge
        health = http_health("/readyz", port=port, trust=self.authority.ca_file)
        return self._envoy("envoy_edge", EDGE, ["HTTPS edge"], f"https://{HOST}:{port}", health)

    def _envoy(
        self,
        process: str,
        name: str,
        hosts: Sequence[str],
        address: str,
        health: Callable[[], Awaitable[bool]] | None = None,
    ) -> Process:
        program = envoy.program(
            process, config_file(self.home, name), admin_socket(self.home, name), self.home.log_file(process)
        )
        return Process(program=program, hosts=hosts, address=address, stop_order=ENVOYS_STOP, health=health)

    def _python(self, name: str, module: str, *arguments: str, **environment: str) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-m", module, *arguments],
            log=self.home.log_file(name),
            ready=lambda: True,
            environment={**self._environment(), **environment},
            folder=ROOT,
            stop_seconds=DRAIN_SECONDS + 2,
        )

    async def _leave(self, process: Process) -> None:
        self.members.leave(process.package or "", self._socket(process))
        await asyncio.sleep(membership.LEAVE_SECONDS)

    # What processes are told

    def _environment(self) -> dict[str, str]:
        """Return what every Python process of the mesh is told."""
        return {
            "TITAN_HOME": str(self.home.path),
            "TITAN_PORT_BASE": str(self.home.ports.base),
            "TITAN_TOPOLOGY": str(topology_file.path()),
            "TITAN_POLICIES": str(topology_file.policies_path()),
            "TITAN_SECRETS_DIR": str(self.home.secrets),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",  # threads of gRPC and librdkafka would each keep a heap of their own
        }

    def _service_environment(self, package: Package, replica: int) -> dict[str, str]:
        ports = self.home.ports
        number = package.index + replica * len(self.topology.packages)
        environment = {
            "TITAN_REPLICA": str(replica),
            "TITAN_LISTEN": f"unix:{self.home.app_socket(package.name, replica)}",
            "TITAN_OUTBOUND": f"unix:{self.home.outbound_socket(package.name)}",
            "TITAN_METRICS_PORT": str(ports.metrics(number)),
            "TITAN_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
        }
        if package.name == AUTH_PACKAGE:
            environment["TITAN_AUTH_HOUSE_ACCOUNTS"] = HOUSE_ACCOUNTS
            environment["TITAN_AUTH_PASSWORD_ROLES"] = PASSWORD_ROLES
        if "postgres" in package.needs:
            environment["TITAN_DATABASE_URL"] = self.postgres.package_address(package.name)
            environment["TITAN_DATABASE_PASSWORD_FILE"] = str(self.postgres.password_of(package.name).path)
        if "redis" in package.needs:
            environment["TITAN_REDIS_URL"] = self.valkey.address
            environment["TITAN_REDIS_PASSWORD_FILE"] = str(self.secrets.path(REDIS_SECRET))
        if "kafka" in package.needs:
            environment["TITAN_KAFKA"] = self.broker.url
        if "smtp" in package.needs:
            environment["TITAN_SMTP"] = self.mailbox.url
        if "psp" in package.needs:
            environment["TITAN_PSP_URL"] = f"http://{HOST}:{ports.psp}"
            environment["TITAN_PSP_API_KEY_FILE"] = str(self.secrets.path("psp_api_key"))
            environment["TITAN_PSP_WEBHOOK_SECRET_FILE"] = str(self.secrets.path("psp_webhook_secret"))
        return environment | {name: os.environ[name] for name in PASSED_ON if name in os.environ}

    def _passwords(self) -> dict[str, Learn]:
        """Return the passwords that can be replaced, by their names, and how their servers learn it."""
        roles = [*self._with_database(), READER, SUPERUSER]
        return {secret_of(role): partial(self.postgres.learn_password, role) for role in roles} | {
            REDIS_SECRET: self.valkey.learn_passwords
        }

    def _with_database(self) -> list[str]:
        return [package.name for package in self.topology.packages.values() if "postgres" in package.needs]

    def _readable(self) -> list[str]:
        """Return the databases that checks from outside may read; never the one with the passwords and signing keys."""
        return [package for package in self._with_database() if package != AUTH_PACKAGE]

    def _socket(self, process: Process) -> Path:
        return self.home.app_socket(process.package or "", process.replica)

    def _ports(self) -> dict[str, int]:
        ports = self.home.ports
        wanted = {
            "edge": ports.edge,
            "developers": ports.grpc,
            "postgres": ports.postgres,
            "valkey": ports.redis,
            "kafka": ports.kafka,
            "psp_sim": ports.psp,
            "mailbox": ports.smtp,
        }
        for package in self.topology.packages.values():
            if package.services:
                wanted[f"{package.name}, inbound"] = ports.inbound(package.index)
            wanted[f"{package.name}, metrics"] = ports.metrics(package.index)
        return wanted

    # What outside programs are told

    def _publish(self, processes: Sequence[Supervised]) -> None:
        replace_text(self.home.endpoints, json.dumps(self._endpoints(processes), indent=2) + "\n")

    def _retract(self) -> None:
        """Say that nothing runs any more, and remove the sockets that nobody answers on."""
        self.home.endpoints.unlink(missing_ok=True)
        for socket in self.home.run.rglob("*.sock"):
            if socket != self.home.supervisor_socket:
                socket.unlink()

    def _endpoints(self, processes: Sequence[Supervised]) -> dict[str, Any]:
        ports = self.home.ports
        return {
            "edge": f"https://{HOST}:{ports.edge}",
            "ca": str(self.authority.ca_file),
            "grpc": f"{HOST}:{ports.grpc}",
            "client_cert": str(self.authority.developer_certificate_file),
            "client_key": str(self.authority.developer_key_file),
            "admin_email": ADMIN_EMAIL,
            "admin_password": self.secrets.read("admin_password"),
            "importer_email": IMPORTER_EMAIL,
            "importer_password": self.secrets.read("importer_password"),
            "postgres": {package: self.postgres.superuser_url(package) for package in self._with_database()},
            "postgres_reader": {package: self.postgres.reader_url(package) for package in self._readable()},
            "redis": self.valkey.url,
            "kafka": self.broker.url,
            "psp": f"http://{HOST}:{ports.psp}",
            "psp_log": str(self.home.psp_log),
            "mail_dir": str(self.home.mail),
            "profile": self.profile,
            "processes": [
                {"name": each.name, "pid": each.pid, "hosts": list(each.process.hosts)} for each in processes
            ],
        }


def postgres_of(home: Home) -> Postgres:
    """Return the Postgres of a home."""
    return Postgres(
        data=home.data / "postgres",
        log=home.log_file("postgres"),
        secrets=SecretFiles(home.secrets),
        port=home.ports.postgres,
        shelter=home.shelter,
    )
