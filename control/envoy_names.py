"""The names that the renderer, the certificate authority, the endpoint files and Envoy's starter have to agree on."""

from __future__ import annotations

from pathlib import Path

from control.home import Home
from mesh import topology

CA = "ca"
WEB = "web"
PUBLIC = "public"
DEVELOPER = "developer"
EDGE = topology.EDGE
MESH = "mesh"


def app_cluster(package: str) -> str:
    """Return what Envoy calls the replicas of a package."""
    return f"app_{package}"


def endpoints_file(home: Home, package: str) -> Path:
    """Return the file that lists the replicas of a package."""
    return home.run / "xds" / f"eds_{package}.json"


def secret_file(home: Home, identity: str) -> Path:
    """Return the file with an identity's certificate and key; `ca` holds what is trusted."""
    return home.run / "sds" / f"{identity}.json"


def admin_socket(home: Home, envoy: str) -> Path:
    """Return the admin interface of an Envoy: `edge`, `mesh`, or a package's own."""
    return home.run / f"{envoy}_admin.sock"


def config_file(home: Home, envoy: str) -> Path:
    """Return where an Envoy's rendered configuration lies."""
    return home.run / "xds" / f"{envoy}.yaml"


def access_log(home: Home, envoy: str) -> Path:
    """Return the access log of an Envoy; its own messages go to the process's log."""
    return home.log / f"{envoy}_access.log"
