"""Lets Envoy itself judge what we render: `python -m control.envoy_validate`, a step of `make check`.

Renders each profile and each split, with certificates made for the occasion, into a folder that is gone afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from control import render
from control.authority import Authority
from control.envoy_names import PUBLIC, config_file, secret_file
from control.home import Home, Ports
from control.membership import Membership
from control.public_certificate import PublicCertificate
from control.render import Options, Surface
from control.servers.envoy import binary
from mesh import contract, topology
from mesh.topology import Topology

TOPOLOGY = Path(__file__).parents[1] / "deploy" / "topology.toml"
# Envoy says these words about a field that the next version may refuse.
WARNINGS = ("deprecated", "work-in-progress", "work in progress")


def problems(mesh: Topology, surface: Surface, folder: Path) -> Iterator[str]:
    """Yield one text for each configuration that Envoy refuses or warns about; the folder takes the files."""
    home = Home(folder, Ports())
    home.create()
    authority = Authority(mesh, home)
    authority.open()
    public = PublicCertificate(authority.developer_certificate_file, authority.developer_key_file)
    secret_file(home, PUBLIC).write_text(public.secret())
    for package in mesh.packages:
        Membership(home).replace(package, [home.app_socket(package)])
    seen: set[str] = set()
    for options in _options(mesh):
        for name, text in render.render(mesh, home, surface, options).items():
            if text not in seen:
                seen.add(text)
                complaint = _complaint(home, name, text)
                if complaint:
                    yield f"{name} ({options.profile}, {options.split}):\n{complaint}"


def _options(mesh: Topology) -> Iterator[Options]:
    for profile in mesh.limits:
        yield Options(profile=profile)
    elsewhere: Mapping[str, str] = {package: package.replace("_", "-") for package in mesh.packages}
    yield Options(split="sidecar", hosts=elsewhere, collector=("collector", 4317), public_certificate=True)


def _complaint(home: Home, name: str, text: str) -> str:
    path = config_file(home, name)
    path.write_text(text, encoding="utf-8")
    command = [str(binary()), "--mode", "validate", "--disable-hot-restart", "-l", "warning", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stderr + done.stdout
    if done.returncode != 0:
        return said
    return "\n".join(line for line in said.splitlines() if any(word in line.lower() for word in WARNINGS))


def main() -> int:
    """Check the shipped topology; the exit status is 0 when Envoy accepts everything."""
    mesh = topology.load(TOPOLOGY)
    methods = contract.load()
    mesh.check_against(methods.services)
    surface = Surface.of(methods)
    with tempfile.TemporaryDirectory(prefix="titan-envoy-") as folder:
        found = list(problems(mesh, surface, Path(folder)))
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"envoy: {'refused' if found else 'every rendered configuration is valid'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
