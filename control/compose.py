"""The topology as a compose file: the mesh from the official images, and one image of our own.

`compose` is a pure function; `python -m control.compose` writes `deploy/compose.yaml`, and `make check` compares them.

Each package is two containers, the process and its Envoy, that share one volume (`/titan`) and nothing else: the
package's sockets, its certificate and its own secrets. A process is on the networks of the servers that it needs; only
Envoys are on the network between packages. Nothing here holds a secret: the job `prepare` makes them, in volumes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from control.envoy_names import EDGE, config_file
from control.home import Home, Ports
from control.servers.postgres import SETTINGS, SUPERUSER
from mesh import topology as topologies
from mesh.consumer import SESSION_TIMEOUT_MS
from mesh.topology import Package, Topology

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "deploy" / "compose.yaml"

ENVOY_IMAGE = "envoyproxy/envoy:v1.40.0"
POSTGRES_IMAGE = "postgres:18.1-trixie"
REDIS_IMAGE = "redis:8.2.1-alpine"
KAFKA_IMAGE = "apache/kafka:4.1.1"
MAILBOX_IMAGE = "axllent/mailpit:v1.29"

HOME = Home(Path("/titan"), Ports())
"""Inside a container; every home lies in a network of its own, so the ports are the usual ones."""

POSTGRES, REDIS, KAFKA, MAILBOX, PSP = "postgres", "redis", "kafka", "mailbox", "psp_sim"
POSTGRES_PORT, REDIS_PORT, KAFKA_PORT, SMTP_PORT, MAILBOX_WEB_PORT = 5432, 6379, 9092, 1025, 8025
PREPARE, DATABASES, ROTATE = "prepare", "databases", "rotate"
EDGE_PACKAGE = "edge_http"
EDGE_ENVOY = "edge"

_OURS = "10001:10001"
_POSTGRES_USER = "999:999"
_SERVERS_OF_NEEDS = {"postgres": POSTGRES, "redis": REDIS, "kafka": KAFKA, "smtp": MAILBOX, "psp": PSP}
_MESH, _FRONT = "mesh", "front"
_TOLD_BY_OPERATOR = {"svc_auth": {"TITAN_AUTH_HOUSE_ACCOUNTS": "${TITAN_AUTH_HOUSE_ACCOUNTS:-}"}}
# A server in a container is reached over its network, and the image's own first start needs its Unix socket.
_NOT_IN_A_CONTAINER = {"unix_socket_directories"}

_HEAD = """\
# The mesh from the official images. Rendered from deploy/topology.toml by `make compose`; changes here are lost.
#
#   docker compose --file deploy/compose.yaml up --build --detach
#   docker compose --file deploy/compose.yaml cp prepare:/titan/pki/ca.pem ca.pem
#   curl --cacert ca.pem https://localhost:18443/healthz
#
# There is no account with a role before TITAN_AUTH_HOUSE_ACCOUNTS in the environment of `up` asks for one, "admin" or
# "importer". Their passwords: cp prepare:/titan/secrets/admin_password - (and importer_password). The administrator's
# opens nothing before a second factor is enrolled with it: docs/SECURITY.md.
# Certificates live 30 days: `run --rm prepare` renews them, and the Envoys take them without a restart.
# A password is replaced under running processes by `run --rm rotate database_svc_order` (or redis).
# The mailbox shows its mail on http://localhost:18450.
"""


def host_of(package: str) -> str:
    """Return the name under which other machines find a package's inbound listener."""
    return package.replace("_", "-")


def compose(topology: Topology, *, version: str) -> str:
    """Return the text of the compose file; same topology and version, same text."""
    packages = list(topology.packages.values())
    services: dict[str, Any] = {
        PREPARE: _prepare(packages, version),
        DATABASES: _databases(version),
        ROTATE: _rotate(packages, version),
    }
    for package in packages:
        services[package.name] = _process(package, version)
        services[f"{package.name}_envoy"] = _sidecar(package)
    if EDGE_PACKAGE in topology.packages:
        services[EDGE_ENVOY] = _edge()
    needs = {need for package in packages for need in package.needs}
    servers = {"postgres": _postgres, "redis": _redis, "kafka": _kafka, "smtp": _mailbox}
    services |= {_SERVERS_OF_NEEDS[need]: make() for need, make in servers.items() if need in needs}
    if "psp" in needs:
        services[PSP] = _psp_sim(version)
    used = [network for service in services.values() for network in service.get("networks", ())]
    file = {
        "name": "titan",
        "services": services,
        "networks": {name: {} if name == _FRONT else {"internal": True} for name in dict.fromkeys(used)},
        "volumes": {name: {} for name in dict.fromkeys(_volumes(services))},
    }
    return _HEAD + yaml.dump(file, Dumper=_Dumper, sort_keys=False, width=120)


# Jobs that end


def _prepare(packages: Sequence[Package], version: str) -> dict[str, Any]:
    return {
        **_our_image(version),
        **_hardened(restart="no"),
        "build": {"context": "..", "dockerfile": "deploy/Dockerfile"},
        "command": [PREPARE],
        "network_mode": "none",
        "healthcheck": {"disable": True},
        "volumes": _all_homes(packages),
    }


def _all_homes(packages: Sequence[Package]) -> list[str]:
    homes = [package.name for package in packages] + [PSP, REDIS, POSTGRES]
    return ["authority:/titan", *(f"{home}_home:/homes/{home}" for home in homes)]


def _rotate(packages: Sequence[Package], version: str) -> dict[str, Any]:
    return {
        **_our_image(version),
        **_hardened(restart="no"),
        "entrypoint": ["python", "-m", "control.contained", ROTATE],
        "profiles": [ROTATE],  # `up` leaves it alone
        "networks": [POSTGRES, REDIS],
        "healthcheck": {"disable": True},
        "volumes": _all_homes(packages),
    }


def _databases(version: str) -> dict[str, Any]:
    return {
        **_our_image(version),
        **_hardened(restart="no"),
        "command": [DATABASES],
        "depends_on": _after(prepared=True, healthy=[POSTGRES]),
        "networks": [POSTGRES],
        "healthcheck": {"disable": True},
        "volumes": ["authority:/titan"],
    }


# What our image runs


def _process(package: Package, version: str) -> dict[str, Any]:
    servers = [_SERVERS_OF_NEEDS[need] for need in _SERVERS_OF_NEEDS if need in package.needs]
    after = _after(
        prepared=True,
        healthy=[server for server in servers if server not in (POSTGRES, MAILBOX, PSP)],
        done=[DATABASES] if POSTGRES in servers else [],
    )
    return {
        **_our_image(version),
        **_hardened(),
        "command": [package.name],
        **({"environment": _TOLD_BY_OPERATOR[package.name]} if package.name in _TOLD_BY_OPERATOR else {}),
        "depends_on": after,
        # A process that needs no server reaches nothing but its Envoy, over a socket in the volume.
        **({"networks": servers} if servers else {"network_mode": "none"}),
        "volumes": [f"{package.name}_home:/titan"],
        "stop_grace_period": "15s",
    }


def _psp_sim(version: str) -> dict[str, Any]:
    port = HOME.ports.psp
    probe = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/healthz', timeout=3)"
    return {
        "image": f"titan-simulator:{version}",
        "build": {"context": "..", "dockerfile": "deploy/Dockerfile", "target": "simulator"},
        **_hardened(),
        "command": [PSP],
        "depends_on": _after(prepared=True),
        "networks": [PSP, _FRONT],
        "ports": [f"127.0.0.1:{port}:{port}"],
        "healthcheck": _healthcheck(["CMD", "python", "-c", probe]),
        "volumes": [f"{PSP}_home:/titan"],
    }


# Envoys


def _sidecar(package: Package) -> dict[str, Any]:
    socket = HOME.outbound_socket(package.name)
    port = HOME.ports.inbound(package.index)
    probe = f"exec 3<>/dev/tcp/127.0.0.1/{port}" if package.services else f"test -S {socket}"
    return {
        **_envoy(package.name, package.name, probe),
        "networks": {_MESH: {"aliases": [host_of(package.name)]}},
    }


def _edge() -> dict[str, Any]:
    port = HOME.ports.edge
    return {
        **_envoy(EDGE, EDGE_PACKAGE, f"exec 3<>/dev/tcp/127.0.0.1/{port}"),
        "depends_on": _after(prepared=True, healthy=[EDGE_PACKAGE]),
        "networks": [_FRONT],
        "ports": [f"127.0.0.1:{port}:{port}"],
    }


def _envoy(name: str, home: str, probe: str) -> dict[str, Any]:
    config = config_file(HOME, name)
    return {
        "image": ENVOY_IMAGE,
        **_hardened(),
        "user": _OURS,
        "command": [
            "envoy",
            *("--config-path", str(config)),
            *("--concurrency", "2"),
            *("--log-level", "warning"),
            "--disable-hot-restart",
            "--reject-unknown-dynamic-fields",
        ],
        "depends_on": _after(prepared=True),
        "healthcheck": _healthcheck(["CMD", "bash", "-c", probe]),
        "volumes": [f"{home}_home:/titan"],
    }


# Servers


def _postgres() -> dict[str, Any]:
    settings = {name: value for name, value in SETTINGS.items() if name not in _NOT_IN_A_CONTAINER}
    return {
        "image": POSTGRES_IMAGE,
        **_hardened(),
        "user": _POSTGRES_USER,
        "command": ["postgres", *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
        "depends_on": _after(prepared=True),
        "environment": {
            "POSTGRES_USER": SUPERUSER,
            "POSTGRES_DB": "postgres",
            "POSTGRES_PASSWORD_FILE": "/titan/password",
        },
        "healthcheck": _healthcheck(["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", SUPERUSER, "-d", "postgres"]),
        "networks": [POSTGRES],
        "shm_size": "256mb",
        "stop_grace_period": "60s",
        "tmpfs": ["/tmp", "/var/run/postgresql:uid=999,gid=999,mode=0775"],  # noqa: S108 - a mount of the container
        "volumes": [f"{POSTGRES}_home:/titan:ro", "postgres_data:/var/lib/postgresql"],
    }


def _redis() -> dict[str, Any]:
    return {
        "image": REDIS_IMAGE,
        **_hardened(),
        "user": _OURS,
        "command": ["redis-server", "/titan/redis.conf"],
        "depends_on": _after(prepared=True),
        "healthcheck": _healthcheck(["CMD-SHELL", "redis-cli ping | grep -qE 'PONG|NOAUTH'"]),
        "networks": [REDIS],
        "tmpfs": ["/data:uid=10001,gid=10001"],
        "volumes": [f"{REDIS}_home:/titan:ro"],
    }


def _kafka() -> dict[str, Any]:
    return {
        "image": KAFKA_IMAGE,
        # Its start script writes the configuration beside the templates that it reads: the file system stays writable.
        **_hardened(read_only=False),
        "environment": {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{KAFKA_PORT},CONTROLLER://localhost:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{KAFKA}:{KAFKA_PORT}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
        },
        "healthcheck": _healthcheck(["CMD-SHELL", f"nc -z localhost {KAFKA_PORT}"]),
        "networks": [KAFKA],
        "stop_grace_period": "30s",
        "volumes": ["kafka_data:/var/lib/kafka/data"],
    }


def _mailbox() -> dict[str, Any]:
    return {
        "image": MAILBOX_IMAGE,
        **_hardened(),
        "user": _OURS,
        "healthcheck": _healthcheck(["CMD", "/mailpit", "readyz"]),
        "networks": [MAILBOX, _FRONT],
        "ports": [f"127.0.0.1:{HOME.ports.smtp + 1}:{MAILBOX_WEB_PORT}"],
    }


# What all of them share


def _our_image(version: str) -> dict[str, Any]:
    return {"image": f"titan:{version}"}


def _hardened(*, restart: str = "unless-stopped", read_only: bool = True) -> dict[str, Any]:
    return {
        "restart": restart,
        **({"read_only": True, "tmpfs": ["/tmp"]} if read_only else {}),  # noqa: S108 - a mount of the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 512,
        "logging": {"driver": "local", "options": {"max-size": "20m", "max-file": "3"}},
    }


def _healthcheck(test: list[str]) -> dict[str, Any]:
    return {"test": test, "interval": "10s", "timeout": "5s", "retries": 6, "start_period": "60s"}


def _after(*, prepared: bool, healthy: Sequence[str] = (), done: Sequence[str] = ()) -> dict[str, Any]:
    jobs = [PREPARE, *done] if prepared else list(done)
    return {job: {"condition": "service_completed_successfully"} for job in jobs} | {
        server: {"condition": "service_healthy"} for server in healthy
    }


def _volumes(services: dict[str, Any]) -> list[str]:
    return [volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())]


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice: an alias would puzzle a reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def shipped() -> str:
    """Return the compose file of this repository's topology and version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return compose(topologies.load(ROOT / "deploy" / "topology.toml"), version=version)


def difference() -> str:
    """Say what is wrong with the committed file; nothing when it is what the renderer gives."""
    if COMPOSE.exists() and COMPOSE.read_text() == shipped():
        return ""
    return "deploy/compose.yaml is not what control/compose.py renders: run `make compose` and commit the result"


if __name__ == "__main__":
    COMPOSE.write_text(shipped())
    sys.stdout.write(f"{COMPOSE.relative_to(ROOT)} is written.\n")
