"""What the image runs in a container: a package, or a job: two prepare the packages' homes, one replaces a password.

    prepare        secrets, certificates and Envoy configurations, each package's own into its own volume
    databases      the packages' roles and databases, on the Postgres of the compose file
    rotate NAME    another password for a role (database_svc_order ...) or for Redis (redis), under running processes
    healthy        whether the process of this container can work
    svc_order ...  a package, or psp_sim

A home is a volume at `/titan`, laid out like the home of a local mesh; `prepare` finds all of them below `/homes`, and
its own, with the authority's key and every secret, is `/titan`. It can run again at any time: secrets stay,
certificates are new.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from control import compose, render
from control.atomic_file import replace_text
from control.authority import Authority
from control.compose import HOME
from control.envoy_names import CA, EDGE, PUBLIC, WEB, access_log, config_file, secret_file
from control.home import Home, Ports
from control.membership import Membership
from control.probes import grpc_health, http_health
from control.public_certificate import PublicCertificate
from control.remote import Refused
from control.render import Options, Surface
from control.rotation import Learn, Rotation
from control.secrets import SecretFiles
from control.servers.postgres import SUPERUSER, Postgres, secret_of
from control.servers.valkey import REDIS_SECRET, learn_passwords, user_rules
from mesh import topology as topologies
from mesh.topology import Package, Topology

HOMES = Path("/homes")
TOPOLOGY = compose.ROOT / "deploy" / "topology.toml"
CERTIFICATE_SECONDS = 30 * 24 * 3600
ENVIRONMENT = "environment.json"
REDIS_ADDRESS = f"redis://{compose.REDIS}:{compose.REDIS_PORT}/0"

SECRETS_OF: Mapping[str, Sequence[str]] = {
    "svc_auth": ("admin_password", "importer_password"),
    "svc_payment": ("psp_api_key", "psp_webhook_secret"),
    compose.PSP: ("psp_api_key", "psp_webhook_secret"),
}
"""Which secrets of the house a process sees beside the passwords of the servers that it needs."""


class Preparation:
    """The making of all homes from one topology."""

    def __init__(
        self, topology: Topology, own: Home = HOME, homes: Path = HOMES, public: PublicCertificate | None = None
    ) -> None:
        """Describe it; nothing is written yet."""
        self._topology = topology
        self._public = public
        self._own = own
        self._homes = homes
        self._secrets = SecretFiles(own.secrets)

    def write(self) -> None:
        """Write every home, while no password is being replaced."""
        self._own.create()
        with self._secrets.held(wait=True):
            self._write()

    def _write(self) -> None:
        from mesh import contract

        methods = contract.load()
        self._topology.check_against(methods.services)
        authority = Authority(
            self._topology,
            self._own,
            leaf_seconds=CERTIFICATE_SECONDS,
            developer_seconds=CERTIFICATE_SECONDS,
            web_names=(compose.EDGE_ENVOY,),
        )
        authority.open()
        # Rendered for the place where a package finds its own home, not for where this job sees it.
        inside = Home(HOME.path, Ports(self._own.ports.base))
        hosts = {package: compose.host_of(package) for package in self._topology.packages}
        options = Options(
            split="sidecar",
            certificate_seconds=CERTIFICATE_SECONDS,
            hosts=hosts | {EDGE: EDGE},
            public_certificate=self._public is not None,
        )
        envoys = render.render(self._topology, inside, Surface.of(methods), options)
        for package in self._topology.packages.values():
            self._package(package, envoys)
        if self._public is not None:
            self._public.check()
            replace_text(secret_file(self._home(compose.EDGE_PACKAGE), PUBLIC), self._public.secret())
        self._simulator(authority)
        self._servers()

    def _package(self, package: Package, envoys: Mapping[str, str]) -> None:
        home = self._home(package.name)
        home.create()
        names, identities = [package.name], [package.name, CA]
        if package.name == compose.EDGE_PACKAGE:
            names.append(EDGE)
            identities += [EDGE, WEB]
        for identity in identities:
            replace_text(secret_file(home, identity), secret_file(self._own, identity).read_text())
        Membership(Home(home.path, home.ports)).replace(package.name, [HOME.app_socket(package.name)])
        for name in names:
            replace_text(config_file(home, name), envoys[name])
            _to_standard_output(access_log(home, name))
        self._hand_out(home, secrets_of(package))
        replace_text(home.path / ENVIRONMENT, json.dumps(self._environment(package), indent=2))

    def _simulator(self, authority: Authority) -> None:
        home, port = self._home(compose.PSP), HOME.ports.psp
        home.create()
        self._hand_out(home, SECRETS_OF[compose.PSP])
        replace_text(home.pki / "ca.pem", authority.ca_file.read_text())
        environment = {
            "TITAN_PSP_LISTEN": f"0.0.0.0:{port}",
            "TITAN_PSP_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "TITAN_PSP_WEBHOOK_URL": f"https://{compose.EDGE_ENVOY}:{HOME.ports.edge}/v1/webhooks/psp_sim",
            "TITAN_PSP_WEBHOOK_CA_FILE": str(HOME.pki / "ca.pem"),
        }
        replace_text(home.path / ENVIRONMENT, json.dumps(environment, indent=2))

    def _servers(self) -> None:
        # Postgres runs under its image's own account, and nobody else mounts its volume.
        password = self._secrets.read(secret_of(SUPERUSER))
        replace_text(self._homes / compose.POSTGRES / "password", password, mode=0o644)
        lines = (
            f"port {compose.REDIS_PORT}",
            f"user default {' '.join(user_rules(self._secrets.read_all(REDIS_SECRET)))}",
            "dir /data",
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
        )
        replace_text(self._homes / compose.REDIS / "redis.conf", "\n".join(lines) + "\n")

    def _home(self, name: str) -> Home:
        return Home(self._homes / name, self._own.ports)

    def hand_out(self, secret: str) -> None:
        """Give a secret that has changed to everybody who has it."""
        for package in self._topology.packages.values():
            if secret in secrets_of(package):
                self._hand_out(self._home(package.name), [secret])
        self._servers()

    def _hand_out(self, home: Home, secrets: Sequence[str]) -> None:
        for secret in secrets:
            lines = self._secrets.read_all(secret)
            replace_text(home.secrets / secret, "".join(f"{line}\n" for line in lines), durable=True)

    def _environment(self, package: Package) -> dict[str, str]:
        """Return what a process is told; the rest is in the image, or the default."""
        told = {}
        if "postgres" in package.needs:
            told["TITAN_DATABASE_URL"] = RemotePostgres(self._own, self._secrets).package_address(package.name)
        if "redis" in package.needs:
            told["TITAN_REDIS_URL"] = REDIS_ADDRESS
        if "kafka" in package.needs:
            told["TITAN_KAFKA"] = f"{compose.KAFKA}:{compose.KAFKA_PORT}"
        if "smtp" in package.needs:
            told["TITAN_SMTP"] = f"{compose.MAILBOX}:{compose.SMTP_PORT}"
        if "psp" in package.needs:
            told["TITAN_PSP_URL"] = f"http://{compose.PSP}:{HOME.ports.psp}"
        return told


def secrets_of(package: Package) -> list[str]:
    """Return the names of all secrets that a package's process sees."""
    passwords = {"postgres": secret_of(package.name), "redis": REDIS_SECRET}
    return [*SECRETS_OF.get(package.name, ()), *(passwords[need] for need in package.needs if need in passwords)]


class RemotePostgres(Postgres):
    """The Postgres of the compose file: its addresses and its databases; somebody else runs it."""

    host = compose.POSTGRES

    def __init__(self, home: Home, secrets: SecretFiles) -> None:
        """Describe it; the folders of a server of ours are not used."""
        super().__init__(
            data=home.data / "postgres", log=home.log_file("postgres"), secrets=secrets, port=compose.POSTGRES_PORT
        )


def _to_standard_output(log: Path) -> None:
    """Let a log file be the container's own output, which the engine rotates."""
    if not log.is_symlink():
        log.symlink_to("/dev/stdout")


async def create_databases(topology: Topology) -> None:
    """Make the role and the database of each package that has one; safe to repeat."""
    await RemotePostgres(HOME, SecretFiles(HOME.secrets)).create_databases(_with_database(topology))


async def rotate(topology: Topology, name: str) -> None:
    """Replace a password under the running containers.

    Raises:
        Refused: There is no such password, or its server does not answer.
    """
    secrets = SecretFiles(HOME.secrets)
    postgres = RemotePostgres(HOME, secrets)
    learn: dict[str, Learn] = {
        secret_of(role): partial(postgres.learn_password, role) for role in [*_with_database(topology), SUPERUSER]
    }
    learn[REDIS_SECRET] = partial(learn_passwords, REDIS_ADDRESS, secrets.file(REDIS_SECRET))
    await Rotation(secrets, learn, hand_out=Preparation(topology).hand_out).replace(name)


def _with_database(topology: Topology) -> list[str]:
    return [package.name for package in topology.packages.values() if "postgres" in package.needs]


async def healthy(home: Home = HOME) -> bool:
    """Ask the process whose socket lies in this home."""
    sockets = list((home.run / "app").glob("*.sock"))
    if not sockets:
        return False
    for socket in sockets:
        is_edge = socket.name.startswith(f"{compose.EDGE_PACKAGE}.")
        ask = http_health("/healthz", socket=socket) if is_edge else grpc_health(socket)
        if not await ask():
            return False
    return True


def run(name: str, home: Home = HOME) -> None:
    """Become the process of a package, with what `prepare` wrote for it."""
    told = json.loads((home.path / ENVIRONMENT).read_text())
    os.execve(sys.executable, [sys.executable, "-m", name], {**os.environ, **told})  # noqa: S606 - a package of ours


def main(arguments: Sequence[str]) -> int:
    """Do what the container was started for; returns the exit status."""
    topology = topologies.load(os.environ.get("TITAN_TOPOLOGY") or TOPOLOGY)
    runnable = [*topology.packages, compose.PSP]
    match arguments:
        case [compose.PREPARE]:
            Preparation(topology, public=PublicCertificate.from_environment(os.environ)).write()
        case [compose.DATABASES]:
            asyncio.run(create_databases(topology))
        case [compose.ROTATE, name]:
            try:
                asyncio.run(rotate(topology, name))
            except Refused as problem:
                print(problem, file=sys.stderr)
                return 1
        case ["healthy"]:
            return 0 if asyncio.run(healthy()) else 1
        case [name] if name in runnable:
            run(name)
        case _:
            jobs = (compose.PREPARE, compose.DATABASES, f"{compose.ROTATE} NAME")
            print(f"say what to run: {', '.join((*jobs, *runnable))}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
