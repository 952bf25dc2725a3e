"""A mesh of two packages on a home of its own, for the tests that start a real Envoy."""

from __future__ import annotations

from pathlib import Path

from control import render
from control.authority import Authority
from control.envoy_names import config_file
from control.home import Home, Ports
from control.membership import Membership
from control.render import Options, Surface
from control.servers.ports import claim_block
from mesh import topology
from mesh.topology import Topology

TOPOLOGY = """
trust_domain = "titan.local"
cell = "local"
tokens = { issuer = "https://titan.local", audience = "titan", max_lifetime_seconds = 3600 }
edge = { allowed_origins = ["https://shop.titan.local"] }
[limits.default]
address = { burst = 12, per_second = 1 }
user = { burst = 6, per_second = 1 }
sessions = { burst = 4, per_second = 1 }
payments = { burst = 3, per_second = 1 }
body_bytes = { burst = 4_194_304, per_second = 1_048_576 }
shared = []
[packages.svc_a]
services = ["titan.a.v1.EchoService", "titan.a.v1.SecretService"]
needs = []
callers = { "titan.a.v1.EchoService" = ["svc_b", "edge_http"], "titan.a.v1.SecretService" = ["svc_b"] }
[packages.svc_b]
services = []
needs = []
[packages.svc_c]
services = []
needs = []
[packages.svc_d]
services = []
needs = []
[packages.edge_http]
services = []
needs = []
"""

SAY = "/titan.a.v1.EchoService/Say"
TELL = "/titan.a.v1.SecretService/Tell"
WATCH = "/titan.a.v1.EchoService/Watch"
# Connections end after a second, a third of this, so that new certificates are met under running calls.
OPTIONS = Options(certificate_seconds=3)
SURFACE = Surface(streaming={WATCH}, outward={SAY, WATCH})


def read_topology(folder: Path, text: str = TOPOLOGY) -> Topology:
    """Write a topology into a folder and read it back."""
    path = folder / "topology.toml"
    path.write_text(text)
    return topology.load(path)


def prepare(folder: Path, text: str = TOPOLOGY) -> tuple[Topology, Home, Authority, Membership]:
    """Make everything that an Envoy needs before it starts."""
    mesh = read_topology(folder, text)
    home = Home(folder, Ports(claim_block()))
    home.create()
    authority, membership = Authority(mesh, home), Membership(home)
    authority.open()
    for package in mesh.packages:
        membership.replace(package, [])
    for name, text in render.render(mesh, home, SURFACE, OPTIONS).items():
        config_file(home, name).write_text(text)
    return mesh, home, authority, membership
