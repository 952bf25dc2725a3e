"""Which replicas of a package take calls.

Owns the endpoint files that Envoy follows. It starts and stops no process: whoever does calls `join` when a replica
serves, and `leave` a moment before it stops.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from control.atomic_file import replace_text
from control.envoy_names import app_cluster, endpoints_file
from control.home import Home

# Envoy drops a removed replica within some 20 ms, a quarter of a second on a busy machine: wait this long between
# `leave` and the SIGTERM, and no new call meets a closing server.
LEAVE_SECONDS = 0.3


class Membership:
    """The endpoint files of one mesh, for one writing process.

    Every package needs a file, even an empty one, before Envoy starts: `replace(package, [])` writes it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def members(self, package: str) -> list[Path]:
        """Return the sockets that take the package's calls, in the order in which they joined."""
        path = endpoints_file(self._home, package)
        if not path.exists():
            return []
        groups = json.loads(path.read_text(encoding="utf-8"))["resources"][0]["endpoints"]
        return [
            Path(member["endpoint"]["address"]["pipe"]["path"]) for group in groups for member in group["lb_endpoints"]
        ]

    def join(self, package: str, socket: Path) -> None:
        """Give a replica its share of the calls; joining twice changes nothing."""
        members = self.members(package)
        if socket not in members:
            self.replace(package, [*members, socket])

    def leave(self, package: str, socket: Path) -> None:
        """Give a replica no further calls; those that run are not cut. Wait `LEAVE_SECONDS` before it is stopped."""
        members = self.members(package)
        if socket in members:
            self.replace(package, [member for member in members if member != socket])

    def replace(self, package: str, sockets: Sequence[Path]) -> None:
        """Set all members at once; with an empty list every call is answered UNAVAILABLE."""
        endpoints = [{"endpoint": {"address": {"pipe": {"path": str(socket)}}}} for socket in sockets]
        resource = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": app_cluster(package),
            "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
        }
        replace_text(endpoints_file(self._home, package), json.dumps({"resources": [resource]}, indent=1))
