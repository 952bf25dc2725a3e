"""The table of processes follows the topology, and tells each process only what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from control.home import Home, Ports
from control.processes import Mesh, plan
from control.remote import Refused
from control.spawn import StartFailed
from control.supervised import Supervised
from control.topology_file import ROOT, TOPOLOGY
from mesh import topology
from mesh.secret_files import SecretFile


@pytest.fixture
def a_mesh(tmp_path: Path) -> Mesh:
    """The shipped topology in a home of its own; nothing is started."""
    home = Home(tmp_path, Ports(41_000))
    home.create()
    return Mesh(home, topology.load(TOPOLOGY), "default")


def secrets_of(home: Home) -> dict[str, str]:
    """Return every secret that a home has, by the name of its file."""
    return {file.name: SecretFile(file).read() for file in home.secrets.iterdir()}


def test_every_package_has_a_process_and_every_port_one_owner(a_mesh: Mesh):
    """Two meshes with different bases, and two processes of one mesh, never want the same port."""
    services = [process.name for process in a_mesh.plan().stages[2].processes()]
    ports = a_mesh.plan().ports

    assert list(a_mesh.topology.packages) == services
    assert len(ports) == len(set(ports.values()))
    assert all(41_000 <= port < 41_100 for port in ports.values())


def test_a_service_is_told_the_way_to_its_own_database_only(a_mesh: Mesh):
    """What a process does not know it cannot leak."""
    for process in a_mesh.plan().stages[2].processes():
        told = process.program.environment
        package = a_mesh.topology.packages[process.name]
        others = {
            str(a_mesh.postgres.password_of(name).path) for name in a_mesh.topology.packages if name != process.name
        }

        assert ("postgres" in package.needs) == ("TITAN_DATABASE_URL" in told)
        assert ("redis" in package.needs) == ("TITAN_REDIS_URL" in told)
        assert ("kafka" in package.needs) == ("TITAN_KAFKA" in told)
        assert not others & set(told.values())
        assert not any("titan_superuser" in value or "titan_reader" in value for value in told.values())


def test_no_secret_is_an_argument_or_stands_in_an_environment(a_mesh: Mesh):
    """Whatever is started, and whoever is added to the stages: the system shows both to others."""
    started = [process.program for stage in a_mesh.plan().stages for process in stage.processes()]
    programs = [*started, a_mesh._migration(), a_mesh._service(a_mesh.topology.packages["svc_order"], 1).program]
    a_mesh._endpoints([])  # makes the rest of the secrets
    secrets = secrets_of(a_mesh.home)

    assert {"redis", "postgres_superuser", "database_svc_order", "psp_api_key", "admin_password"} <= set(secrets)
    assert len(programs) > len(a_mesh.topology.packages) + 6
    for program in programs:
        seen = [*program.command, *program.environment.values()]
        assert [] == [name for name, secret in secrets.items() if any(secret in text for text in seen)], program.name


def test_a_second_replica_has_a_socket_and_a_metrics_port_of_its_own(a_mesh: Mesh):
    """Replicas of all packages can run side by side."""
    told = [
        a_mesh._service(package, replica).program.environment
        for package in a_mesh.topology.packages.values()
        for replica in range(3)
    ]

    assert len(told) == len({each["TITAN_LISTEN"] for each in told})
    assert len(told) == len({each["TITAN_METRICS_PORT"] for each in told})


def test_the_administrators_password_opens_their_role_in_a_local_mesh_alone(a_mesh: Mesh, monkeypatch):
    """Nothing that is deployed says so, and a person may take it back here."""
    name = "TITAN_AUTH_PASSWORD_ROLES"

    def told() -> dict[str, str]:
        packages = a_mesh.topology.packages.values()
        environments = {package.name: a_mesh._service(package, 0).program.environment for package in packages}
        return {package: each[name] for package, each in environments.items() if name in each}

    assert {"svc_auth": "admin importer"} == told()
    deployed = [ROOT / "deploy" / file for file in ("compose.yaml", "Dockerfile", "topology.toml")]
    deployed += [ROOT / "control" / file for file in ("compose.py", "contained.py")]
    assert [] == [file.name for file in deployed if name in file.read_text()]
    monkeypatch.setenv(name, "importer")
    assert "importer" == told()["svc_auth"]


def test_the_endpoints_say_all_that_outside_programs_start_from(a_mesh: Mesh):
    """The keys of the file are a contract."""
    everyone = [Supervised(process) for stage in a_mesh.plan().stages[2:3] for process in stage.processes()]
    endpoints = a_mesh._endpoints(everyone)

    wanted = {"edge", "ca", "grpc", "client_cert", "client_key", "admin_email", "admin_password", "importer_email"}
    wanted |= {"importer_password", "postgres", "postgres_reader", "redis", "kafka", "psp_log", "mail_dir", "processes"}
    assert wanted <= set(endpoints)
    assert {"name", "pid", "hosts"} == set(endpoints["processes"][0])
    assert "svc_order" in endpoints["postgres"] and "edge_http" not in endpoints["postgres"]
    assert "svc_order" in endpoints["postgres_reader"] and "svc_auth" not in endpoints["postgres_reader"]


async def test_a_start_that_is_cut_short_leaves_no_migration_behind(a_mesh: Mesh):
    """It would go on in a database whose server is stopping."""

    class Databases:
        async def create_databases(self, packages: Sequence[str], *, readable: Sequence[str]) -> None:
            pass

    a_mesh.postgres = Databases()  # type: ignore[assignment]
    ours = psutil.Process()
    servers_of_the_tests = ours.children()
    migrating = asyncio.create_task(a_mesh._migrate())
    async with asyncio.timeout(5):
        while not (started := [each for each in ours.children() if each not in servers_of_the_tests]):
            await asyncio.sleep(0.005)
    migrating.cancel()
    await asyncio.gather(migrating, return_exceptions=True)

    assert migrating.cancelled()
    assert not any(child.is_running() for child in started)


async def test_a_password_whose_replacement_was_broken_off_is_not_told_to_anybody(a_mesh: Mesh):
    """The start ends it when the roles are there and before anything serves; then the address is right."""
    told: list[str] = []

    class Databases:
        async def create_databases(self, packages: Sequence[str], *, readable: Sequence[str]) -> None:
            told.append("databases")

    class Rotation:
        async def finish(self) -> None:
            told.append("finish")
            raise Refused("redis is not replaced yet")

    a_mesh.postgres, a_mesh.rotation = Databases(), Rotation()  # type: ignore[assignment]
    with pytest.raises(StartFailed, match="redis is not replaced yet"):
        await a_mesh._migrate()

    assert ["databases", "finish"] == told


def test_an_unknown_profile_stops_the_start_with_those_that_there_are(tmp_path: Path):
    """A misspelt profile must not run with other limits than were meant."""
    with pytest.raises(StartFailed, match="there is no profile laod; the topology has default, load"):
        plan(Home(tmp_path, Ports()), "laod")
